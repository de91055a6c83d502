"""Placeholders: what stands for a hidden value at the provider, such as `<PERSON_KOFADELIMORU>`.

`<` + entity type + `_` + a code of pronounceable letters + `>`. The code is an HMAC-SHA256 of (app, type, normalised
value): six pairs of a consonant and a vowel, 40 bits. The same value has the same placeholder in every message,
turn, worker, machine and day of an app, two apps cannot join theirs, and no mapping is stored anywhere.
Pronounceable letters cost a model 7 tokens where ten hex digits cost 13.

Several spellings of one value in one request ("Anna Schmidt", "ANNA SCHMIDT", or "Anna" beside the full name) share
the six pairs, the stem, so that a model sees that they are one person; each spelling after the first has a seventh
pair, keyed by the spelling. So the text that comes back is always exactly what stood there. The first spelling of a
value has the bare stem, whichever it is: in two requests that spell it differently, the placeholder is the same.
"""

import hmac
import re
from collections.abc import Container, Sequence

LONGEST_TYPE = (
    36  # of an entity type in a placeholder, so that a whole one always fits into what a stream may hold back
)
PAIRS_IN_STEM = 6
STEM_LENGTH = 2 * PAIRS_IN_STEM

_CONSONANTS = "BCDFGHJKLMNPQRSTVWXZ"
_VOWELS = "AEIOU"
_PAIRS = tuple(consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS)

_CANONICAL = re.compile(rf"<[A-Z][A-Z0-9_]*_(?:[{_CONSONANTS}][{_VOWELS}]){{6,9}}>")
_DROPPED = re.compile(r"<([A-Z][A-Z0-9_]*)>")


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
    for start, end in spans:
        text = f"{text[:start]}<{'_' * (end - start - 2)}>{text[end:]}"
    return text


def _spell(number: int, pairs: int) -> str:
    letters = []
    for _ in range(pairs):
        number, pair = divmod(number, 100)
        letters.append(_PAIRS[pair])
    return "".join(letters)
