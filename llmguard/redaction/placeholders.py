"""Placeholders: what stands for a hidden value at the provider, such as `<PERSON_KOFADELIMORU>`.

`<` + entity type + `_` + a code of pronounceable letters + `>`. The code is an HMAC-SHA256 of (app, type, normalised
value): six pairs of a consonant and a vowel, 40 bits. The same value has the same placeholder in every message,
turn, worker, machine and day of an app, two apps cannot join theirs, and no mapping is stored anywhere.
Pronounceable letters cost a model 7 tokens where ten hex digits cost 13.

Several spellings of one value in one request ("Anna Schmidt", "ANNA SCHMIDT", or "Anna" beside the full name) share
the six pairs, the stem, so that a model sees that they are one person; each spelling after the first has a seventh
pair, keyed by the spelling. So the text that comes back is always exactly what stood there. The first spelling of a
value has the bare stem, whichever it is: in two requests that spell it differently, the placeholder is the same.

When two spellings are one value is decided here too, by entity type: the normalised form is the value's identity, and
knows nothing about requests.
"""

import hmac
import re
import unicodedata
from collections.abc import Container, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

PERSON = "PERSON"
PLACEHOLDERS_PURPOSE = "redaction/placeholders"  # of the key that is derived from the installation's secret
SHORTEST_PART = 3  # letters of a part of a name that is looked for by itself

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_NOT_DIGIT = re.compile(r"\D+")
# Presidio names the ids of a country by its two letters (US_SSN, IT_FISCAL_CODE): spaces and dashes mean nothing there.
_COMPACT = re.compile(r"CREDIT_CARD|IBAN.*|(?!IP_)[A-Z]{2}_.+")
# Two secrets that differ in case only are two secrets.
_EXACT = re.compile(r".*(?:KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CRYPTO|JWT|URL).*")

_EDGES = ".,;:'\"()[]"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES = _words(
    """
    mr mrs ms mx mister miss dr prof professor sir dame herr frau señor señora von van der den del the
    """
)
# Names that are everyday words: alone they say nothing about a person, and hiding each of them would ruin the text.
_EVERYDAY_WORDS = _words(
    """
    amber april art august autumn baker banks bell best bill bishop black bond bright brook brown bush
    carter case cash chance chase chip church close cook cross crystal daisy dawn day dean drew east eve
    faith field fields flowers ford fox frank ginger good grace grant gray green grey guy hall hand hart
    heather hill holly hope house hunter iris ivy jack jean joy june key king lane law lily little long
    love major march mark mason may miles moon newman nice noble north olive page park parks pearl pool
    post power powers price rare ray read reed rice rich rivers rob robin root rose ruby rush rusty
    sandy self sharp short singer small smart south speed spring star steel stone strong sue summer
    summers swift temple town turner victor violet walker wall ward ware waters way weeks west white
    will wise wolf wood woods word work young
    """
)


def normalise(entity_type: str, text: str) -> str:
    """Return the form that all spellings of one value share.

    Phone numbers are their digits (a leading 00 is a plus), cards, IBANs and national ids their letters and digits,
    secrets and URLs themselves, all else (people, places, e-mails) the text in lower case with single spaces. Invisible
    characters do not count, nor how a letter with its marks is encoded, but in secrets and URLs.
    """
    kind = _kind_of(entity_type)
    if kind == "exact":
        return text
    text = readable(text) or text
    if kind == "phone":
        digits = _NOT_DIGIT.sub("", text).removeprefix("00")
        return digits or text
    if kind == "compact":
        return _NOT_ALPHANUMERIC.sub("", text).casefold() or text
    return " ".join(text.casefold().split())


@lru_cache(maxsize=1_000)  # of types, of which there are as many as the rules name
def _kind_of(entity_type: str) -> Literal["exact", "phone", "compact", "words"]:
    if _EXACT.fullmatch(entity_type):
        return "exact"
    if entity_type.startswith("PHONE"):
        return "phone"
    return "compact" if _COMPACT.fullmatch(entity_type) else "words"


def name_parts(text: str) -> tuple[str, ...]:
    """Return the words of a full name that identify the person when they stand alone, as they are spelled there.

    At least SHORTEST_PART letters, no title or particle, no everyday word; nothing for a name of one word.
    """
    words = readable(text).split()
    if len(words) == 1:
        return ()
    parts = (word.strip(_EDGES) for word in words)
    return tuple(part for part in parts if _tells_a_person(part))


def is_title(text: str) -> bool:
    """Return whether a text is a title and nobody's name."""
    return text.strip(_EDGES).casefold() in _TITLES


def _tells_a_person(part: str) -> bool:
    folded = part.casefold()
    letters = sum(map(str.isalpha, part))
    return letters >= SHORTEST_PART and folded not in _TITLES and folded not in _EVERYDAY_WORDS


LONGEST_TYPE = (
    36  # of an entity type in a placeholder, so that a whole one always fits into what a stream may hold back
)
PAIRS_IN_STEM = 6
STEM_LENGTH = 2 * PAIRS_IN_STEM

CONSONANTS = "BCDFGHJKLMNPQRSTVWXZ"
VOWELS = "AEIOU"
_PLACES = tuple(100**place for place in range(20))  # as many pairs as are in a number of 128 bits
_PAIRS = tuple(consonant + vowel for consonant in CONSONANTS for vowel in VOWELS)

_CANONICAL = re.compile(rf"<([A-Z][A-Z0-9_]*)_(?:[{CONSONANTS}][{VOWELS}]){{6,9}}>")
_DROPPED = re.compile(r"<([A-Z][A-Z0-9_]*)>")
_CODED_OR_DROPPED = re.compile(f"{_CANONICAL.pattern}|{_DROPPED.pattern}")


class PlaceholderCodes:
    """The codes of one app: a keyed function, and nothing remembered."""

    __slots__ = ("_app", "_key")

    def __init__(self, key: bytes, app: str) -> None:
        self._key = key
        self._app = app.encode()

    def stem(self, entity_type: str, value: str, attempt: int = 0) -> str:
        """Return the six pairs of a normalised value; another attempt gives another code for a collision."""
        return _spell(self._number(entity_type, value, attempt), PAIRS_IN_STEM)

    def tail(self, entity_type: str, spelling: str, attempt: int = 0) -> str:
        """Return the pair that tells one spelling of a value from another; from attempt 100 on two pairs, and so on."""
        return _spell(self._number(entity_type + "/spelling", spelling, attempt), 1 + attempt // len(_PAIRS))

    def _number(self, purpose: str, value: str, attempt: int) -> int:
        # The value goes last: the fields before it hold no NUL, so no two inputs are written alike.
        message = b"%b\0%b\0%d\0%b" % (self._app, purpose.encode(), attempt, value.encode("utf-8", "surrogatepass"))
        return int.from_bytes(hmac.digest(self._key, message, "sha256")[:16], "big")


def spell_placeholder(entity_type: str, code: str) -> str:
    """Return the placeholder as the provider sees it."""
    return f"<{entity_type[:LONGEST_TYPE]}_{code}>"


def spell_dropped(entity_type: str) -> str:
    """Return what stands for a value that is never restored."""
    return f"<{entity_type}>"


def placeholders_in(text: str, entity_types: Container[str] = ()) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and entity type of each placeholder; those without a code only of the types that are given."""
    for match in _CODED_OR_DROPPED.finditer(text):
        if match[1] is not None or match[2] in entity_types:
            yield match.start(), match.end(), match[1] or match[2]


def protected_spans(text: str, entity_types: Container[str]) -> list[tuple[int, int]]:
    """Return where a text already holds placeholders: there nothing is hidden a second time.

    Args:
        text: any text.
        entity_types: whose `<TYPE>` counts too; any other word in brackets does not.
    """
    if "<" not in text:
        return []
    spans = [match.span() for match in _CANONICAL.finditer(text)]
    spans.extend(match.span() for match in _DROPPED.finditer(text) if match[1] in entity_types)
    return sorted(spans)


def mask(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Return a text of the same length whose placeholders say nothing, not even their type, to who reads it.

    Else `<EMAIL_ADDRESS_…>` is read as a label of what follows, and its letters as a name.
    """
    if not spans:
        return text
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts += text[at:start], f"<{'_' * (end - start - 2)}>"
        at = end
    return "".join((*parts, text[at:]))


def _spell(number: int, pairs: int) -> str:
    number %= 100**pairs
    return "".join([_PAIRS[number // place % 100] for place in _PLACES[:pairs]])


_DASHES = "‐‑‒–—―−"  # noqa: RUF001 (these are what it is about)
_FULL_WIDTH = range(0xFF01, 0xFF5F)
_AS_WIDE_AS_ASCII = 0xFEE0  # code points between a full-width form and its ASCII character
# Full-width brackets stay: those of ASCII begin a placeholder, and would label what follows.
_BRACKETS = frozenset("\uff1c\uff1e")


# Invisible characters: soft hyphen, zero-width spaces and joiners, marks of direction, variation selectors, tags.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef"
)
# Marks on the letter before them, of the scripts whose letters Unicode also has with the mark in one character.
_MARKS = "\u0300-\u034e\u0350-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\u3099\u309a\ufe20-\ufe2f"
ODD = re.compile(f"[{_INVISIBLE}{_MARKS}]+")
_ALL_BUT_MARKS = re.compile(f"[^{_MARKS}]+")
# Letters and digits of mathematics, each of which Unicode's NFKC makes one of ASCII or Greek.
_MATHEMATICAL = range(0x1D400, 0x1D800)

_AFTER_BLANKS = 0x3001  # no Unicode version has a blank (Zs) after U+3000; reading all of it takes a tenth of a second


def _table() -> dict[int, str]:
    alike = {code: unicodedata.normalize("NFKC", chr(code)) for code in _MATHEMATICAL}
    blanks = (code for code in range(128, _AFTER_BLANKS) if unicodedata.category(chr(code)) == "Zs")
    full = {code: chr(code - _AS_WIDE_AS_ASCII) for code in _FULL_WIDTH if chr(code) not in _BRACKETS}
    return alike | full | dict.fromkeys(blanks, " ") | dict.fromkeys(map(ord, _DASHES), "-")


_TO_ASCII = _table()


def plain(text: str) -> str:
    """Return a text of the same length with full-width forms, blanks and dashes as ASCII has them."""
    return text if text.isascii() else text.translate(_TO_ASCII)


class Folded(NamedTuple):
    """A text as people see it: without invisible characters, each letter and its marks one character.

    `starts` and `ends` tell for each of its characters where in the text it stands, its marks included.
    """

    text: str
    starts: list[int]
    ends: list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where `self.text[start:end]` stands in the text that was folded; it is not empty."""
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> Folded | None:
    """Return a text as people see it, None if that is the text itself.

    Letters that merely look alike, such as Cyrillic ones in a Latin name, stay what they are.
    """
    if text.isascii() or not ODD.search(text):
        return None
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for run in ODD.finditer(text):
        parts.append(text[at : run.start()])
        starts.extend(range(at, run.start()))
        ends.extend(range(at + 1, run.start() + 1))
        at = run.end()
        marks = _ALL_BUT_MARKS.sub("", run.group())
        if marks and starts:
            before = parts.pop()
            parts += before[:-1], unicodedata.normalize("NFC", before[-1] + marks)[:1]
            ends[-1] = run.start() + run.group().rindex(marks[-1]) + 1
    parts.append(text[at:])
    starts.extend(range(at, len(text)))
    ends.extend(range(at + 1, len(text) + 1))
    return Folded("".join(parts), starts, ends)


def readable(text: str) -> str:
    """Return a text as people see it, in plain characters: what is alike to them is alike here."""
    if text.isascii():
        return text
    folded = fold(text)
    return unicodedata.normalize("NFC", plain(folded.text if folded else text))
