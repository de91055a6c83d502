"""What the value behind a label looks like: one regex a shape, matched where the label ends.

`keyed` is for `label: value`, where the label and the sign vouch for the value; `spoken` for `my label is value`, where
only the value's own form does. No shape crosses a line, and every repetition is bounded.
"""
# ruff: noqa: E501, SIM905  # a regex is read in one piece; lists of words read better without quotes

import re
from collections.abc import Callable
from dataclasses import dataclass

from llmguard.redaction.recognizers import names
from llmguard.redaction.recognizers.gazetteers import is_given_name
from llmguard.redaction.recognizers.vocabulary import NOT_NAMES

_CAMEL = re.compile(r"[a-z][A-Z]")
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)[a-z]{0,6}\.?|(?:Januar|Februar|März|Mai|Juni|Juli|Oktober|Dezember)"
DATE = (
    r"(?:\d{1,4}[-/.]\d{1,2}[-/.]\d{2,4}(?!\d)"
    r"|\d{1,2}(?:st|nd|rd|th|\.)?[ -](?:of )?(?i:" + _MONTH + r")[ ,-]{1,2}\d{2,4}"
    r"|(?i:" + _MONTH + r") \d{1,2}(?:st|nd|rd|th)?,? \d{4})"
)
_DATE_OR_DIGITS = rf"(?:{DATE}|\d{{8}}(?!\d))"
_IDENT = r"(?:[A-Za-z]{1,6}[- ]?)?[A-Za-z0-9]{1,20}(?:[-/.][A-Za-z0-9]{1,14}){0,5}(?:(?<=\d) \d{1,6}(?![\w.,:])){0,4}(?: [A-Z](?!\w))?"
_SPOKEN_IDENT = r"#?(?=[A-Za-z0-9-]{0,10}\d)[A-Za-z0-9]{1,20}(?:[-/.][A-Za-z0-9]{1,14}){0,5}(?:(?<=\d) \d{1,6}(?![\w.,:])){0,4}(?: [A-Z](?!\w))?"
_DIGITS = r"\d(?:[ -]?\d){5,17}(?!\w)"
_SHORTEST_IDENT, _IDENT_DIGITS = 4, 3  # `v2` and `A1` are no numbers of people
_MOST_NAMES = 4
_LONGEST_ACRONYM = 3  # `NEW`, `N/A`
_LINE_END = r"(?=[\"'`]|\s{0,3}(?:[,;|<\n\r]|\\n|$))"


@dataclass(frozen=True, slots=True)
class Shape:
    """The regexes of a value, and a last test of it."""

    keyed: re.Pattern[str]
    spoken: re.Pattern[str] | None = None
    check: Callable[[str], bool] = bool

    def match(self, text: str, position: int, *, is_keyed: bool) -> tuple[int, int] | None:
        """Return the span of the value that begins at `position`, or None."""
        regex = self.keyed if is_keyed else self.spoken
        found = regex.match(text, position) if regex else None
        if not found:
            return None
        value = found.group().rstrip(" .,-/")
        return (found.start(), found.start() + len(value)) if value and self.check(value) else None


def _same(regex: str, check: Callable[[str], bool] = bool) -> Shape:
    """Return a shape that looks the same behind a sign and in prose."""
    return Shape(re.compile(regex), re.compile(regex), check)


def _digits(value: str) -> int:
    return sum(c.isdigit() for c in value)


def _has_digits(value: str, least: int, most: int) -> bool:
    return least <= _digits(value) <= most


def _is_ident(value: str) -> bool:
    is_long = len(value) >= _SHORTEST_IDENT and _digits(value) >= _IDENT_DIGITS
    return is_long and not re.fullmatch(DATE, value)


def _is_full_name(value: str) -> bool:
    return names.is_name(value) or (value.islower() and _is_lower_name(value))


def _is_lower_name(value: str) -> bool:
    parts = value.replace("-", " ").split()
    return 1 <= len(parts) <= _MOST_NAMES and all(p.isalpha() and len(p) > 1 and p not in NOT_NAMES for p in parts)


def _is_place(value: str) -> bool:
    return value.lower() not in NOT_NAMES and not (value.isupper() and len(value) <= _LONGEST_ACRONYM)


def _is_address(value: str) -> bool:
    words = value.replace(",", " ").split()
    return len(words) > 1 and any(c.isalpha() for c in value) and any(c.isdigit() or c == "," for c in value)


def _is_user(value: str) -> bool:
    if value.istitle() or _CAMEL.search(value):
        return False
    return value.lower() not in _SYSTEM_USERS and value.lower() not in NOT_NAMES and any(c.isalnum() for c in value)


_SYSTEM_USERS = frozenset(
    "root admin administrator guest system nobody anonymous daemon www-data postgres test string str int self request"
    " current_user user users username login name id uid value varchar text char bigint integer uuid serial varying".split()
)

SHAPES: dict[str, Shape] = {
    "name": Shape(
        re.compile(rf"{names.LAST_FIRST}|{names.NAME}|[a-zà-ÿ]{{2,20}}(?:[ -][a-zà-ÿ]{{2,20}}){{0,3}}{_LINE_END}"),
        check=_is_full_name,
    ),
    "two_names": Shape(
        re.compile(rf"{names.LAST_FIRST}|{names.TWO_NAMES}|{names.WORD}"),
        check=lambda value: names.is_name(value, words=1 if is_given_name(value) else 2),
    ),
    "mail": Shape(re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}")),
    "phone": Shape(
        re.compile(r"\+?[(\d][\d()/. -]{4,22}\d(?:[ ,]{0,2}(?:x|ext\.?|extension|#) ?\d{1,6})?(?![\w-])"),
        re.compile(r"\+?[(\d][\d()/. -]{4,22}\d(?:[ ,]{0,2}(?:x|ext\.?|extension|#) ?\d{1,6})?(?![\w-])"),
        lambda value: _has_digits(value, 6, 20) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}.*", value),
    ),
    "ssn": _same(r"(?:\d{3}[- .]?\d{2}[- .]?\d{4}|(?:[Xx*]{3}[- ]?[Xx*]{2}[- ]?)\d{4})(?![\w-])"),
    "digits": Shape(re.compile(_DIGITS), re.compile(_DIGITS), lambda value: _has_digits(value, 6, 18)),
    "account": Shape(
        re.compile(r"(?:[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}|(?:[A-Z]{1,4}-?)?\d(?:[ -]?\d){4,19})(?![\w@])"),
        re.compile(r"#?(?:[A-Z]{2}\d{2}(?: ?[A-Z0-9]{2,4}){3,8}|\d(?:[ -]?\d){5,19})(?![\w@])"),
        lambda value: not re.fullmatch(r"\d{4}-\d{2}-\d{2}.*", value),
    ),
    "routing": _same(r"\d{3,4}[- ]?\d{2,4}[- ]?\d{1,4}(?!\w)", lambda value: _has_digits(value, 8, 10)),
    "sort_code": _same(r"\d{2}[- ]?\d{2}[- ]?\d{2}(?![\w-])"),
    "swift": _same(r"[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?(?!\w)"),
    "iban": _same(
        r"[A-Za-z]{2}\d{2}(?:[A-Za-z0-9]{8,30}|(?:[ -](?:\d{2,6}|[A-Z0-9]{4}|[a-z]{0,3}\d[a-z0-9]{0,3})){2,8})(?!\w)", lambda value: _has_digits(value, 8, 34)),
    "card": _same(r"\d(?:[ -]?\d){11,18}(?!\w)"),
    "cvv": _same(r"\d{3,4}(?!\w)"),
    "date": Shape(re.compile(_DATE_OR_DIGITS), re.compile(DATE)),
    "ident": Shape(re.compile(_IDENT), re.compile(_SPOKEN_IDENT), _is_ident),
    "nino": _same(r"[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d](?!\w)"),
    "plate": _same(r"[A-Z0-9ÄÖÜ]{1,4}[- ]?[A-Z0-9]{1,4}(?:[- ]?[A-Z0-9]{1,4})?(?!\w)", lambda value: _digits(value) >= 1),
    "vin": _same(r"[A-HJ-NPR-Z0-9]{17}(?!\w)"),
    "user": Shape(re.compile(r"(?:[A-Z0-9-]{2,15}\\\\?)?[A-Za-z][\w.@+-]{1,40}(?![\w(\[{.\\/=%])"), check=_is_user),
    "address": Shape(
        re.compile(
            r"[^\n\r\"`<>{}|;\t=\\@]{6,140}?(?=\s{0,3}(?:[\"`<|;\t\n\r\\]|'[\s,;)}]|[.?!](?:\s|$)(?! ?\d)|[,.]? \(?(?:Tel|Phone|Fax|E-?mail|Mobile|Cell|and my|I'm|please|is\b)|$))",
            re.IGNORECASE,
        ), check=_is_address
    ),
    "place": Shape(
        re.compile(rf"{names.WORD}(?:[ -](?:(?:of|de|do|da|la|am|an|der|u|na|le|les|sur|upon|y) ?){{0,2}}{names.WORD}){{0,3}}"), check=_is_place
    ),
    "postal": Shape(
        re.compile(r"[A-Za-z0-9]{2,5}(?:[- ][A-Za-z0-9]{2,4})?(?![\w.])"),
        re.compile(r"[A-Z0-9]{2,5}(?:[- ][A-Z0-9]{3,4})?(?![\w.])"),
        lambda value: _has_digits(value, 2, 10) and len(value) in range(4, 11),
    ),
}  # fmt: skip
