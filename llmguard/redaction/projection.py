"""One byte per character: the text as Hyperscan sees it, with every character's class kept.

ASCII stays as it is. Beyond ASCII a character becomes the byte of its class, chosen so that word boundaries fall where
they fall in the text: word characters become `_` (which is neither letter nor digit), decimal digits `9`, whitespace
0x80, all else 0x81. Characters that match an ASCII letter when case is ignored become that letter. What is a word
character depends on who asks: to the `regex` module a combining accent is one, to `re` it is not. `regex_translation`
widens each regex to these bytes, so that nothing that matches in the text is missed here.
"""

import re
from functools import cache
from typing import Any, Literal

import numpy as np
import regex  # type: ignore[import-untyped]  # its stubs are a package of their own

Dialect = Literal["regex", "re"]

WORD_BYTE = ord("_")
DIGIT_BYTE = ord("9")
SPACE_BYTE = 0x80
OTHER_BYTE = 0x81
_ASCII = 0x80
_CODE_POINTS = 0x110000
# Source: regex 2026.11.15, `[c for c in every character if regex.fullmatch("[a-z]", c, regex.I)]`, beyond ASCII; the
# same with re of Python 3.11 to 3.13
_CASELESS_TWINS = {"\u0130": "i", "\u0131": "i", "\u017f": "s", "\u212a": "k"}


def project(text: str, dialect: Dialect = "regex") -> bytes:
    """Return the text with one byte per character, so that offsets agree."""
    if text.isascii():
        return text.encode("ascii")
    code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return _table(dialect)[code_points].tobytes()


def project_character(character: str, dialect: Dialect = "regex") -> int:
    """Return the byte of one character."""
    if character.isascii():
        return ord(character)
    return int(_table(dialect)[ord(character)])


@cache
def _table(dialect: Dialect) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return the byte of every code point; built once, from the classes of the module itself (20 ms)."""
    module: Any = {"regex": regex, "re": re}[dialect]  # two modules with one interface
    table = np.full(_CODE_POINTS, OTHER_BYTE, dtype=np.uint8)
    everything = np.arange(_CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    for pattern, byte in ((r"\w+", WORD_BYTE), (r"\d+", DIGIT_BYTE), (r"\s+", SPACE_BYTE)):
        for match in module.finditer(pattern, everything):
            table[match.start() : match.end()] = byte
    for twin, letter in _CASELESS_TWINS.items():
        table[ord(twin)] = ord(letter)
    table[:_ASCII] = np.arange(_ASCII, dtype=np.uint8)
    return table
