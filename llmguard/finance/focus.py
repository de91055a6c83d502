"""The FinOps FOCUS cost and usage dataset: one row an app, day, model and kind of token, at one price.

`ListCost` and `ContractedCost` are unit price times quantity, exactly. `BilledCost` and `EffectiveCost` are what the
traces add up to, exactly: a trace's cost is rounded to the nano-dollar, and the difference to the product, less than
half a nano-dollar a request, lies on the dearest rows.

Source: FOCUS specification 1.2, https://focus.finops.org/focus-specification/v1-2 (the requirements as in
focus-validator 2.2.1, model-1.2.0.1.json); for 1.4 the columns of its repository, FinOps-Open-Cost-and-Usage-Spec/
FOCUS_Spec, specification/datasets/cost_and_usage/columns: since 1.3 ServiceProviderName and HostProviderName stand for
ProviderName, and PublisherName is gone.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

import msgspec

from llmguard.domain.money import STANDARD, Price, Rates, TokenKind
from llmguard.finance.errors import FinanceError
from llmguard.finance.questions import Period, ask_charges
from llmguard.finance.tables import Column
from llmguard.registry.price_figures import PriceFiles

if TYPE_CHECKING:  # it loads DuckDB
    from llmguard.traces.reader import TraceReader

Row = dict[str, Any]  # Any: texts, whole numbers, decimals, instants
Kind = TypeVar("Kind", bound=str)
FocusVersion = Literal["1.2", "1.4"]
FOCUS_VERSIONS: Final[tuple[FocusVersion, ...]] = get_args(FocusVersion)

_ZERO: Final = Decimal(0)
_HALF_NANO: Final = Decimal("0.0000000005")
_MONEY: Final = "DECIMAL(38, 18)"
_TIME: Final = "TIMESTAMP WITH TIME ZONE"
_UNKNOWN: Final = "unknown"
_NAMES: Final[dict[FocusVersion, tuple[str, ...]]] = {
    "1.2": ("ProviderName", "PublisherName"),
    "1.4": ("HostProviderName", "ServiceProviderName"),
}
_COLUMNS: Final = {
    "BilledCost": _MONEY,
    "BillingAccountId": "VARCHAR",
    "BillingAccountName": "VARCHAR",
    "BillingCurrency": "VARCHAR",
    "BillingPeriodEnd": _TIME,
    "BillingPeriodStart": _TIME,
    "ChargeCategory": "VARCHAR",
    "ChargeClass": "VARCHAR",
    "ChargeDescription": "VARCHAR",
    "ChargeFrequency": "VARCHAR",
    "ChargePeriodEnd": _TIME,
    "ChargePeriodStart": _TIME,
    "ConsumedQuantity": _MONEY,
    "ConsumedUnit": "VARCHAR",
    "ContractedCost": _MONEY,
    "ContractedUnitPrice": _MONEY,
    "EffectiveCost": _MONEY,
    "InvoiceId": "VARCHAR",
    "InvoiceIssuerName": "VARCHAR",
    "ListCost": _MONEY,
    "ListUnitPrice": _MONEY,
    "PricingCategory": "VARCHAR",
    "PricingQuantity": _MONEY,
    "PricingUnit": "VARCHAR",
    "ServiceCategory": "VARCHAR",
    "ServiceName": "VARCHAR",
    "ServiceSubcategory": "VARCHAR",
    "SkuId": "VARCHAR",
    "SkuMeter": "VARCHAR",
    "SkuPriceDetails": "VARCHAR",
    "SkuPriceId": "VARCHAR",
    "SubAccountId": "VARCHAR",
    "SubAccountName": "VARCHAR",
    "Tags": "VARCHAR",
}
_OWN: Final = {
    "x_CostBasis": "VARCHAR",
    "x_CostCenter": "VARCHAR",
    "x_Model": "VARCHAR",
    "x_Owner": "VARCHAR",
    "x_PriceVersion": "VARCHAR",
    "x_Requests": "BIGINT",
    "x_ServiceTier": "VARCHAR",
    "x_Team": "VARCHAR",
    "x_TokenType": "VARCHAR",
}
_METERS: Final = {
    TokenKind.INPUT: "Input tokens",
    TokenKind.CACHED_INPUT: "Cached input tokens",
    TokenKind.CACHE_WRITE: "Cache write tokens",
    TokenKind.CACHE_WRITE_1H: "Cache write tokens, kept for an hour",
    TokenKind.AUDIO_INPUT: "Audio input tokens",
    TokenKind.OUTPUT: "Output tokens",
    TokenKind.REASONING: "Reasoning tokens",
    TokenKind.AUDIO_OUTPUT: "Audio output tokens",
}


def focus_columns(version: FocusVersion) -> tuple[Column, ...]:
    """Return the columns of a version: its own ones by name, then ours."""
    named = _COLUMNS | dict.fromkeys(_NAMES[version], "VARCHAR")
    return tuple(Column(name, kind) for name, kind in (*sorted(named.items()), *_OWN.items()))


def focus_rows(reader: "TraceReader", prices: PriceFiles, period: Period) -> Iterator[Row]:
    """Yield the rows of a month, with the names of every version.

    Raises:
        FinanceError: a day has more than one answer may have.
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    known: dict[str | None, Price | None] = {}
    for charge in ask_charges(reader, period):
        version = charge["price_version"]
        if version not in known:
            known[version] = prices.find(version)
        yield from _rows_of(charge, known[version], period)


def _rows_of(charge: Mapping[str, Any], price: Price | None, period: Period) -> Iterator[Row]:
    common = _common(charge, period)
    billed = Decimal(charge["cost_usd"] or 0)
    parts = _parts(charge, rates_named(price, charge["price_rate"]), billed)
    if parts is None:
        yield common | _whole(charge, billed)
        return
    for kind, tokens, rate, cost in parts:
        unit_price = rate.scaleb(-6)
        yield common | {
            "BilledCost": cost,
            "EffectiveCost": cost,
            "ListCost": unit_price * tokens,
            "ContractedCost": unit_price * tokens,
            "ListUnitPrice": unit_price,
            "ContractedUnitPrice": unit_price,
            "PricingQuantity": _quantity(tokens),
            "PricingUnit": "Tokens",
            "ConsumedQuantity": _quantity(tokens),
            "ConsumedUnit": "Tokens",
            "ChargeDescription": f"{_METERS[kind]} of {charge['model']}",
            "SkuId": f"{charge['provider']}/{charge['model']}/{kind.value}",
            "SkuMeter": _METERS[kind],
            "SkuPriceId": f"{charge['provider']}/{charge['model']}/{kind.value}/{charge['price_version']}/"
            f"{charge['price_rate']}",
            "x_TokenType": kind.value,
        }


def rates_named(price: Price | None, name: str | None) -> Rates | None:
    """Return the rates that a trace names; None where its figures were not kept."""
    if price is None or name is None:
        return None
    return price if name == STANDARD else next((rates for rates in price.variants if rates.name == name), None)


def _parts(
    charge: Mapping[str, Any], rates: Rates | None, billed: Decimal
) -> list[tuple[TokenKind, int, Decimal, Decimal]] | None:
    """Return tokens, rate and cost by kind, whose costs are exactly what was billed; None if it is not by tokens."""
    if rates is None or charge["cost_basis"] == "held" or charge["cost_usd"] is None:
        return None
    tokens = tokens_by_kind(charge)
    exact = {kind: rates.of(kind).scaleb(-6) * count for kind, count in tokens.items() if count}
    difference = billed - sum(exact.values(), _ZERO)
    if not exact or abs(difference) > _HALF_NANO * charge["requests"]:
        return None
    costs = split_cost(exact, billed)
    return [(kind, tokens[kind], rates.of(kind), costs[kind]) for kind in exact]


def split_cost(exact: Mapping[Kind, Decimal], billed: Decimal) -> dict[Kind, Decimal]:
    """Return the parts changed so that their sum is what was billed: on the dearest ones, and none below zero."""
    costs = dict(exact)
    difference = billed - sum(exact.values(), _ZERO)
    for kind in sorted(exact, key=lambda kind: -exact[kind]):
        change = max(difference, -costs[kind])
        costs[kind] += change
        difference -= change
    return costs


def tokens_by_kind(sums: Mapping[str, Any]) -> dict[TokenKind, int]:
    """Return the tokens of each kind of a group of traces, every token once."""
    special = {
        TokenKind.CACHED_INPUT: int(sums["cached_tokens"]),
        TokenKind.CACHE_WRITE: int(sums["cache_write_tokens"]),
        TokenKind.CACHE_WRITE_1H: int(sums["cache_write_1h_tokens"]),
        TokenKind.AUDIO_INPUT: int(sums["audio_input_tokens"]),
    }
    written = {
        TokenKind.REASONING: int(sums["reasoning_tokens"]),
        TokenKind.AUDIO_OUTPUT: int(sums["audio_output_tokens"]),
    }
    return {
        TokenKind.INPUT: int(sums["input_tokens"]) - sum(special.values()),
        **special,
        TokenKind.OUTPUT: int(sums["output_tokens"]) - sum(written.values()),
        **written,
    }


def _whole(charge: Mapping[str, Any], billed: Decimal) -> Row:
    """Return what cannot be told apart by kind: a charge of what was held, or one whose figures were not kept."""
    if charge["cost_usd"] is None:
        kind, meter = "unpriced", "Tokens without a known price"
    elif charge["cost_basis"] == "held":
        kind, meter = "held", "Amounts held for requests whose usage is unknown"
    else:
        kind, meter = "all", "Tokens of all kinds"
    return {
        "BilledCost": billed,
        "EffectiveCost": billed,
        "ListCost": billed,
        "ContractedCost": billed,
        "ListUnitPrice": billed,
        "ContractedUnitPrice": billed,
        "PricingQuantity": _quantity(1),
        "PricingUnit": "Charges",
        "ConsumedQuantity": _quantity(charge["input_tokens"] + charge["output_tokens"]),
        "ConsumedUnit": "Tokens",
        "ChargeDescription": f"{meter} of {charge['model'] or _UNKNOWN}",
        "SkuId": f"{charge['provider'] or _UNKNOWN}/{charge['model'] or _UNKNOWN}/{kind}",
        "SkuMeter": meter,
        "SkuPriceId": f"{charge['provider'] or _UNKNOWN}/{charge['model'] or _UNKNOWN}/{kind}/"
        f"{charge['price_version'] or _UNKNOWN}",
        "x_TokenType": kind,
    }


def _quantity(count: int) -> Decimal:
    """Return a count as the decimal that the specification wants, with a place, so that readers of CSV see one."""
    return Decimal(count).quantize(Decimal("0.1"))


def _common(charge: Mapping[str, Any], period: Period) -> Row:
    start = datetime.combine(date.fromisoformat(charge["day"]), time(), UTC)
    provider = charge["provider"] or _UNKNOWN
    tags = {name: charge[name] for name in ("cost_center", "team") if charge[name] is not None}
    return {
        "BillingAccountId": provider,
        "BillingAccountName": provider,
        "BillingCurrency": "USD",
        "BillingPeriodStart": period.since,
        "BillingPeriodEnd": period.until,
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": start,
        "ChargePeriodEnd": start + timedelta(days=1),
        "HostProviderName": provider,
        "InvoiceId": None,
        "InvoiceIssuerName": provider,
        "PricingCategory": "Standard",
        "ProviderName": provider,
        "PublisherName": provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Large language models",
        "ServiceProviderName": provider,
        "ServiceSubcategory": "Generative AI",
        "SkuPriceDetails": None,
        "SubAccountId": charge["app"],
        "SubAccountName": charge["app"],
        "Tags": msgspec.json.encode(tags).decode(),
        "x_CostBasis": charge["cost_basis"],
        "x_CostCenter": charge["cost_center"],
        "x_Model": charge["model"],
        "x_Owner": charge["owner"],
        "x_PriceVersion": charge["price_version"],
        "x_Requests": charge["requests"],
        "x_ServiceTier": charge["service_tier"],
        "x_Team": charge["team"],
    }


def focus_version(text: str) -> FocusVersion:
    """Return a version that can be written.

    Raises:
        FinanceError: it cannot.
    """
    found = next((version for version in FOCUS_VERSIONS if version == text), None)
    if found is None:
        raise FinanceError(f"FOCUS {text} cannot be written; there is {' and '.join(FOCUS_VERSIONS)}.")
    return found
