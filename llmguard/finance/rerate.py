"""What past requests would have cost under other prices; changes nothing that is stored.

Each request is priced and rounded by itself, as the gateway does it, so the figures are those that the traces would
have had. What was charged as the whole hold is not by tokens and keeps its cost, and so do models that the file does
not name; both are counted.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import TypeAdapter, ValidationError

from llmguard.domain.money import Price, ServiceTier, TokenKind
from llmguard.finance.errors import FinanceError
from llmguard.finance.questions import Dimension, Period, ask, dimensions_of
from llmguard.finance.tables import Column
from llmguard.registry.build import price_from
from llmguard.registry.entries import PriceEntry
from llmguard.registry.yaml_text import NotYaml, read_yaml
from llmguard.traces.reader import TraceReader

Row = dict[str, Any]  # Any: texts, whole numbers, decimals

_ZERO: Final = Decimal(0)
_ENDLESS: Final = 2**62
_KINDS: Final = tuple(kind.value for kind in TokenKind)
# Rates are whole thousandths of a nano-dollar a token times 1,000: exact for rates of nine places in USD per 1M tokens.
_RATE_PLACES: Final = 9
_SHAPE: Final = json.dumps(
    [
        {"priced": "VARCHAR", "tier": "VARCHAR", "above": "BIGINT", "until": "BIGINT"}
        | {f"rate_{kind}": "HUGEINT" for kind in _KINDS}
    ]
)
_ESCAPED_SHAPE: Final = _SHAPE.replace("{", "{{").replace("}", "}}")  # since the statement is a format itself
RERATE: Final = f"""
WITH prices AS (SELECT unnest(from_json($prices::JSON, '{_ESCAPED_SHAPE}'), recursive := true)),
calls AS (
    SELECT
        {{dimensions}} model AS called, cost_usd, cost_basis, input_tokens, output_tokens,
        coalesce(service_tier, 'standard') AS called_tier,
        coalesce(cached_tokens, 0) AS cached, coalesce(cache_write_tokens, 0) AS written,
        coalesce(cache_write_1h_tokens, 0) AS written_1h, coalesce(audio_input_tokens, 0) AS heard,
        coalesce(reasoning_tokens, 0) AS reasoned, coalesce(audio_output_tokens, 0) AS spoken
    FROM traces
    WHERE started_at >= $since::TIMESTAMPTZ AND started_at < $until::TIMESTAMPTZ
    AND (input_tokens IS NOT NULL OR cost_usd IS NOT NULL)
),
exact AS (
    SELECT
        calls.*, prices.priced,
        (input_tokens - cached - written - written_1h - heard)::HUGEINT * rate_input + cached * rate_cached_input
        + written * rate_cache_write + written_1h * rate_cache_write_1h + heard * rate_audio_input
        + (output_tokens - reasoned - spoken)::HUGEINT * rate_output + reasoned * rate_reasoning
        + spoken * rate_audio_output AS micros
    FROM calls LEFT JOIN prices
    ON priced = called AND tier = called_tier AND greatest(input_tokens, 1) > above AND input_tokens <= until
    AND cost_basis IS DISTINCT FROM 'held'
),
rounded AS (
    SELECT *, micros // 1000000 + CASE
        WHEN micros % 1000000 > 500000 THEN 1
        WHEN micros % 1000000 = 500000 THEN (micros // 1000000) % 2
        ELSE 0 END AS nano
    FROM exact
)
SELECT
    {{names}}
    count(*) AS requests,
    count(*) FILTER (priced IS NULL) AS unchanged_requests,
    count(*) FILTER (cost_usd IS NULL) AS unpriced_requests,
    coalesce(sum(cost_usd), 0)::VARCHAR AS cost_usd,
    coalesce(sum(nano) FILTER (priced IS NOT NULL), 0)::VARCHAR AS new_nano_usd,
    coalesce(sum(cost_usd) FILTER (priced IS NULL), 0)::VARCHAR AS kept_cost_usd
FROM rounded GROUP BY ALL ORDER BY ALL
"""  # noqa: S608 - built from constants of this module


@dataclass(frozen=True, slots=True)
class Rerated:
    """Old and new cost, by row and in all.

    Attributes:
        missing: models that were called and are not in the file.
    """

    by: tuple[Dimension, ...]
    rows: list[Row]
    total: Row
    missing: list[str]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a row, in order."""
        return (
            *(Column(name, "DATE" if name == "day" else "VARCHAR") for name in self.by),
            *(Column(name, "BIGINT") for name in _COUNTS),
            *(Column(name, "DECIMAL(38, 9)") for name in _MONEY),
        )


_COUNTS: Final = ("requests", "unchanged_requests", "unpriced_requests")
_MONEY: Final = ("cost_usd", "new_cost_usd", "difference_usd")


def rerate(reader: TraceReader, prices: Mapping[str, Price], period: Period, by: tuple[Dimension, ...]) -> Rerated:
    """Return what the requests of a period cost, beside what they would have cost.

    Raises:
        FinanceError: there is too much for one answer.
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    names = "".join(f"{name}, " for name in by)
    sql = RERATE.format(dimensions=dimensions_of(by), names=names)
    rows = [_row(row, by) for row in ask(reader, sql, period, prices=json.dumps(_table(prices)))]
    total = {name: sum((row[name] for row in rows), 0 if name in _COUNTS else _ZERO) for name in (*_COUNTS, *_MONEY)}
    called = ask(reader, _CALLED, period)
    return Rerated(by, rows, total, [row["model"] for row in called if row["model"] not in prices])


_CALLED: Final = """
SELECT DISTINCT model FROM traces
WHERE started_at >= $since::TIMESTAMPTZ AND started_at < $until::TIMESTAMPTZ
AND input_tokens IS NOT NULL AND model IS NOT NULL ORDER BY model
"""


def _row(row: Mapping[str, Any], by: tuple[Dimension, ...]) -> Row:
    cost = Decimal(row["cost_usd"])
    new_cost = Decimal(row["new_nano_usd"]).scaleb(-9) + Decimal(row["kept_cost_usd"])
    return (
        {name: row[name] for name in by}
        | {name: row[name] for name in _COUNTS}
        | {"cost_usd": cost, "new_cost_usd": new_cost, "difference_usd": new_cost - cost}
    )


def _table(prices: Mapping[str, Price]) -> list[dict[str, Any]]:  # Any: JSON
    """Return one row for each model, tier and stretch of input lengths, with its rates."""
    table = []
    for model, price in prices.items():
        borders = sorted({0, *(variant.above_tokens for variant in price.variants)})
        for tier in get_args(ServiceTier):
            for above, until in zip(borders, [*borders[1:], _ENDLESS], strict=True):
                _, rates = price.rates_for(tier, above + 1)
                figures = {f"rate_{kind.value}": int(rates.of(kind).scaleb(_RATE_PLACES)) for kind in TokenKind}
                table.append({"priced": model, "tier": tier, "above": above, "until": until} | figures)
    return table


def read_prices(path: Path) -> dict[str, Price]:
    """Return the prices of a file: model names with rates, as `price` in registry.yaml has them.

    Raises:
        FinanceError: it cannot be read, or has mistakes; all of them are told.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FinanceError(f"{path} cannot be read: {error}.") from None
    except NotYaml as error:
        raise FinanceError(f"{path} is no YAML: {error}.") from None
    try:
        entries = _FILE.validate_python(content)
    except ValidationError as error:
        said = "\n".join(f"  {'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise FinanceError(
            f"{path} is no price file (model: {{input: …, output: …}}, USD per 1M tokens):\n{said}"
        ) from None
    return {model: price_from(entry) for model, entry in entries.items()}


_FILE: Final = TypeAdapter(dict[str, PriceEntry])
