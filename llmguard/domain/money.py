"""Money without rounding surprises, and prices: whole nano-dollars inside, `Decimal` dollars at the borders.

One nano-dollar is 1e-9 USD. A request's cost is rounded once, half to even, when it is computed; from there on
ledger, traces and reports add integers, so their sums agree to the last digit.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Literal

NANO_PER_USD = 1_000_000_000
_NANO_PER_USD_PER_MILLION = Decimal(1000)  # 1 USD per 1M tokens is 1,000 nano-dollars a token


def to_nano_usd(amount_usd: Decimal) -> int:
    """Return dollars as whole nano-dollars, rounded half to even."""
    return int((amount_usd * NANO_PER_USD).to_integral_value(rounding=ROUND_HALF_EVEN))


def to_usd(nano_usd: int) -> Decimal:
    """Return nano-dollars as exact `Decimal` dollars with nine places."""
    return Decimal(nano_usd).scaleb(-9)


def cost_nano_usd(parts: list[tuple[int, Decimal]]) -> int:
    """Return the cost of `(tokens, USD per 1M tokens)` parts in nano-dollars, rounded once over their sum."""
    total = Decimal(0)
    for tokens, rate in parts:
        total += tokens * rate
    return int((total * _NANO_PER_USD_PER_MILLION).to_integral_value(rounding=ROUND_HALF_EVEN))


class TokenKind(StrEnum):
    """The kinds of tokens that a price tells apart; each token of a call is of exactly one."""

    INPUT = "input"  # read, and none of the next four
    CACHED_INPUT = "cached_input"  # read from the provider's cache
    CACHE_WRITE = "cache_write"  # read, and put into the provider's cache
    CACHE_WRITE_1H = "cache_write_1h"  # the same, to be kept for an hour
    AUDIO_INPUT = "audio_input"
    OUTPUT = "output"  # written, and none of the next two
    REASONING = "reasoning"
    AUDIO_OUTPUT = "audio_output"


# What a kind costs that has no rate of its own: as much as the kind that it is part of.
_PART_OF: dict[TokenKind, TokenKind] = {
    TokenKind.CACHED_INPUT: TokenKind.INPUT,
    TokenKind.CACHE_WRITE: TokenKind.INPUT,
    TokenKind.CACHE_WRITE_1H: TokenKind.CACHE_WRITE,
    TokenKind.AUDIO_INPUT: TokenKind.INPUT,
    TokenKind.REASONING: TokenKind.OUTPUT,
    TokenKind.AUDIO_OUTPUT: TokenKind.OUTPUT,
}
INPUT_KINDS = (
    TokenKind.INPUT,
    TokenKind.CACHED_INPUT,
    TokenKind.CACHE_WRITE,
    TokenKind.CACHE_WRITE_1H,
    TokenKind.AUDIO_INPUT,
)
OUTPUT_KINDS = (TokenKind.OUTPUT, TokenKind.REASONING, TokenKind.AUDIO_OUTPUT)
STANDARD = "standard"  # the tier of calls for which a provider names none
ServiceTier = Literal["standard", "flex", "priority", "batch"]


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per 1M tokens. None: as much as the kind that it is part of.

    Attributes:
        dearest_input: what a token that is read can cost at most.
        dearest_output: what a token that is written can cost at most.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = field(default=None, kw_only=True)
    cache_write: Decimal | None = field(default=None, kw_only=True)
    cache_write_1h: Decimal | None = field(default=None, kw_only=True)
    audio_input: Decimal | None = field(default=None, kw_only=True)
    reasoning: Decimal | None = field(default=None, kw_only=True)
    audio_output: Decimal | None = field(default=None, kw_only=True)
    dearest_input: Decimal = field(init=False, repr=False, compare=False)
    dearest_output: Decimal = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the bounds once: every request needs them."""
        object.__setattr__(self, "dearest_input", max(map(self.of, INPUT_KINDS)))
        object.__setattr__(self, "dearest_output", max(map(self.of, OUTPUT_KINDS)))

    def of(self, kind: TokenKind) -> Decimal:
        """Return the rate of a kind of tokens."""
        rate: Decimal | None = getattr(self, kind)
        return self.of(_PART_OF[kind]) if rate is None else rate

    def figures(self) -> dict[str, Decimal]:
        """Return the rates that are given, by kind."""
        given = {kind.value: getattr(self, kind.value) for kind in TokenKind}
        return {kind: rate for kind, rate in given.items() if rate is not None}


@dataclass(frozen=True, slots=True)
class Variant(Rates):
    """Other rates of a price: in another service tier, or where more than so many tokens are read."""

    tier: ServiceTier = field(default="standard", kw_only=True)
    above_tokens: int = field(default=0, kw_only=True)

    @property
    def name(self) -> str:
        """What a trace calls these rates: `flex`, `standard_above_200000`."""
        return f"{self.tier}_above_{self.above_tokens}" if self.above_tokens else self.tier


@dataclass(frozen=True, slots=True)
class Price(Rates):
    """What a model costs. `version` says where the figures come from and which they are; each trace has it."""

    version: str
    variants: tuple[Variant, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether there are figures; without them a cost is not zero, but unknown."""
        return self.version != UNKNOWN

    def rates_for(self, tier: str, input_tokens: int) -> tuple[str, Rates]:
        """Return the rates of a call, and their name; a tier without rates of its own costs the standard ones."""
        best: Variant | None = None
        tiers = {variant.tier for variant in self.variants}
        wanted = tier if tier in tiers else STANDARD
        for variant in self.variants:
            if variant.tier == wanted and variant.above_tokens < max(input_tokens, 1):
                best = variant if best is None or variant.above_tokens > best.above_tokens else best
        return (STANDARD, self) if best is None else (best.name, best)

    def ceiling(self, tiers: Collection[str] | None, input_tokens: int) -> tuple[Decimal, Decimal]:
        """Return what a token read and a token written can cost at most, in any of these tiers (None: in any)."""
        dearest_input, dearest_output = self.dearest_input, self.dearest_output
        for variant in self.variants:
            is_possible = tiers is None or variant.tier in tiers or variant.tier == STANDARD
            if is_possible and variant.above_tokens < max(input_tokens, 1):
                dearest_input = max(dearest_input, variant.dearest_input)
                dearest_output = max(dearest_output, variant.dearest_output)
        return dearest_input, dearest_output


UNKNOWN = "unknown"
UNKNOWN_PRICE = Price(Decimal(0), Decimal(0), UNKNOWN)  # only where the registry allows it: `unknown_price: allowed`
