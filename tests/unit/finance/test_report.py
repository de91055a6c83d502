"""The report over many rows: its sums are those of a hand-written statement, to the last digit."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from llmguard.domain.identifiers import new_trace_id
from llmguard.finance.errors import FinanceError
from llmguard.finance.forecast import weekday_rule
from llmguard.finance.questions import DIMENSIONS
from llmguard.finance.report import monthly_report
from llmguard.finance.spending import RememberedSpending, StoredSpending
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import FrozenClock, a_trace
from tests.support.many_traces import hand_written, put_many

LATER = datetime(2027, 1, 5, tzinfo=UTC)
COUNTED = """
SELECT count(*), count(*) FILTER (status = 429), sum(input_tokens), sum(cached_tokens), sum(output_tokens),
    sum(reasoning_tokens), sum(cost_usd), sum(cost_usd) FILTER (cost_basis <> 'reported')
FROM traces WHERE started_at >= '2026-11-01' AND started_at < '2026-12-01'
"""
NAMES = (
    *("requests", "refusals", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_usd"),
    "estimated_cost_usd",
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("many") / "data")
    put_many(places, 20_000, since="2026-10-01", days=75)
    return places


@pytest.fixture(scope="module")
def reader(places):
    return TraceReader(places.data)


@pytest.mark.parametrize("by", [(name,) for name in DIMENSIONS] + [("app", "day"), ("team", "model", "preset")])
def test_rows_sum_up_to_the_traces_to_the_last_digit(reader, places, by):
    [expected] = hand_written(places, COUNTED)

    found = monthly_report(StoredSpending(reader), "2026-11", by, LATER)

    assert tuple(found.total[name] for name in NAMES) == expected
    assert tuple(sum(row[name] for row in found.rows) for name in NAMES) == expected
    assert len({tuple(row[name] for name in by) for row in found.rows}) == len(found.rows) > 1


def test_each_row_has_what_a_hand_written_statement_says(reader, places):
    expected = hand_written(
        places,
        "SELECT owner, count(*), sum(cost_usd) FROM traces WHERE started_at >= '2026-11-01' "
        "AND started_at < '2026-12-01' GROUP BY owner",
    )

    found = monthly_report(StoredSpending(reader), "2026-11", ("owner",), LATER)

    assert sorted((row["owner"], row["requests"], row["cost_usd"]) for row in found.rows) == sorted(expected)


def test_changes_are_against_the_month_before_and_movers_are_the_largest(reader, places):
    [[october]] = hand_written(places, "SELECT sum(cost_usd) FROM traces WHERE started_at < '2026-11-01'")

    found = monthly_report(StoredSpending(reader), "2026-11", ("app",), LATER)

    assert found.total["previous_cost_usd"] == october
    assert sum(row["change_usd"] for row in found.rows) == found.total["change_usd"]
    changes = [abs(mover["change_usd"]) for mover in found.movers]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] == max(abs(row["change_usd"]) for row in found.rows)
    assert found.total["forecast_usd"] == found.total["cost_usd"]


def test_a_running_month_is_compared_with_the_same_part_of_the_one_before(reader, places):
    now = datetime(2026, 11, 12, 12, tzinfo=UTC)
    [[part]] = hand_written(places, "SELECT sum(cost_usd) FROM traces WHERE started_at < '2026-10-12 12:00:00'")

    found = monthly_report(StoredSpending(reader), "2026-11", ("app",), now)

    assert found.total["previous_cost_usd"] == part
    assert "2026-10 up to 12 12:00 UTC" in found.compared
    rows = sum(row["forecast_usd"] for row in found.rows)
    assert abs(rows - found.total["forecast_usd"]) < Decimal("0.000001")
    assert "28 complete days since 2026-10-15" in found.forecast


def test_the_forecast_adds_the_mean_of_each_weekday_that_is_left():
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)  # a Thursday
    rule = weekday_rule(now, datetime(2026, 12, 1, tzinfo=UTC), date(2026, 11, 12))
    costs = {date(2026, 11, day): Decimal(0 if day in {14, 15, 21, 22} else 10) for day in range(12, 26)}

    # half a Thursday, Friday, a free weekend, Monday
    assert rule.forecast(Decimal(100), costs) == Decimal(100) + 5 + 10 + 0 + 0 + 10


def test_there_is_no_forecast_before_the_first_complete_day():
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)

    assert weekday_rule(now, datetime(2026, 12, 1, tzinfo=UTC), date(2026, 11, 26)).forecast(Decimal(5), {}) is None


@pytest.mark.parametrize("month", ["2026-13", "November", "2026-11-01", ""])
def test_what_is_no_month_is_said_so(reader, month):
    with pytest.raises(FinanceError, match="is no month; write it as in 2026-11"):
        monthly_report(StoredSpending(reader), month, ("app",), LATER)


def test_unknown_prices_and_estimates_are_noted_and_an_empty_month_is_empty(tmp_path):
    places = Places(tmp_path / "data")
    places.create()
    spool = Spool(places.spool, "w")
    started = datetime(2026, 11, 3, tzinfo=UTC)
    for facts in (
        {"price_version": "unknown", "input_tokens": 5, "output_tokens": 1},
        {"cost_nano_usd": 7, "cost_basis": "held", "input_tokens": 5, "output_tokens": 1},
    ):
        spool.append(a_trace(trace_id=new_trace_id(started), started_at=started, app="a", **facts))
    spool.close()

    reader = TraceReader(places.data)
    found = monthly_report(StoredSpending(reader), "2026-11", ("app", "team"), LATER)
    empty = monthly_report(StoredSpending(reader), "2026-09", ("app",), LATER)

    assert found.total["unpriced_requests"] == 1
    assert [note.split()[0] for note in found.notes] == ["1", "0.000000007", "Rows"]
    assert (empty.rows, empty.total["cost_usd"]) == ([], 0)


REPORTS = [((name,), None) for name in DIMENSIONS] + [(("app", "day"), None), (("model",), ("app-001", "app-002"))]


@pytest.mark.parametrize("now", [LATER, datetime(2026, 11, 20, 12, 34, 56, tzinfo=UTC)], ids=["over", "under way"])
def test_days_that_are_remembered_add_up_to_the_same_report(reader, now):
    remembered = RememberedSpending(lambda: reader, FrozenClock(now))
    for by, apps in REPORTS * 2:  # the second time from memory
        told = monthly_report(StoredSpending(reader), "2026-11", by, now, apps=apps)
        told_again = monthly_report(remembered, "2026-11", by, now, apps=apps)

        assert sorted(map(str, told_again.rows)) == sorted(map(str, told.rows))
        assert (told_again.total, told_again.movers) == (told.total, told.movers)
        assert (told_again.forecast, told_again.notes) == (told.forecast, told.notes)


class CountedReader:
    """Counts what is asked of a reader."""

    def __init__(self, reader):
        self._reader = reader
        self.asked = 0

    def query(self, *arguments, **options):
        self.asked += 1
        return self._reader.query(*arguments, **options)


def test_a_month_that_is_over_is_counted_once_and_what_is_under_way_again(reader):
    clock = FrozenClock(datetime(2026, 11, 20, 12, tzinfo=UTC))
    counted = CountedReader(reader)
    spending = RememberedSpending(lambda: counted, clock)
    monthly_report(spending, "2026-10", ("app",), clock.now())
    before = counted.asked

    monthly_report(spending, "2026-10", ("app",), clock.now())

    assert (before, counted.asked) == (2, 2)
    monthly_report(spending, "2026-11", ("app",), clock.now())
    whole = counted.asked
    clock.advance(minutes=1)
    monthly_report(spending, "2026-11", ("app",), clock.now())
    assert counted.asked - whole == 2  # today, and the part of a day until which October is compared
