"""People by their given name or surname: what a small language model misses in lists, tables and chat."""
# ruff: noqa: E501, RUF001  # a regex is read in one piece; people type curly apostrophes and dashes

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.gazetteers import countries, is_given_name, is_surname, towns
from llmguard.redaction.recognizers.names import (
    AMBIGUOUS_NAMES,
    INITIAL,
    PARTICLE,
    SUFFIX,
    UPPER,
    WORD,
    is_name,
    titled,
)
from llmguard.redaction.recognizers.plausible import plausible
from llmguard.redaction.recognizers.vocabulary import TITLES

_WORDS = re.compile(
    rf"(?<![\w@/.\\$#%<&-]){WORD}(?:[ ](?:{PARTICLE} ?){{0,2}}(?:{WORD}|{INITIAL}(?![\w'’]))){{0,3}}(?![\w@(\[{{=<$]|\.\w)"
)
_LAST_FIRST = re.compile(rf"(?<![\w@/.\\-]){WORD}, (?P<first>{WORD})(?: {INITIAL}(?!\w))?(?![\w@(=])")
_CAPITAL_BEFORE = re.compile(rf"(?<!\w)[{UPPER}][^\W\d_]*\.? $")
_WORD = re.compile(WORD)
_LIST = re.compile(rf"(?<![\w@/.\\-]){WORD}(?:, {WORD}){{0,8}},? (?:and|&|or) {WORD}(?![\w@(=]| {WORD})")
_SUFFIX = re.compile(SUFFIX)
_ORGANISATION_NEXT = re.compile(
    r"(?:['’]s)? (?:Inc|Ltd|LLC|GmbH|AG|Corp|Co|Company|Group|Partners|Bank|University|College|School|Hospital|Street|St|Avenue|Ave"
    r"|Road|Rd|Lane|Boulevard|Park|Museum|Airport|Hotel|Foundation|Institute|Prize|Award|Theorem|API|SDK|Server|Framework)\b"
)
_TITLE = re.compile(rf"{TITLES}\.?")
_SENTENCE_START = re.compile(r"(?:^|[.!?:\n>\"“*•|]|\n[-–])\s*$")
_GERMAN_ARTICLE = re.compile(
    r"(?i)\b(?:der|die|das|den|dem|des|ein|eine|einen|einem|einer|eines|im|am|zum|zur|beim|vom|kein|keine) $"
)
_ENGLISH = re.compile(r"\b(?:the|and|is|are|to|of|my|for|you|was|with|has|her|his|that|can|in)\b")
_SMALL_SIGNS = re.compile(r"[_{}=<>$|`]|[a-z]\(|\.[a-z]{2,4}\b(?! )")
_LONGEST_CHAT = 2_000
_GIVEN, _GIVEN_ALONE, _SURNAME, _SURNAME_ALONE = 0.8, 0.6, 0.6, 0.45
_TOWN_OR_NAME = 0.45  # under 0.5 a guess of the language model at the same place is stronger: `Florence`, `Chester`


def is_small_chat(text: str) -> bool:
    """Say whether this is short text of somebody who types without capitals, and no code."""
    return text.islower() and len(text) < _LONGEST_CHAT and not _SMALL_SIGNS.search(text)


class GivenNameRecognizer(GatedRecognizer):
    """PERSON where a known given name or surname stands, alone or with what belongs to it."""

    ENTITIES: ClassVar = ("PERSON",)
    GATES: ClassVar = (r"(?-i:[A-Z\x80-\xff])..|[a-z]{3} ",)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the people in the text whose name is known."""
        is_small = is_small_chat(text)
        cased = titled(text) if is_small else text
        if len(cased) != len(text):
            return
        by_surname = not is_small or _ENGLISH.search(text) is not None
        for match in _WORDS.finditer(cased):
            for hit in _people(cased, match, by_surname=by_surname, is_small=is_small):
                if is_small or plausible("PERSON", text, hit.start, hit.end):
                    yield _with_suffix(cased, hit)
        for match in _LIST.finditer(cased):
            yield from _listed(cased, match)
        if not is_small:
            yield from _last_first(text)


def _people(text: str, match: re.Match[str], *, by_surname: bool, is_small: bool) -> Iterator[Hit]:
    """Yield the people in a run of capitalised words: from a known given name on, else by a known surname."""
    parts = [(match.start() + part.start(), part.group()) for part in re.finditer(r"[^ ]+", match.group())]
    done, found = 0, False
    for place, (begin, part) in enumerate(parts):
        if begin < done or not _opens_name(part, parts[place + 1 :]):
            continue
        found = True
        hit = _longest_name(text, begin, match.end())
        if hit:
            done = hit.end
            yield hit
    if by_surname and not found:
        # without capitals a run is any words: each surname stands alone
        for run in [[part] for part in parts] if is_small else [parts]:
            yield from _surnamed(text, run)


def _opens_name(part: str, following: list[tuple[int, str]]) -> bool:
    return is_given_name(part) or (part in AMBIGUOUS_NAMES and bool(following) and _is_known(following[0][1]))


def _longest_name(text: str, begin: int, end: int) -> Hit | None:
    """Return the longest piece from `begin` that can be a name, unless it names an organisation."""
    while begin < end:
        value = text[begin:end]
        words = value.count(" ") + 1
        if is_name(value) and not (words == 1 and value.isupper()):
            if _ORGANISATION_NEXT.match(text, end):
                return None
            alone = _TOWN_OR_NAME if value in towns() else _GIVEN_ALONE
            return Hit(begin, end, "PERSON", _GIVEN if words > 1 else alone, "known given name")
        end = begin + value.rfind(" ") if " " in value else begin
    return None


def _surnamed(text: str, parts: list[tuple[int, str]]) -> Iterator[Hit]:
    """Yield what ends in the last known surname of a run: `Tolga Demirkan`, or the surname alone."""
    while parts and _TITLE.fullmatch(parts[0][1]):
        parts = parts[1:]
    last = max((place for place, (_, part) in enumerate(parts) if is_surname(part)), default=None)
    if last is None:
        return
    begin, surname = parts[last]
    end = begin + len(surname)
    if surname.endswith(("'s", "’s")):
        end -= 2
    if _ORGANISATION_NEXT.match(text, end):
        return
    first = 1 if _SENTENCE_START.search(text, max(0, parts[0][0] - 12), parts[0][0]) and last > 1 else 0
    whole = text[parts[first][0] : end]
    if last > first and is_name(whole, words=2) and not whole.isupper():
        yield Hit(parts[first][0], end, "PERSON", _SURNAME, "known surname behind a name")
    elif last + 1 == len(parts) and _is_surname_alone(text, begin, surname):
        yield Hit(begin, end, "PERSON", _SURNAME_ALONE, "known surname")


def _is_surname_alone(text: str, begin: int, surname: str) -> bool:
    return is_name(surname) and not surname.isupper() and not _GERMAN_ARTICLE.search(text, max(0, begin - 12), begin)


def _is_known(part: str) -> bool:
    return is_surname(part) or is_given_name(part)


def _with_suffix(text: str, hit: Hit) -> Hit:
    suffix = _SUFFIX.match(text, hit.end)
    return Hit(hit.start, suffix.end(), hit.entity, hit.score, hit.rule) if suffix else hit


def _listed(text: str, match: re.Match[str]) -> Iterator[Hit]:
    """Yield all of `Turgeon, Ewing and Guerra` when one of them is a known name and every one can be a name."""
    words = [(match.start() + word.start(), word.group()) for word in _WORD.finditer(match.group())]
    can_be = all(
        (is_name(word) or word in AMBIGUOUS_NAMES) and word not in countries() and not word.isupper()
        for _, word in words
    )
    if can_be and any(_is_known(word) for _, word in words):
        for start, word in words:
            if word in AMBIGUOUS_NAMES or plausible("PERSON", text, start, start + len(word)):
                yield Hit(start, start + len(word), "PERSON", 0.5, "in a list of known names")


def _last_first(text: str) -> Iterator[Hit]:
    for match in _LAST_FIRST.finditer(text):
        value = match.group()
        follows_name = _CAPITAL_BEFORE.search(text, max(0, match.start() - 24), match.start())
        is_list = is_given_name(value.partition(",")[0])  # `Tobias, Ilona` are two people
        if not follows_name and not is_list and is_given_name(match["first"]) and is_name(value, words=2):
            yield Hit(match.start(), match.end(), "PERSON", _GIVEN, "last name, known given name")
