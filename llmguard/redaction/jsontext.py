"""The leaves of a JSON text with their places in it, so that what is not hidden stays byte for byte as it was.

Parsing and writing again would change number literals, escapes and spaces. So the text is checked by a parser and then
cut into tokens, which is safe: in valid JSON a quote outside a string always begins one.
"""

import re
from typing import Literal

import msgspec

_STRING = r"[^\"\\]*(?:\\.[^\"\\]*)*"
# Shorter integers, and numbers with a point or exponent, are skipped without a match of their own.
_TOKEN = re.compile(
    rf'"(?P<key>{_STRING})"(?=\s*:)|"(?P<string>{_STRING})"|(?P<open>[{{\[])|(?P<close>[}}\]])'
    r"|(?P<number>(?<![\d.eE+-])-?\d{4,}(?![\d.eE]))"
)
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.")


# Form, label, text, start, end of a string, number or key: its value, the nearest key above it, and where it is written
# in the source (between the quotes). A plain tuple, since a tool result has thousands.
Leaf = tuple[Literal["json", "number", "key"], str, str, int, int]


def lex(source: str) -> list[Leaf] | None:
    """Return the strings, keys and longer integers of a JSON object or array, in order; None if it is anything else."""
    if not _is_container(source):
        return None
    leaves: list[Leaf] = []
    labels = [""]
    label = ""
    for token in _TOKEN.finditer(source):
        kind = token.lastgroup
        if kind == "key":
            label = _decode(token["key"])
            leaves.append(("key", "", label, *token.span("key")))
        elif kind == "string":
            leaves.append(("json", label, _decode(token["string"]), *token.span("string")))
        elif kind == "number":
            leaves.append(("number", label, token[0], *token.span()))
        elif kind == "open":
            labels.append(label)
        else:
            label = labels.pop()
    return leaves


def positions(raw: str) -> list[int]:
    """Return for each character of a decoded JSON string, and for its end, where it is written in the raw one."""
    places: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(raw):
        places.extend(range(at, escape.start() + 1))
        at = escape.end()
    places.extend(range(at, len(raw) + 1))
    return places


def _is_container(source: str) -> bool:
    stripped = source.strip()
    if not stripped or stripped[0] + stripped[-1] not in {"{}", "[]"}:
        return False
    try:
        msgspec.json.decode(stripped)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True


def _decode(raw: str) -> str:
    if "\\" not in raw:
        return raw
    decoded: str = msgspec.json.decode(f'"{raw}"', type=str)
    return decoded
