"""What one app costs this month: the days of its traces, with the forecast that the report of finance has."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from llmguard.finance.app_month import AppMonths
from llmguard.finance.report import monthly_report
from llmguard.finance.spending import StoredSpending
from llmguard.traces.reader import TraceReader
from tests.support.month import seed_month

NOW = datetime(2026, 11, 26, 10, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    seed_month(data, NOW, 3_000)
    return TraceReader(data)


@pytest.mark.parametrize("app", ["expense-triage", "hr-helpdesk"])
def test_month_is_what_the_report_of_finance_says(reader, app):
    month = AppMonths(reader.query).look(app, NOW)

    [row] = [row for row in monthly_report(StoredSpending(reader), "2026-11", ("app",), NOW).rows if row["app"] == app]
    assert month.spent_usd == row["cost_usd"]
    assert month.forecast_usd == row["forecast_usd"] > month.spent_usd
    this_month = [day for day in month.days if day.day >= date(2026, 11, 1)]
    assert sum(day.requests for day in this_month) == row["requests"]
    assert sum(day.tokens for day in this_month) == row["input_tokens"] + row["output_tokens"]


def test_every_day_is_there_from_the_first_of_the_month_or_four_weeks_back(reader):
    days = [day.day for day in AppMonths(reader.query).look("hr-helpdesk", NOW).days]

    assert days == [date(2026, 10, 29) + timedelta(days=n) for n in range(29)]


def test_days_that_are_over_are_read_once(reader):
    asked = []

    def select(sql, parameters):
        asked.append(parameters["since"])
        return reader.query(sql, parameters)

    months = AppMonths(select)
    first, again = months.look("hr-helpdesk", NOW), months.look("hr-helpdesk", NOW + timedelta(minutes=1))

    assert asked == ["2026-10-29T00:00:00+00:00", "2026-11-26T00:00:00+00:00"]
    assert again.days == first.days


def test_app_without_traces_has_spent_nothing_and_has_no_forecast(reader):
    month = AppMonths(reader.query).look("brand-new", NOW)

    assert (month.spent_usd, month.forecast_usd) == (Decimal(0), None)
    assert "no forecast" in month.method
