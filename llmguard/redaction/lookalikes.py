"""Characters that look like those of ASCII, read as these: who writes a card with en dashes hides nothing by it."""

import sys
import unicodedata

_DASHES = "‐‑‒–—―−"  # noqa: RUF001 (these are what it is about)
_FULL_WIDTH = range(0xFF01, 0xFF5F)
_AS_WIDE_AS_ASCII = 0xFEE0  # code points between a full-width form and its ASCII character
# Full-width brackets stay: those of ASCII begin a placeholder, and would label what follows.
_BRACKETS = frozenset("\uff1c\uff1e")


def _table() -> dict[int, str]:
    blanks = (code for code in range(128, sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Zs")
    full = {code: chr(code - _AS_WIDE_AS_ASCII) for code in _FULL_WIDTH if chr(code) not in _BRACKETS}
    return full | dict.fromkeys(blanks, " ") | dict.fromkeys(map(ord, _DASHES), "-")


_TO_ASCII = _table()


def plain(text: str) -> str:
    """Return a text of the same length with full-width forms, blanks and dashes as ASCII has them."""
    return text if text.isascii() else text.translate(_TO_ASCII)
