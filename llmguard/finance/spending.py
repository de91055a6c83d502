"""What was spent, by whom or by what: asked of the traces, or remembered where a day is over.

A day of a million traces is counted once, and the pages of the console add up days. What is remembered is bounded, and
gone with the process.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol

from llmguard.domain.clock import Clock
from llmguard.domain.money import to_nano_usd, to_usd
from llmguard.finance.questions import COSTS, FIRST_DAY, USAGE, Dimension, Period, ask, dimensions_of

if TYPE_CHECKING:  # it loads DuckDB
    from llmguard.traces.reader import TraceReader

Row = dict[str, Any]  # Any: texts, whole numbers, decimals
Key = tuple[str | None, ...]

COUNTS: Final = (
    *("requests", "refusals", "faults", "unpriced_requests", "input_tokens", "cached_tokens", "cache_write_tokens"),
    *("cache_write_1h_tokens", "audio_input_tokens", "output_tokens", "reasoning_tokens", "audio_output_tokens"),
)
MONEY: Final = ("cost_usd", "estimated_cost_usd")
_A_DAY: Final = timedelta(days=1)
_LATE: Final = timedelta(hours=2)  # a trace is stored when its answer is whole: long after it came in, at worst
_MOST_ROWS: Final = 200_000  # remembered, of about 400 bytes each
_FRESH_SECONDS: Final = 15  # how long the figures of a day stand that is not over
_MOST_CUT: Final = 32  # parts of days that are remembered
_COST: Final = -2  # its place among the figures


class Spending(Protocol):
    """Gives sums over traces."""

    def usage(self, by: tuple[Dimension, ...], period: Period) -> list[Row]:
        """Return requests, tokens and costs by these dimensions.

        Raises:
            FinanceError: there is too much for one answer.
            TraceStoreError, TraceQueryError: the traces cannot be read now.
        """
        ...

    def costs(self, by: tuple[Dimension, ...], period: Period) -> dict[Key, Decimal]:
        """Return what was spent by these dimensions; nothing where nothing was. Raises as `usage` does."""
        ...

    def first_day(self, period: Period) -> date | None:
        """Return the day of the first trace of a period. Raises as `usage` does."""
        ...


class StoredSpending:
    """Asks the traces each time."""

    def __init__(self, reader: "TraceReader") -> None:
        """Ask this reader."""
        self._reader = reader

    def usage(self, by: tuple[Dimension, ...], period: Period) -> list[Row]:
        """Return as `Spending` says."""
        rows = ask(self._reader, USAGE.format(dimensions=dimensions_of(by)), period)
        return [row | {name: Decimal(row[name]) for name in MONEY} for row in rows]

    def costs(self, by: tuple[Dimension, ...], period: Period) -> dict[Key, Decimal]:
        """Return as `Spending` says."""
        rows = ask(self._reader, COSTS.format(dimensions=dimensions_of(by)), period)
        return {tuple(row[name] for name in by): Decimal(row["cost_usd"]) for row in rows}

    def first_day(self, period: Period) -> date | None:
        """Return as `Spending` says."""
        first = ask(self._reader, FIRST_DAY, period)[0]["day"]
        return date.fromisoformat(first) if first else None


@dataclass(frozen=True, slots=True)
class _Sums:
    """The figures of one day and key: counts, then money in nano-dollars."""

    key: Key
    figures: tuple[int, ...]


_Slot = tuple[tuple[Dimension, ...], tuple[str, ...] | None, date]


class RememberedSpending:
    """Asks the traces once for each day that is over; threads may share it."""

    def __init__(self, open_traces: "Callable[[], TraceReader]", clock: Clock) -> None:
        """Ask the readers that `open_traces` gives."""
        self._open_traces = open_traces
        self._clock = clock
        self._lock = threading.Lock()
        self._days: OrderedDict[_Slot, tuple[_Sums, ...]] = OrderedDict()
        self._rows = 0
        self._fresh: dict[_Slot, tuple[datetime, tuple[_Sums, ...]]] = {}
        self._cut: dict[tuple[tuple[Dimension, ...], Period], list[tuple[date, tuple[_Sums, ...]]]] = {}

    def usage(self, by: tuple[Dimension, ...], period: Period) -> list[Row]:
        """Return as `Spending` says."""
        return [
            dict(zip(by, key, strict=True))
            | dict(zip(COUNTS, figures, strict=False))
            | {name: to_usd(figures[place]) for place, name in enumerate(MONEY, len(COUNTS))}
            for key, figures in self._summed(by, period).items()
        ]

    def costs(self, by: tuple[Dimension, ...], period: Period) -> dict[Key, Decimal]:
        """Return as `Spending` says."""
        sums: dict[Key, int] = {}
        for key, figures in self._parts(by, period):
            sums[key] = sums.get(key, 0) + figures[_COST]
        return {key: to_usd(nano) for key, nano in sums.items() if nano}

    def first_day(self, period: Period) -> date | None:
        """Return as `Spending` says."""
        whole = replace(period, until=_midnight(period.until) + _A_DAY)
        days = (key[0] for key, _ in self._parts(("day",), whole))
        return min((date.fromisoformat(str(day)) for day in days), default=None)

    def _summed(self, by: tuple[Dimension, ...], period: Period) -> dict[Key, list[int]]:
        sums: dict[Key, list[int]] = {}
        for key, figures in self._parts(by, period):
            known = sums.get(key)
            sums[key] = list(figures) if known is None else [a + b for a, b in zip(known, figures, strict=True)]
        return sums

    def _parts(self, by: tuple[Dimension, ...], period: Period) -> Iterator[tuple[Key, tuple[int, ...]]]:
        """Yield keys as asked for, with figures that still have to be added up."""
        kept: tuple[Dimension, ...] = tuple(name for name in by if name != "day") or ("app",)
        places = [kept.index(name) if name != "day" else None for name in by]
        for day, sums in self._by_day(kept, period):
            written = day.isoformat()
            for one in sums:
                yield tuple(written if place is None else one.key[place] for place in places), one.figures

    def _by_day(self, by: tuple[Dimension, ...], period: Period) -> Iterator[tuple[date, tuple[_Sums, ...]]]:
        now = self._clock.now()
        since, until = period.since.astimezone(UTC), period.until.astimezone(UTC)
        first = since if since == _midnight(since) else _midnight(since) + _A_DAY
        last = _midnight(until)
        if first >= last:  # no whole day
            yield from self._part_of_a_day(by, Period(since, until, period.apps), now)
            return
        if since < first:
            yield from self._part_of_a_day(by, Period(since, first, period.apps), now)
        yield from self._whole_days(by, Period(first, last, period.apps), now)
        if last < until:
            yield from self._part_of_a_day(by, Period(last, until, period.apps), now)

    def _part_of_a_day(
        self, by: tuple[Dimension, ...], period: Period, now: datetime
    ) -> list[tuple[date, tuple[_Sums, ...]]]:
        """Return what a day is cut to, which is asked for again and again within a minute."""
        with self._lock:
            known = self._cut.get((by, period))
        if known is None:
            known = list(self._ask(by, period))
            if period.until <= now - _LATE:
                with self._lock:
                    self._cut = dict(list(self._cut.items())[-_MOST_CUT:])
                    self._cut[by, period] = known
        return known

    def _whole_days(
        self, by: tuple[Dimension, ...], period: Period, now: datetime
    ) -> Iterator[tuple[date, tuple[_Sums, ...]]]:
        days = [(period.since + _A_DAY * number) for number in range((period.until - period.since).days)]
        with self._lock:
            known = {day: self._known((by, period.apps, day.date()), now) for day in days}
        missing = [day for day, sums in known.items() if sums is None]
        asked = {}
        if missing:
            asked = dict(self._ask(by, Period(missing[0], missing[-1] + _A_DAY, period.apps)))
        for day in days:
            sums = known[day]
            if sums is None:
                sums = asked.get(day.date(), ())
                self._remember((by, period.apps, day.date()), sums, now)
            yield day.date(), sums

    def _known(self, slot: _Slot, now: datetime) -> tuple[_Sums, ...] | None:
        asked_at, sums = self._fresh.get(slot, (None, ()))
        if asked_at is not None and 0 <= (now - asked_at).total_seconds() < _FRESH_SECONDS:
            return sums
        return self._days.get(slot)

    def _remember(self, slot: _Slot, sums: tuple[_Sums, ...], now: datetime) -> None:
        with self._lock:
            if datetime.combine(slot[2], time(), UTC) + _A_DAY > now - _LATE:
                self._fresh = {one: kept for one, kept in self._fresh.items() if now - kept[0] < _A_DAY}
                self._fresh[slot] = now, sums
                return
            self._rows += len(sums) - len(self._days.pop(slot, ()))
            self._days[slot] = sums
            while self._rows > _MOST_ROWS:
                _, forgotten = self._days.popitem(last=False)
                self._rows -= len(forgotten)

    def _ask(self, by: tuple[Dimension, ...], period: Period) -> Iterator[tuple[date, tuple[_Sums, ...]]]:
        days: dict[date, list[_Sums]] = {}
        for row in ask(self._open_traces(), USAGE.format(dimensions=dimensions_of((*by, "day"))), period):
            money = (to_nano_usd(Decimal(row[name])) for name in MONEY)
            figures = (*(row[name] for name in COUNTS), *money)
            days.setdefault(date.fromisoformat(row["day"]), []).append(_Sums(tuple(row[n] for n in by), figures))
        return ((day, tuple(sums)) for day, sums in days.items())


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)
