"""What happened lately, over all apps: figures of the last hour, day and month, by time, code, kind and app.

Slices of time that are over are counted once and remembered: a month of a million traces is counted anew only where it
still changes. Latencies are counted in buckets a twelfth apart, so that they can be added up.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from llmguard.domain.chat import JsonObject

Select = Callable[[str, JsonObject], list[JsonObject]]
WindowName = Literal["hour", "day", "month"]

_LATE: Final = timedelta(hours=2)  # a request counts from its start, and is traced at its end
_FRESH_SECONDS: Final = 5.0
_MOST_SLICES: Final = 400
_BUCKETS_AN_OCTAVE: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SLICE: Final = "(epoch_us(started_at) // $step_us)::BIGINT AS slice"
_PERIOD: Final = "started_at >= $since::TIMESTAMPTZ AND started_at < $until::TIMESTAMPTZ"
OUTCOMES: Final = f"""
SELECT {_SLICE}, app, code, status // 100 AS hundreds, status = 499 AS hung_up, count(*) AS requests,
    coalesce(sum(cost_usd), 0)::VARCHAR AS cost_usd
FROM traces WHERE {_PERIOD} GROUP BY ALL
"""  # noqa: S608 - built from constants of this module
LATENCIES: Final = f"""
SELECT {_SLICE}, floor(log2(greatest(latency_ms, 0.01)) * {_BUCKETS_AN_OCTAVE})::INTEGER AS bucket, count(*) AS requests
FROM traces WHERE {_PERIOD} AND status = 200 AND latency_ms IS NOT NULL GROUP BY ALL
"""  # noqa: S608 - built from constants of this module
HIDDEN: Final = f"""
SELECT slice, entry.key AS entity, sum(entry.value)::BIGINT AS hidden
FROM (SELECT {_SLICE}, unnest(map_entries(entities)) AS entry FROM traces WHERE {_PERIOD} AND cardinality(entities) > 0)
GROUP BY ALL
"""  # noqa: S608 - built from constants of this module


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time up to now, in slices."""

    name: WindowName
    words: str
    step: timedelta
    slices: int

    def starts(self, now: datetime) -> list[datetime]:
        """Return where its slices begin, oldest first; the last one is not over."""
        last = _EPOCH + (now - _EPOCH) // self.step * self.step
        return [last - self.step * back for back in range(self.slices - 1, -1, -1)]


WINDOWS: Final[dict[WindowName, Window]] = {
    "hour": Window("hour", "last hour", timedelta(minutes=1), 60),
    "day": Window("day", "last 24 hours", timedelta(hours=1), 24),
    "month": Window("month", "last 30 days", timedelta(days=1), 30),
}


@dataclass(slots=True)
class Tally:
    """What was counted in one slice, or in several together."""

    requests: int = 0
    refusals: int = 0
    faults: int = 0
    cost_usd: Decimal = Decimal(0)
    codes: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)  # by bucket
    app_requests: Counter[str] = field(default_factory=Counter)
    app_refusals: Counter[str] = field(default_factory=Counter)
    app_costs: dict[str, Decimal] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Count what another one has, too."""
        self.requests += other.requests
        self.refusals += other.refusals
        self.faults += other.faults
        self.cost_usd += other.cost_usd
        for name in ("codes", "hidden", "latencies", "app_requests", "app_refusals"):
            getattr(self, name).update(getattr(other, name))
        for app, cost in other.app_costs.items():
            self.app_costs[app] = self.app_costs.get(app, Decimal(0)) + cost

    def latency_ms(self, share: float) -> float | None:
        """Return what this share of the answered requests stayed below, to about five percent; None without any."""
        wanted = share * self.latencies.total()
        seen = 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= wanted:
                return float(2 ** ((bucket + 0.5) / _BUCKETS_AN_OCTAVE))
        return None


@dataclass(frozen=True, slots=True)
class Lately:
    """What happened in a window: in all, and slice by slice."""

    window: Window
    looked_at: datetime
    total: Tally
    slices: tuple[tuple[datetime, Tally], ...]


class Activity:
    """Counts traces; threads may share it. What it remembers is bounded, and gone with the process."""

    def __init__(self, select: Select) -> None:
        """Ask with `select`, which may block."""
        self._select = select
        self._locks: dict[WindowName, threading.Lock] = {name: threading.Lock() for name in WINDOWS}
        self._over: OrderedDict[tuple[timedelta, datetime], Tally] = OrderedDict()
        self._last: dict[WindowName, Lately] = {}

    def look(self, window: Window, now: datetime) -> Lately:
        """Return the figures of a window, at most some seconds old.

        Raises:
            TraceStoreError, TraceQueryError: the traces cannot be read now.
        """
        with self._locks[window.name]:
            last = self._last.get(window.name)
            if last is None or not 0 <= (now - last.looked_at).total_seconds() < _FRESH_SECONDS:
                last = self._last[window.name] = self._count(window, now)
            return last

    def _count(self, window: Window, now: datetime) -> Lately:
        starts = window.starts(now)
        since = next((start for start in starts if (window.step, start) not in self._over), starts[-1])
        counted = self._tallies(window.step, since, now)
        slices, total = [], Tally()
        for start in starts:
            tally = counted.get(start) or Tally() if start >= since else self._over[window.step, start]
            if start + window.step <= now - _LATE:
                self._over[window.step, start] = tally
            slices.append((start, tally))
            total.add(tally)
        while len(self._over) > _MOST_SLICES:
            self._over.popitem(last=False)
        return Lately(window, now, total, tuple(slices))

    def _tallies(self, step: timedelta, since: datetime, until: datetime) -> dict[datetime, Tally]:
        step_us = step // timedelta(microseconds=1)
        given = {"step_us": step_us, "since": since.isoformat(), "until": until.isoformat()}
        tallies: dict[datetime, Tally] = {}

        def rows(sql: str) -> Iterable[tuple[Tally, JsonObject]]:
            for row in self._select(sql, given):
                yield tallies.setdefault(_EPOCH + step * row["slice"], Tally()), row

        for tally, row in rows(OUTCOMES):
            _count_outcome(tally, row)
        for tally, row in rows(LATENCIES):
            tally.latencies[row["bucket"]] += row["requests"]
        for tally, row in rows(HIDDEN):
            tally.hidden[row["entity"]] += row["hidden"]
        return tallies


def _count_outcome(tally: Tally, row: dict[str, Any]) -> None:  # Any: JSON
    requests, cost = row["requests"], Decimal(row["cost_usd"])
    refusals = requests if row["hundreds"] == 4 and not row["hung_up"] else 0  # noqa: PLR2004 - statuses 400 to 498
    tally.requests += requests
    tally.refusals += refusals
    tally.faults += requests if row["hundreds"] == 5 else 0  # noqa: PLR2004 - statuses from 500
    tally.cost_usd += cost
    if row["code"] is not None:
        tally.codes[row["code"]] += requests
    if (app := row["app"]) is not None:
        tally.app_requests[app] += requests
        tally.app_refusals[app] += refusals
        tally.app_costs[app] = tally.app_costs.get(app, Decimal(0)) + cost
