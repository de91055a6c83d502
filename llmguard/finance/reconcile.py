"""Why a provider's bill and our traces differ: by day and model, in parts that sum up to the whole difference.

For each day and model, theirs less ours is split into: what only one side has, the difference in tokens at our rates,
and what is left, which is the difference in price. The parts are exact: the last is what the others leave.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from llmguard.domain.money import TokenKind
from llmguard.finance.focus import rates_named
from llmguard.finance.invoice import Billed, Invoice
from llmguard.finance.questions import Period, ask_charges
from llmguard.finance.tables import Column
from llmguard.registry.price_figures import PriceFiles
from llmguard.traces.reader import TraceReader

Row = dict[str, Any]  # Any: texts, whole numbers, decimals
Key = tuple[date, str]

_ZERO: Final = Decimal(0)
_PARTS: Final = ("missing_here_usd", "missing_there_usd", "token_difference_usd", "price_difference_usd")
_SNAPSHOT: Final = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)$")


@dataclass(slots=True)
class Traced:
    """What our traces say about one model on one day. The rates are those of its largest charge, USD a token."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: Decimal = _ZERO
    estimated: Decimal = _ZERO
    unpriced: int = 0
    largest: Decimal = Decimal(-1)
    rates: tuple[Decimal, Decimal, Decimal] | None = None  # input, cached input, output


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Every day and model of both sides, and the sums."""

    rows: list[Row]
    total: Row

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a row, in order."""
        money = ("our_cost_usd", "their_cost_usd", "difference_usd", *_PARTS)
        return (
            Column("day", "DATE"),
            Column("model", "VARCHAR"),
            *(Column(f"{side}_{name}", "BIGINT") for name in _TOKENS for side in ("our", "their")),
            *(Column(name, "DECIMAL(38, 18)") for name in money),
            Column("why", "VARCHAR"),
        )


_TOKENS: Final = ("input_tokens", "output_tokens", "cached_tokens")


def reconcile(
    reader: TraceReader, prices: PriceFiles, invoice: Invoice, names: Mapping[str, str], provider: str | None
) -> Reconciliation:
    """Return how a provider's export and our traces compare, over the days of the export.

    Args:
        reader: of the data folder.
        prices: the figures of its price versions.
        invoice: the export.
        names: our model by the provider's name of it; a name that is not in it stands for itself.
        provider: only the traces of this provider of ours; None: of all.

    Raises:
        FinanceError: there is too much for one answer.
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    theirs: dict[Key, Billed] = {}
    for (day, model), billed in invoice.items():
        key = (day, ours_of(model, names))
        theirs[key] = _together(theirs[key], billed) if key in theirs else billed
    days = [day for day, _ in theirs]
    ours = _traced(reader, prices, (min(days), max(days)), provider)
    rows = [_row(key, ours.get(key), theirs.get(key)) for key in sorted({*ours, *theirs})]
    sums = ("our_cost_usd", "their_cost_usd", "difference_usd", *_PARTS)
    total: Row = {name: sum((row[name] for row in rows), _ZERO) for name in sums}
    for name in (f"{side}_{name}" for name in _TOKENS for side in ("our", "their")):
        total[name] = sum(row[name] or 0 for row in rows)
    return Reconciliation(rows, total)


def ours_of(model: str, names: Mapping[str, str]) -> str:
    """Return our name of a provider's model: as mapped, also without the date of its snapshot or its vendor."""
    bare = _SNAPSHOT.sub("", model)
    for name in (model, bare, model.rpartition("/")[2], bare.rpartition("/")[2]):
        if name in names:
            return names[name]
    return model


def _together(one: Billed, other: Billed) -> Billed:
    """Return two snapshots of the same model as one."""

    def added(name: str) -> Any:  # Any: whole number, decimal or None
        given = [value for value in (getattr(one, name), getattr(other, name)) if value is not None]
        return sum(given[1:], given[0]) if given else None

    return Billed(
        input_tokens=added("input_tokens"),
        output_tokens=added("output_tokens"),
        cached_tokens=added("cached_tokens"),
        cost=added("cost"),
        lines=one.lines + other.lines,
    )


def _traced(
    reader: TraceReader, prices: PriceFiles, days: tuple[date, date], provider: str | None
) -> dict[Key, Traced]:
    since, until = (datetime.combine(day, time(), UTC) for day in (days[0], days[1] + timedelta(days=1)))
    traced: dict[Key, Traced] = {}
    for charge in ask_charges(reader, Period(since, until)):
        if provider is None or charge["provider"] == provider:
            key = (date.fromisoformat(charge["day"]), charge["model"] or "unknown")
            _add(traced.setdefault(key, Traced()), charge, prices)
    return traced


def _add(traced: Traced, charge: Mapping[str, Any], prices: PriceFiles) -> None:
    cost = Decimal(charge["cost_usd"] or 0)
    traced.requests += charge["requests"]
    traced.input_tokens += charge["input_tokens"]
    traced.output_tokens += charge["output_tokens"]
    traced.cached_tokens += charge["cached_tokens"]
    traced.cost += cost
    if charge["cost_basis"] in ("counted", "held"):
        traced.estimated += cost
    if charge["cost_usd"] is None:
        traced.unpriced += charge["requests"]
    rates = rates_named(prices.find(charge["price_version"]), charge["price_rate"])
    if rates is not None and cost > traced.largest:
        traced.largest = cost
        kinds = (TokenKind.INPUT, TokenKind.CACHED_INPUT, TokenKind.OUTPUT)
        traced.rates = (rates.of(kinds[0]).scaleb(-6), rates.of(kinds[1]).scaleb(-6), rates.of(kinds[2]).scaleb(-6))


def _row(key: Key, ours: Traced | None, theirs: Billed | None) -> Row:
    row: Row = {"day": key[0], "model": key[1]}
    for name in _TOKENS:
        row[f"our_{name}"] = getattr(ours, name) if ours else None
        row[f"their_{name}"] = getattr(theirs, name) if theirs else None
    our_cost = ours.cost if ours else _ZERO
    parts = dict.fromkeys(_PARTS, _ZERO)
    why: list[str] = []
    their_cost = _ZERO
    if theirs is None and ours is not None:
        parts["missing_there_usd"] = -our_cost
        why.append(f"{ours.requests} requests of ours are not in their export")
    elif theirs is not None and ours is None:
        their_cost = parts["missing_here_usd"] = theirs.cost or _ZERO
        why.append("no trace of ours: was their key used past the gateway, or is the model named otherwise?")
    elif theirs is not None and ours is not None:
        tokens_usd, words = _token_difference(ours, theirs)
        their_cost = our_cost + tokens_usd if theirs.cost is None else theirs.cost
        parts["token_difference_usd"] = tokens_usd
        parts["price_difference_usd"] = their_cost - our_cost - tokens_usd
        why += words + _price_words(parts["price_difference_usd"], ours, theirs)
    return row | {
        "our_cost_usd": our_cost,
        "their_cost_usd": their_cost,
        "difference_usd": their_cost - our_cost,
        **parts,
        "why": "; ".join(why) or "equal",
    }


def _token_difference(ours: Traced, theirs: Billed) -> tuple[Decimal, list[str]]:
    """Return what the difference in tokens costs at our rates, and in words; cached tokens are part of the input."""
    more = {name: 0 if (said := getattr(theirs, name)) is None else said - getattr(ours, name) for name in _TOKENS}
    words = [
        f"they count {abs(count):,} {name.replace('_', ' ')} {'more' if count > 0 else 'fewer'}"
        for name, count in more.items()
        if count
    ]
    if ours.rates is None:
        return _ZERO, [*words, "the figures of our price were not kept, so tokens cannot be valued"] if words else []
    input_rate, cached_rate, output_rate = ours.rates
    uncached = more["input_tokens"] - more["cached_tokens"]
    return uncached * input_rate + more["cached_tokens"] * cached_rate + more["output_tokens"] * output_rate, words


def _price_words(difference: Decimal, ours: Traced, theirs: Billed) -> list[str]:
    words = []
    if theirs.cost is None:
        words.append("their export has no cost, so tokens alone are compared")
    elif difference:
        words.append(f"for the same tokens they charge {abs(difference):f} USD {'more' if difference > 0 else 'less'}")
    if ours.unpriced:
        words.append(f"the price of {ours.unpriced} requests of ours is unknown")
    if ours.estimated:
        words.append(f"{ours.estimated:f} USD of ours are by our own count or by what was held")
    return words


def model_names(models: Sequence[tuple[str, str]], given: Mapping[str, str]) -> dict[str, str]:
    """Return our model by every name that a provider may give it: its target, and what is given by hand."""
    names: dict[str, str] = {}
    for name, target in models:
        names |= {target: name, target.rpartition("/")[2]: name}
    return names | {name: name for name, _ in models} | dict(given)
