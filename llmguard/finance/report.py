"""What a month cost, by whom or by what: rows whose sum is the sum of the traces to the last digit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from llmguard.finance.forecast import WeekdayRule, history_start, weekday_rule
from llmguard.finance.questions import Dimension, Period, month_of
from llmguard.finance.spending import COUNTS, MONEY, Key, Row, Spending
from llmguard.finance.tables import Column

_MOVERS = 5
_ZERO = Decimal(0)
_A_DAY = timedelta(days=1)
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
            *(Column(name, "BIGINT") for name in COUNTS),
            *(Column(name, "DECIMAL(38, 9)") for name in MONEY),
            Column("share_percent", "DECIMAL(5, 2)"),
            *(Column(name, "DECIMAL(38, 9)") for name in _COMPARED),
        )


def monthly_report(
    spending: Spending,
    month: str,
    by: tuple[Dimension, ...],
    now: datetime,
    *,
    apps: tuple[str, ...] | None = None,
) -> Report:
    """Return the report of a month.

    Args:
        spending: what was spent, as the traces say.
        month: as in 2026-11.
        by: what the rows are by, outermost first; at least one.
        now: the present; a month that is not over is compared with the same part of the month before.
        apps: only what these spent; None: all.

    Raises:
        FinanceError: the month is none, or there is too much for one answer.
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    period = month_of(month, apps)
    rows = spending.usage(by, period)
    rows.sort(key=lambda row: (-row["cost_usd"], str([row[name] for name in by])))
    total = _total(rows)
    stable: tuple[Dimension, ...] = tuple(name for name in by if name != "day") or ("app",)
    before, compared = _before(period, now)
    previous = spending.costs(stable, before)
    current = _summed(rows, stable) if stable[0] in by else spending.costs(stable, period)
    rule = _rule(spending, period, now)
    history = _history(spending, stable, rule, now, apps) if rule else {}
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
    return {name: sum((row[name] for row in rows), _ZERO if name in MONEY else 0) for name in (*COUNTS, *MONEY)}


def _before(period: Period, now: datetime) -> tuple[Period, str]:
    """Return the month before; of a month that is not over, the same part of it."""
    since = (period.since.replace(day=1) - _A_DAY).replace(day=1)
    if not period.since <= now < period.until:
        return replace(period, since=since, until=period.since), f"{since:%Y-%m}"
    until = min(since + (now - period.since), period.since)
    compared = f"{since:%Y-%m} up to {until:%d %H:%M} UTC, the same part of the month"
    return replace(period, since=since, until=until), compared


def _summed(rows: Sequence[Row], by: tuple[Dimension, ...]) -> dict[Key, Decimal]:
    sums: dict[Key, Decimal] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        sums[key] = sums.get(key, _ZERO) + row["cost_usd"]
    return sums


def _rule(spending: Spending, period: Period, now: datetime) -> WeekdayRule | None:
    if not period.since <= now < period.until:
        return None
    return weekday_rule(now, period.until, spending.first_day(Period(history_start(now), now, period.apps)))


def _history(
    spending: Spending, by: tuple[Dimension, ...], rule: WeekdayRule, now: datetime, apps: tuple[str, ...] | None
) -> dict[Key, dict[date, Decimal]]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    costs = spending.costs((*by, "day"), Period(history_start(now), midnight, apps))
    history: dict[Key, dict[date, Decimal]] = {}
    for (*key, day), cost in costs.items():
        on = date.fromisoformat(str(day))
        if on >= rule.since:
            history.setdefault(tuple(key), {})[on] = cost
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
