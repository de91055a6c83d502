"""Money without rounding surprises: whole nano-dollars inside, `Decimal` dollars at the borders.

One nano-dollar is 1e-9 USD. A request's cost is rounded once, half to even, when it is computed; from there on
ledger, traces and reports add integers, so their sums agree to the last digit.
"""

from decimal import ROUND_HALF_EVEN, Decimal

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
    total = sum((tokens * rate for tokens, rate in parts), Decimal(0)) * _NANO_PER_USD_PER_MILLION
    return int(total.to_integral_value(rounding=ROUND_HALF_EVEN))
