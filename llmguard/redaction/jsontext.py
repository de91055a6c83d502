r"""The leaves of a JSON text with their places in it, so that what is not hidden stays byte for byte as it was.

Parsing and writing again would change number literals, escapes and spaces. So the text is checked by a parser and then
cut into tokens, which is safe: in valid JSON a quote outside a string always begins one.

A string that is JSON text itself is cut into its own leaves, NESTED levels deep; below that it is read as text. Text
that only holds JSON somewhere (a fence, a broken object) is read with its `\uXXXX` written out, however often their
backslashes are doubled.
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
NESTED = 3  # levels of JSON in a string of JSON
_OPENING = ("{", "[", " ", "\n", "\t", "\r")
_HEX_DIGITS = 4
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.")

# Bounded, so that a long run of backslashes costs no more than its length.
_UNICODE = re.compile(r"\\{1,8}u[dD][89abAB][0-9a-fA-F]{2}\\{1,8}u[dD][c-fC-F][0-9a-fA-F]{2}|\\{1,8}u[0-9a-fA-F]{4}")


# Form, label, text, start, end, places of a string, number or key: its value, the nearest key above it, where it is
# written in the source (between the quotes), and where each character is if `positions` does not tell. A plain tuple,
# since a tool result has thousands.
Leaf = tuple[Literal["json", "number", "key"], str, str, int, int, list[int] | None]


def lex(source: str, levels: int = NESTED) -> list[Leaf] | None:
    """Return the strings, keys and longer integers of a JSON object or array, in order; None if it is anything else.

    A number of JSON in a string has the form `json`: what replaces it needs no quotes of its own there.

    Args:
        source: any text.
        levels: how deep JSON in strings is followed.
    """
    if not _is_container(source):
        return None
    leaves: list[Leaf] = []
    labels = [""]
    label = ""
    for token in _TOKEN.finditer(source):
        kind = token.lastgroup
        if kind == "key":
            label = _decode(token["key"])
            leaves.append(("key", "", label, *token.span("key"), None))
        elif kind == "string":
            text = _decode(token["string"])
            start, end = token.span("string")
            inner = _leaves_inside(text, token["string"], start, label, levels) if _may_hold_more(text) else None
            leaves += [("json", label, text, start, end, None)] if inner is None else inner
        elif kind == "number":
            leaves.append(("number", label, token[0], *token.span(), None))
        elif kind == "open":
            labels.append(label)
        else:
            label = labels.pop()
    return leaves


def _may_hold_more(text: str) -> bool:
    return "\\u" in text or text[:1] in _OPENING


def _leaves_inside(text: str, raw: str, begin: int, label: str, levels: int) -> list[Leaf] | None:
    """Return the leaves of a string that is JSON, or is written with escapes once more; None if it is plain.

    Args:
        text: the string.
        raw: how it is written in the source.
        begin: where it begins there.
        label: its label.
        levels: how many more may be followed.
    """
    leaves = lex(text, levels - 1) if levels else None
    if leaves is None:
        unescaped = unescape(text)
        if unescaped is None:
            return None
        shown, own_places = unescaped
        leaves = [("json", "", shown, 0, len(text), own_places)]
    outer = positions(raw)
    found: list[Leaf] = []
    for form, own, shown, start, end, known in leaves:
        inner = known or [start + place for place in positions(text[start:end])]
        places = [begin + outer[place] for place in inner]
        own_label = "" if form == "key" else own or label
        found.append(("key" if form == "key" else "json", own_label, shown, places[0], places[-1], places))
    return found


def unescape(text: str) -> tuple[str, list[int]] | None:
    r"""Return a text with its `\uXXXX` written out, and where each character of it, and its end, is in the source.

    None if there are none. Halves of a surrogate pair stay as they are.
    """
    parts: list[str] = []
    places: list[int] = []
    at = 0
    for escape in _UNICODE.finditer(text):
        code = escape[0].lstrip("\\")[1:]
        character = chr(int(code, 16)) if len(code) == _HEX_DIGITS else _pair(code)
        if "\ud800" <= character <= "\udfff":
            continue
        parts += text[at : escape.start()], character
        places.extend(range(at, escape.start() + 1))
        at = escape.end()
    if not parts:
        return None
    places.extend(range(at, len(text) + 1))
    return "".join(parts) + text[at:], places


def _pair(code: str) -> str:  # as in D83D\uDE00
    high, low = int(code[:_HEX_DIGITS], 16), int(code[-_HEX_DIGITS:], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)


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
