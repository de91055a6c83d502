"""What a month cost, by whom or by what: rows whose sum is the sum of the traces to the last digit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from llmguard.finance.forecast import WeekdayRule, history_start, weekday_rule
from llmguard.finance.questions import COSTS, FIRST_DAY, USAGE, Dimension, Period, ask, dimensions_of, month_of
from llmguard.finance.tables import Column
from llmguard.traces.queries import Rows
from llmguard.traces.reader import TraceReader

Row = dict[str, Any]  # Any: texts, whole numbers, decimals
Key = tuple[str | None, ...]

_MOVERS = 5
_ZERO = Decimal(0)
_A_DAY = timedelta(days=1)
_COUNTS = (
    *("requests", "refusals", "faults", "unpriced_requests", "input_tokens", "cached_tokens", "cache_write_tokens"),
    *("cache_write_1h_tokens", "audio_input_tokens", "output_tokens", "reasoning_tokens", "audio_output_tokens"),
)
_MONEY = ("cost_usd", "estimated_cost_usd")
_COMPARED = ("previous_cost_usd", "change_usd", "forecast_usd")


@dataclass(frozen=True, slots=True)
class Report:
    """One month.

    Attributes:
        by: what the rows are by.
        rows: dearest first.
        total: the sums of the rows; previous cost, change and forecast of the whole.
        movers: what changed most against the month before, largest change first.
        forecast: how the forecast was made, in words.
        compared: what the month was compared with, in words.
        notes: what a reader must know to read the figures right.
    """

    month: str
    by: tuple[Dimension, ...]
    rows: Sequence[Row]
    total: Row
    movers: Sequence[Row]
    forecast: str
    compared: str
    notes: Sequence[str]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a row, in order."""
        return (
            *(Column(name, "DATE" if name == "day" else "VARCHAR") for name in self.by),
            *(Column(name, "BIGINT") for name in _COUNTS),
            *(Column(name, "DECIMAL(38, 9)") for name in _MONEY),
            Column("share_percent", "DECIMAL(5, 2)"),
            *(Column(name, "DECIMAL(38, 9)") for name in _COMPARED),
        )


def monthly_report(reader: TraceReader, month: str, by: tuple[Dimension, ...], now: datetime) -> Report:
    """Return the report of a month, read from the traces.

    Args:
        reader: of a data folder, whether the gateway runs or not.
        month: as in 2026-11.
        by: what the rows are by, outermost first; at least one.
        now: the present; a month that is not over is compared with the same part of the month before.

    Raises:
        FinanceError: the month is none, or there is too much for one answer.
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    period = month_of(month)
    rows = [_parsed(row) for row in ask(reader, USAGE.format(dimensions=dimensions_of(by)), period)]
    rows.sort(key=lambda row: (-row["cost_usd"], str([row[name] for name in by])))
    total: Row = {
        name: sum((row[name] for row in rows), _ZERO if name in _MONEY else 0) for name in (*_COUNTS, *_MONEY)
    }
    stable: tuple[Dimension, ...] = tuple(name for name in by if name != "day") or ("app",)
    before, compared = _before(period, now)
    previous = _costs(reader, stable, before)
    current = _summed(rows, stable) if stable[0] in by else _costs(reader, stable, period)
    rule = _rule(reader, period, now)
    history = _history(reader, stable, rule, now) if rule else {}
    for row in rows:
        row["share_percent"] = _share(row["cost_usd"], total["cost_usd"])
        is_day = "day" in by
        key = tuple(row.get(name) for name in stable)
        _compare(row, None if is_day else previous.get(key, _ZERO))
        row["forecast_usd"] = None if is_day else _forecast(rule, row["cost_usd"], history.get(key, {}))
    total["share_percent"] = _share(total["cost_usd"], total["cost_usd"])
    _compare(total, sum(previous.values(), _ZERO))
    total["forecast_usd"] = _forecast(rule, total["cost_usd"], _merged(history.values()))
    method = rule.method if rule else "The month is over, or not begun: the forecast is what it cost."
    return Report(month, by, rows, total, _movers(stable, current, previous), method, compared, _notes(total, by, rows))


def _total(rows: Sequence[Row]) -> Row:
    return {name: sum((row[name] for row in rows), _ZERO if name in _MONEY else 0) for name in (*_COUNTS, *_MONEY)}


def _parsed(row: Mapping[str, Any]) -> Row:
    return dict(row) | {name: Decimal(row[name]) for name in _MONEY}


def _before(period: Period, now: datetime) -> tuple[Period, str]:
    """Return the month before; of a month that is not over, the same part of it."""
    since = (period.since.replace(day=1) - _A_DAY).replace(day=1)
    if not period.since <= now < period.until:
        return Period(since, period.since), f"{since:%Y-%m}"
    until = min(since + (now - period.since), period.since)
    return Period(since, until), f"{since:%Y-%m} up to {until:%d %H:%M} UTC, the same part of the month"


def _costs(reader: TraceReader, by: tuple[Dimension, ...], period: Period) -> dict[Key, Decimal]:
    rows = ask(reader, COSTS.format(dimensions=dimensions_of(by)), period)
    return {tuple(row[name] for name in by): Decimal(row["cost_usd"]) for row in rows}


def _summed(rows: Sequence[Row], by: tuple[Dimension, ...]) -> dict[Key, Decimal]:
    sums: dict[Key, Decimal] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        sums[key] = sums.get(key, _ZERO) + row["cost_usd"]
    return sums


def _rule(reader: TraceReader, period: Period, now: datetime) -> WeekdayRule | None:
    if not period.since <= now < period.until:
        return None
    first = ask(reader, FIRST_DAY, Period(history_start(now), now))[0]["day"]
    return weekday_rule(now, period.until, date.fromisoformat(first) if first else None)


def _history(
    reader: TraceReader, by: tuple[Dimension, ...], rule: WeekdayRule, now: datetime
) -> dict[Key, dict[date, Decimal]]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    rows: Rows = ask(reader, COSTS.format(dimensions=dimensions_of((*by, "day"))), Period(history_start(now), midnight))
    history: dict[Key, dict[date, Decimal]] = {}
    for row in rows:
        day = date.fromisoformat(row["day"])
        if day >= rule.since:
            history.setdefault(tuple(row[name] for name in by), {})[day] = Decimal(row["cost_usd"])
    return history


def _merged(series: Iterable[Mapping[date, Decimal]]) -> dict[date, Decimal]:
    merged: dict[date, Decimal] = {}
    for costs in series:
        for day, cost in costs.items():
            merged[day] = merged.get(day, _ZERO) + cost
    return merged


def _forecast(rule: WeekdayRule | None, spent: Decimal, history: Mapping[date, Decimal]) -> Decimal | None:
    return rule.forecast(spent, history) if rule else spent


def _compare(row: Row, previous: Decimal | None) -> None:
    row["previous_cost_usd"] = previous
    row["change_usd"] = None if previous is None else row["cost_usd"] - previous


def _share(part: Decimal, whole: Decimal) -> Decimal:
    return (100 * part / whole).quantize(Decimal("0.01")) if whole else Decimal("0.00")


def _movers(by: tuple[Dimension, ...], current: Mapping[Key, Decimal], previous: Mapping[Key, Decimal]) -> list[Row]:
    changes = {key: current.get(key, _ZERO) - previous.get(key, _ZERO) for key in {*current, *previous}}
    largest = sorted(changes, key=lambda key: (-abs(changes[key]), str(key)))[:_MOVERS]
    return [
        dict(zip(by, key, strict=True))
        | {
            "previous_cost_usd": previous.get(key, _ZERO),
            "cost_usd": current.get(key, _ZERO),
            "change_usd": changes[key],
        }
        for key in largest
        if changes[key]
    ]


def _notes(total: Row, by: tuple[Dimension, ...], rows: Sequence[Row]) -> list[str]:
    notes = []
    if total["unpriced_requests"]:
        notes.append(
            f"{total['unpriced_requests']} requests went to models whose price is unknown. Their cost is not in these "
            "figures; `llmguard finance rerate` computes it once there is a price."
        )
    if total["estimated_cost_usd"]:
        notes.append(
            f"{total['estimated_cost_usd']:f} USD are by our own count or by what was held, since the provider did not "
            "report its usage; `llmguard finance reconcile` compares with the provider."
        )
    if any(row.get(name) is None for name in by for row in rows):
        notes.append(
            "Rows with - have no such value on their traces: the request ended before it was known, or it is older "
            "than the column (team)."
        )
    return notes
