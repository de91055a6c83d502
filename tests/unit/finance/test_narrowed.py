"""What one app or owner spent is the part of the whole that is its own."""

from datetime import UTC, datetime

import pytest

from llmguard.finance.narrowed import NarrowedSpending
from llmguard.finance.report import monthly_report
from llmguard.finance.spending import StoredSpending
from llmguard.traces.reader import TraceReader
from tests.support.month import seed_month

NOW = datetime(2026, 11, 26, 10, 30, tzinfo=UTC)
FIGURES = ("cost_usd", "previous_cost_usd", "forecast_usd", "requests", "refusals", "input_tokens")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    seed_month(data, NOW, 2_000)
    reader = TraceReader(data)
    with reader.kept_open():
        yield StoredSpending(reader)


@pytest.mark.parametrize(
    ("dimension", "value", "by"),
    [
        ("app", "expense-triage", "model"),
        ("owner", "lee@example.com", "app"),
        ("cost_center", "3300", "day"),
        ("app", "hr-helpdesk", "app"),
    ],
)
def test_parts_of_a_row_add_up_to_it(whole, dimension, value, by):
    [row] = [row for row in monthly_report(whole, "2026-11", (dimension,), NOW).rows if row[dimension] == value]

    report = monthly_report(NarrowedSpending(whole, dimension, value), "2026-11", (by,), NOW)

    assert {name: report.total[name] for name in FIGURES if name != "forecast_usd"} == {
        name: row[name] for name in FIGURES if name != "forecast_usd"
    }
    assert sum(part["cost_usd"] for part in report.rows) == row["cost_usd"]
    assert dimension not in report.rows[0] or by == dimension


def test_of_whom_nothing_is_known_nothing_was_spent(whole):
    report = monthly_report(NarrowedSpending(whole, "app", "nobody"), "2026-11", ("model",), NOW)

    assert (report.rows, report.total["cost_usd"]) == ([], 0)
