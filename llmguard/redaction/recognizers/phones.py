"""Telephone numbers of the world, found once by their form and judged by region with libphonenumber's data.

What a form needs to count: an international prefix, a North American or parenthesised grouping, a number valid in
one of `REGIONS`, or a word such as "call" in front. A plain run of digits without any of these is no phone number.
"""
# ruff: noqa: E501  # a regex is read in one piece

import re
from collections.abc import Callable, Iterable
from typing import ClassVar

import phonenumbers

from llmguard.redaction.recognizers.base import GatedRecognizer, Hit

REGIONS: tuple[str, ...] = (
    "US", "GB", "DE", "FR", "IT", "ES", "NL", "BE", "CH", "AT", "IE", "PL", "SE", "NO", "DK", "FI", "PT", "CZ", "HU", "GR",
    "IN", "IL", "AU", "NZ", "JP", "KR", "CN", "SG", "HK", "ZA", "BR", "MX", "AR", "CO", "TR", "AE", "NG", "KE", "PH", "ID",
)  # fmt: skip
_CANDIDATE = re.compile(
    r"[\d(+](?<![\w./$€£#-].)(?<!\d[,:].)(?<![$€£] .)(?:(?<=\d)|(?<=\()\+?\(?\d|(?<=\+)\(?\d)"  # its first sign leads: re tries nothing else
    r"(?:[\d() ./\-\u2010-\u2013]|\s?x){5,24}\d(?:[ ,]{0,2}(?:x|ext\.?|extension|#) ?\d{1,6})?(?![\w%€£]|[.,:/]\d|-\d{5})",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r"(?i)[ ,]{0,2}(?:x|ext\.?|extension|#) ?\d{1,6}$")
_DATE_OR_OTHER = re.compile(
    r"(?:(?:19|20)\d{2}[-/.](?:0?[1-9]|1[0-2])[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d{2})(?!\d).*"
    r"|(?:\d{1,3}\.){3}\d{1,3}|(?:19|20)\d{2} ?[-\u2013] ?(?:19|20)\d{2}|\d+\.\d+|\d{3}-\d{2}-\d{4}|\d{1,2}/\d{1,2}/\d{2,4}.*|(?:\d{4}[ -]){3}\d{4}"
)
_LONE_DIGITS = re.compile(r"(?<!\d)\d[ .-]\d(?!\d)")
_THOUSANDS = re.compile(r"\d{1,3}(?: \d{3})+")
_CALLS = re.compile(
    r"(?i)\b(?:phone|tel|telephone|mobile|cell|fax|call(?:s|ed|ing)?|dial|text|sms|whatsapp|ring|reach(?:ed|able)?|contact|telefon|handy|m[oó]vil|tel[eé]fono|portable|hotline"
    r"|extension|landline|pager|answer(?:s|ing)? (?:at|on)|number(?:'s| is)?)\b[^\n\d]{0,40}$|(?:☎|📞|📱)\s{0,2}$"
)
_TRAILING = re.compile(r"(?i)^[ -]{0,3}\(?(?:office|fax|mobile|cell|home|work|direct|tel|phone)\b")
_NANP = re.compile(r"(?:\+?1[ .-]?|001[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}")
_AREA = re.compile(r"\+?\d{0,3} ?\(0?\d{1,5}\)[ .-]?\d{2,5}(?:[ .-]?\d{2,5}){0,3}")
_INTERNATIONAL = re.compile(r"\(?(?:\+|00[1-9])[\d() ./-]{7,}")
_NATIONAL = re.compile(r"\(?0[1-9][\d ()./-]{6,}|0[1-9]\d{7,10}|[6-9]\d{9}|[2-9]\d{2}[2-9]\d{6}")
_MIN_DIGITS, _MAX_DIGITS = 6, 15
_MIN_WITH_AREA = 8  # `(12) 345` is a reference


class TelephoneRecognizer(GatedRecognizer):
    """PHONE_NUMBER with or without country code, spaces, brackets and extension."""

    ENTITIES: ClassVar = ("PHONE_NUMBER",)
    GATES: ClassVar = (_CANDIDATE.pattern,)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the telephone numbers in the text."""
        for match in _CANDIDATE.finditer(text):
            for start, end in _split(text, match.start(), match.end()):
                verdict = _judge(text, start, end)
                if verdict:
                    yield Hit(start, end, "PHONE_NUMBER", *verdict)


def _split(text: str, start: int, end: int) -> Iterable[tuple[int, int]]:
    """Yield the parts of a candidate: `555-1234 / 555-9876` and double spaces separate two numbers."""
    position = start
    for part in re.split(r"( / | {2,}|/(?=[+(]))", text[start:end]):
        inner = part.strip(" ./-")
        if inner and (inner[0].isdigit() or inner[0] in "+("):
            begin = position + part.find(inner)
            yield begin, begin + len(inner)
        position += len(part)


def _judge(text: str, start: int, end: int) -> tuple[float, str] | None:
    """Return score and rule for a candidate, or None when it is something else."""
    value = text[start:end]
    number = _EXTENSION.sub("", value)
    digits = sum(map(str.isdigit, number))
    if (
        not _MIN_DIGITS <= digits <= _MAX_DIGITS
        or value.count("(") != value.count(")")
        or _DATE_OR_OTHER.fullmatch(number)
    ):
        return None
    if _LONE_DIGITS.search(number) and not number.startswith("+"):
        return None  # `0 0 24 24`
    return _by_form(number, lambda: _is_called(text, start, end))


def _is_called(text: str, start: int, end: int) -> bool:
    before = _CALLS.search(text, max(0, start - 64), start)
    return before is not None or _TRAILING.match(text[end : end + 12]) is not None


def _by_form(number: str, is_called: Callable[[], bool]) -> tuple[float, str] | None:
    """Return score and rule for a number without its extension, by the strongest form that it has."""
    digits = sum(map(str.isdigit, number))
    is_grouped = digits < len(number)
    forms = (
        (0.9, "international number", lambda: _INTERNATIONAL.fullmatch(number) and _is_possible(number)),
        (0.85, "number beside a word such as call", is_called),
        (0.75, "North American number", lambda: _NANP.fullmatch(number)),
        (0.6, "number with its area in brackets", lambda: _AREA.fullmatch(number) and digits >= _MIN_WITH_AREA),
        (0.6, "national number", lambda: is_grouped and _is_national(number)),
    )
    return next(((score, rule) for score, rule, has_form in forms if has_form()), None)


def _is_national(number: str) -> bool:
    if _THOUSANDS.fullmatch(number) or not _NATIONAL.fullmatch(number):
        return False
    return _is_valid_somewhere(number)


def _is_possible(number: str) -> bool:
    try:
        parsed = phonenumbers.parse(re.sub(r"^\(?00", "+", number).replace("(0)", ""), None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_possible_number(parsed)


def _is_valid_somewhere(number: str) -> bool:
    for region in REGIONS:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(number, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
