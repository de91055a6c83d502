"""`/console/spend`: what a month costs, by whom and by what, what will come, what changed, and who asks for more."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from llmguard.domain.chat import JsonObject
from llmguard.finance.errors import FinanceError
from llmguard.finance.questions import Dimension, month_of
from llmguard.finance.report import Report, monthly_report
from llmguard.finance.spending import Key, RememberedSpending, Row
from llmguard.identity.roles import Permit, reach_of
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.console.charts import Chart, bar_chart
from llmguard.web.console.desk import Desk
from llmguard.web.console.layout import SPEND, Console, apps_covered
from llmguard.web.console.quota_words import LIMIT_WORDS
from llmguard.web.console.spend_export import export_router
from llmguard.web.console.spend_narrowed import FILTERS, TITLES, Asked, Of
from llmguard.web.console.spend_overage import overage_page_router, requests_for
from llmguard.web.figures import usd
from llmguard.web.operators import Visit

_MOST_ROWS: Final = 50
_MONTHS_BACK: Final = 12
_UNKNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table, with where its parts and its traces are; None where they cannot be looked at."""

    name: str
    row: Row
    parts: str | None = None
    traces: str | None = None


def spend_routers(console: Console, desk: Desk) -> list[APIRouter]:
    """Return the routes."""
    router = APIRouter()
    clock = console.guard.services.clock
    spending = RememberedSpending(console.open_traces, clock)

    def count_this_month() -> None:
        now = clock.now().replace(second=0, microsecond=0)
        for by in TITLES:
            monthly_report(spending, f"{now:%Y-%m}", (by,), now)

    console.soon.append(count_this_month)

    @router.get(SPEND)
    async def show(
        visit: Annotated[Visit, Depends(console.guard.require("costs.read"))],
        month: str | None = None,
        by: Dimension = "app",
        of: Of = "",
    ) -> Response:
        now = console.guard.services.clock.now().replace(second=0, microsecond=0)  # so that figures can be remembered
        month = month or f"{now:%Y-%m}"
        asked = Asked(month, by, of)
        work = asyncio.to_thread(_facts, console, spending, visit.permit, asked, now)
        facts, requests = await asyncio.gather(work, requests_for(console, visit.operator))
        sees_traces = reach_of(visit.operator.roles, "traces.read") is not None
        facts |= {"requests": requests, "limit_words": LIMIT_WORDS, "sees_traces": sees_traces}
        return console.page(visit, "spend.html", "Spend", SPEND, **facts)

    return [router, export_router(console, desk), overage_page_router(console)]


def _facts(console: Console, remembered: RememberedSpending, permit: Permit, asked: Asked, now: datetime) -> JsonObject:
    month, by = asked.month, asked.by
    frame: JsonObject = {"month": month, "by": by, "months": _months(now), "dimensions": TITLES, "now": now}
    frame |= {"asked": asked, "whose": asked.narrowed}
    spending = asked.spending(remembered)
    apps = apps_covered(console, permit)
    try:
        report = monthly_report(spending, month, (by,), now, apps=apps)
        period = month_of(month, apps)
        days = spending.costs(("day",), period)
    except (TraceStoreError, TraceQueryError):
        return {**frame, "report": None, "problem": None}
    except FinanceError as error:
        return {**frame, "report": None, "problem": str(error)}
    return {
        **frame,
        "report": report,
        "notes": [note.replace("Rows with -", f"Rows with {_UNKNOWN!r}") for note in report.notes],
        "lines": [_line(report, row, asked) for row in islice(_in_order(report), _MOST_ROWS)],
        "chart": _chart(days, period.since.date(), period.until.date()),
        "movers": [_line(report, row, asked) for row in report.movers]
        if by != "day"
        else _movers_by_app(report, asked),
        "is_own": apps is not None,
        "is_under_way": period.since <= now < period.until,
    }


def _in_order(report: Report) -> Iterable[Row]:
    """Return the rows dearest first; days newest first."""
    if report.by == ("day",):
        return sorted(report.rows, key=lambda row: str(row["day"]), reverse=True)
    return report.rows


def _movers_by_app(report: Report, asked: Asked) -> list[Line]:
    return [Line(str(row["app"] or _UNKNOWN), row, asked.parts("app", row["app"])) for row in report.movers]


def _line(report: Report, row: Row, asked: Asked) -> Line:
    [by] = report.by
    value = row[by]
    if value is None:
        return Line(_UNKNOWN, row)
    if by == "day":
        start = date.fromisoformat(str(value))
        span = {"since": f"{start}T00:00", "until": f"{start + timedelta(days=1)}T00:00"}
        return Line(f"{start:%a %-d %b}", row, None, asked.traces(span))
    period = month_of(report.month)
    parts = asked.parts(by, value)
    if by not in FILTERS:
        return Line(str(value), row, parts)
    span = {by: str(value), "since": f"{period.since:%Y-%m-%dT%H:%M}", "until": f"{period.until:%Y-%m-%dT%H:%M}"}
    return Line(str(value), row, parts, asked.traces(span))


def _chart(costs: Mapping[Key, Decimal], first: date, end: date) -> Chart:
    days = [first + timedelta(days=number) for number in range((end - first).days)]
    points = ((f"{day:%a %-d %b}", float(costs.get((day.isoformat(),), 0)), 0.0) for day in days)
    return bar_chart("Spend a day", points, when="Day (UTC)", words=("USD", ""), write=lambda amount: usd(str(amount)))


def _months(now: datetime) -> list[str]:
    """Return the months to choose from, newest first."""
    first = now.astimezone(UTC).replace(day=1)
    months = []
    for _ in range(_MONTHS_BACK):
        months.append(f"{first:%Y-%m}")
        first = (first - timedelta(days=1)).replace(day=1)
    return months
