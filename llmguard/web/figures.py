"""How pages write figures, money and times: filters of their templates."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from markupsafe import Markup, escape

_CENT: Final = Decimal("0.01")
_LEAST_OF_ONE: Final = Decimal("0.0001")
_SMALL_USD: Final = Decimal("0.000001")
_THOUSAND: Final = 1000
_MILLION: Final = 1_000_000
_SECOND_MS: Final = 1000
_TENTH_MS: Final = 0.1
_CODE: Final = re.compile(r"`([^`]+)`")
_NONE: Final = "-"


def figure(value: float | None) -> str:
    """Return a figure as 1,234,567; whole where it is whole."""
    if value is None:
        return _NONE
    return f"{int(value):,}" if value == int(value) else f"{value:,.1f}"


def short(value: float | None) -> str:
    """Return a figure in few characters: 12.3M, 45.6k, 789."""
    if value is None:
        return _NONE
    for unit, name in ((_MILLION, "M"), (_THOUSAND, "k")):
        if abs(value) >= unit:
            return f"{float(value) / unit:.1f}".removesuffix(".0") + name
    return figure(value)


def usd(value: Decimal | str | None) -> str:
    """Return dollars with cents; below one cent as many places as it takes to see something."""
    if value is None:
        return _NONE
    amount = Decimal(value)
    if amount and abs(amount) < _CENT:
        amount = amount.quantize(_SMALL_USD, ROUND_HALF_UP).normalize()
        return f"${amount:f}" if amount else "under $0.000001"
    return f"${amount.quantize(_CENT, ROUND_HALF_UP):,}"


def usd_of_one(value: Decimal | str | None) -> str:
    """Return what one request cost, with four places, so that amounts stand below each other: $0.0056."""
    if value is None:
        return _NONE
    amount = Decimal(value)
    if amount and abs(amount) < _LEAST_OF_ONE:
        return "<$0.0001"
    return f"${amount.quantize(_LEAST_OF_ONE, ROUND_HALF_UP):,}"


def milliseconds(value: float | None) -> str:
    """Return a duration: 40 µs, 0.4 ms, 350 ms, 1.2 s."""
    if value is None:
        return _NONE
    if 0 < value < _TENTH_MS:
        return f"{value * 1000:.0f} µs"
    if value < _SECOND_MS:
        return f"{value:.0f} ms" if value >= 1 or value == 0 else f"{value:.1f} ms"
    return f"{value / _SECOND_MS:.1f} s"


def percent(part: float, whole: float) -> str:
    """Return a share: 0 %, under 0.1 %, 2.5 %, 40 %."""
    if not whole or not part:
        return "0 %"
    share = 100 * part / whole
    if share < 0.1:  # noqa: PLR2004 - the least that one place shows
        return "under 0.1 %"
    return f"{share:.1f}".removesuffix(".0") + " %"


def moment(value: datetime | None) -> str:
    """Return an instant as 26 Nov 2026, 10:44 UTC."""
    return _NONE if value is None else f"{value.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def day(value: date | None) -> str:
    """Return a day as 26 Nov 2026."""
    return _NONE if value is None else f"{value:%-d %b %Y}"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: 1 app, 2 apps."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def days_from_now(days: int) -> str:
    """Return how far away a day is: today, in 12 days, 3 days ago."""
    if days == 0:
        return "today"
    return f"in {count(days, 'day')}" if days > 0 else f"{count(-days, 'day')} ago"


def with_code(text: str) -> Markup:
    """Return a text as markup, in which what stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped first


FILTERS: Final[dict[str, Callable[..., Any]]] = {  # Any: each takes and gives its own
    "figure": figure,
    "short": short,
    "usd": usd,
    "usd4": usd_of_one,
    "ms": milliseconds,
    "percent": percent,
    "moment": moment,
    "day": day,
    "count_of": count,
    "days_from_now": days_from_now,
    "with_code": with_code,
}
