"""What one app costs this month: day by day, so far, and by its end; with its use of the last four weeks beside it."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from llmguard.domain.chat import JsonObject
from llmguard.finance.forecast import history_start, weekday_rule
from llmguard.finance.questions import following_month

Select = Callable[[str, JsonObject], list[JsonObject]]
_A_DAY: Final = timedelta(days=1)
_LATE: Final = timedelta(hours=2)  # a request counts from its start, and is traced at its end
_MOST_APPS: Final = 500
DAYS: Final = """
SELECT
    make_timestamp(epoch_us(started_at))::DATE AS day, count(*) AS requests,
    count(*) FILTER (status BETWEEN 400 AND 498) AS refusals, count(*) FILTER (status >= 500) AS faults,
    (coalesce(sum(input_tokens), 0) + coalesce(sum(output_tokens), 0))::BIGINT AS tokens,
    coalesce(sum(cost_usd), 0)::VARCHAR AS cost_usd
FROM traces
WHERE app = $app AND started_at >= $since::TIMESTAMPTZ AND started_at < $until::TIMESTAMPTZ GROUP BY day ORDER BY day
"""


@dataclass(frozen=True, slots=True)
class AppDay:
    """One day of an app."""

    day: date
    requests: int = 0
    refusals: int = 0
    faults: int = 0
    tokens: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class AppMonth:
    """This month of an app, by UTC.

    Attributes:
        days: from the first of the month, or four weeks back if that is longer ago, to today; each of them.
        spent_usd: in this month so far.
        forecast_usd: of the whole month; None before the first complete day.
        method: how the forecast was made, in words.
    """

    days: tuple[AppDay, ...]
    spent_usd: Decimal
    forecast_usd: Decimal | None
    method: str


class AppMonths:
    """Months of apps; threads may share it. Days that are over are read once an app, and remembered; bounded."""

    def __init__(self, select: Select) -> None:
        """Ask with `select`, which returns the rows of one SELECT over traces, and may block."""
        self._select = select
        self._lock = threading.Lock()
        self._over: OrderedDict[str, dict[date, AppDay]] = OrderedDict()

    def look(self, app: str, now: datetime) -> AppMonth:
        """Return this month of an app; `now` is in UTC.

        Raises:
            TraceStoreError, TraceQueryError: the traces cannot be read now.
        """
        first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        start = min(first, history_start(now))
        wanted = [start.date() + _A_DAY * n for n in range((now - start).days + 1)]
        days = self._days(app, wanted, now)
        spent = sum((day.cost_usd for day in days if day.day >= first.date()), Decimal(0))
        used = (day.day for day in days if day.requests)
        rule = weekday_rule(now, following_month(first), min(used, default=None))
        costs = {day.day: day.cost_usd for day in days if rule.since <= day.day < rule.until}
        return AppMonth(days, spent, rule.forecast(spent, costs), rule.method)

    def _days(self, app: str, wanted: Sequence[date], now: datetime) -> tuple[AppDay, ...]:
        with self._lock:
            over = self._over.get(app, {})
        since = next((day for day in wanted if day not in over), wanted[-1])
        given = {"app": app, "since": f"{since}T00:00:00+00:00", "until": now.isoformat()}
        read = {day.day: day for day in map(_day, self._select(DAYS, given))}
        days = tuple(read.get(day, AppDay(day)) if day >= since else over[day] for day in wanted)
        last_over = (now - _LATE).date()
        with self._lock:
            self._over[app] = {day.day: day for day in days if day.day < last_over}
            self._over.move_to_end(app)
            if len(self._over) > _MOST_APPS:
                self._over.popitem(last=False)
        return days


def _day(row: JsonObject) -> AppDay:
    counts = {name: row[name] for name in ("requests", "refusals", "faults", "tokens")}
    return AppDay(date.fromisoformat(row["day"]), **counts, cost_usd=Decimal(row["cost_usd"]))
