"""A provider's usage or cost export, read from CSV: whatever its columns are called, a day, a model and figures."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Literal, get_args

from llmguard.finance.errors import FinanceError

Meaning = Literal["date", "model", "input_tokens", "output_tokens", "cached_tokens", "cost"]
MEANINGS: Final[tuple[Meaning, ...]] = get_args(Meaning)

# Known names, best first. Source: OpenAI API reference, "Usage" (completions) and "Costs" objects, and the CSV of its
# dashboard, whose cost export has `line_item` as in "gpt-4o-mini-2024-07-18, input"; the others are what people write.
_NAMES: Final[dict[Meaning, tuple[str, ...]]] = {
    "date": ("date", "day", "usage_date", "start_time_iso", "start_time", "timestamp", "bucket_start_time"),
    "model": ("model", "model_id", "snapshot_id", "model_name", "line_item"),
    "input_tokens": ("input_tokens", "prompt_tokens", "n_context_tokens_total", "context_tokens"),
    "output_tokens": (
        "output_tokens",
        "completion_tokens",
        "n_generated_tokens_total",
        "generated_tokens",
        "tokens_out",
    ),
    "cached_tokens": ("cached_tokens", "input_cached_tokens", "cached_input_tokens", "n_cached_context_tokens_total"),
    "cost": ("cost", "cost_usd", "amount_value", "amount", "cost_in_usd", "total_cost"),
}


@dataclass(slots=True)
class Billed:
    """What a provider says about one model on one day; None is not in its export."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: Decimal | None = None
    lines: int = field(default=0)


Invoice = dict[tuple[date, str], Billed]


def read_invoice(paths: Sequence[Path], columns: Mapping[str, str]) -> Invoice:
    """Return what the files say together, by day (UTC) and the provider's name of the model.

    Args:
        paths: CSV files of the same period: usage and cost may come apart.
        columns: the file's name of a column by what it means, where the known names do not fit.

    Raises:
        FinanceError: a file cannot be read or understood; the text says where.
    """
    invoice: Invoice = {}
    for path in paths:
        for place, row in _rows(path, columns):
            key = (_day(place, row["date"]), _model(row["model"]))
            billed = invoice.setdefault(key, Billed())
            billed.lines += 1
            for name in ("input_tokens", "output_tokens", "cached_tokens"):
                if row.get(name):
                    setattr(billed, name, (getattr(billed, name) or 0) + int(_figure(place, row[name])))
            if row.get("cost"):
                billed.cost = (billed.cost or Decimal(0)) + _figure(place, row["cost"])
    if not invoice:
        raise FinanceError(f"{', '.join(map(str, paths))}: there is no line with a model in it.")
    return invoice


def _rows(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FinanceError(f"{path} cannot be read: {error}.") from None
    first_line = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=first_line.count))
    names = _columns(path, [name for name in reader.fieldnames or () if name], columns)
    for number, row in enumerate(reader, start=2):
        found = {meaning: (row.get(name) or "").strip() for meaning, name in names.items()}
        if found["model"] and found["date"]:
            yield f"{path}, line {number}", found


def _columns(path: Path, header: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return which column has what: as given, else by the names that are known."""
    normal = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in header}
    unknown = [name for name in given.values() if name not in header]
    if unknown:
        raise FinanceError(f"{path} has no column {unknown[0]!r}. It has {', '.join(header)}.")
    names: dict[str, str] = {}
    for meaning in MEANINGS:
        found = given.get(meaning) or next((normal[name] for name in _NAMES[meaning] if name in normal), None)
        if found is not None:
            names[meaning] = found
    missing = [meaning for meaning in ("date", "model") if meaning not in names]
    if missing or not {"input_tokens", "output_tokens", "cost"} & names.keys():
        wanted = missing[0] if missing else "cost"
        raise FinanceError(
            f"{path}: no column looks like the {wanted}. It has {', '.join(header)}. Name it, as in "
            f"--column {wanted}=NAME."
        )
    return names


def _model(text: str) -> str:
    return text.partition(",")[0].strip()


def _day(place: str, text: str) -> date:
    try:
        if re.fullmatch(r"\d{9,11}", text):
            return datetime.fromtimestamp(int(text), UTC).date()
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FinanceError(f"{place}: {text!r} is no date such as 2026-11-03.") from None
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date()


def _figure(place: str, text: str) -> Decimal:
    try:
        figure = Decimal(text.replace(" ", "").removeprefix("$"))
    except InvalidOperation:
        raise FinanceError(f"{place}: {text!r} is no figure; write it as in 1234.56.") from None
    if not figure.is_finite():
        raise FinanceError(f"{place}: {text!r} is no figure.")
    return figure
