"""People by their given name, and countries: what a small language model misses in lists, tables and chat."""
# ruff: noqa: E501, RUF001  # a regex or a list of words is read in one piece; people type curly apostrophes and dashes
# a regex is read in one piece; people type the curly apostrophe

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.gazetteers import countries, is_given_name
from llmguard.redaction.recognizers.names import INITIAL, PARTICLE, UPPER, WORD, is_name, titled
from llmguard.redaction.recognizers.plausible import plausible
from llmguard.redaction.recognizers.trie import phrase_regex

_WORDS = re.compile(
    rf"(?<![\w@/.\\$#%<&-]){WORD}(?:[ ](?:{PARTICLE} ?){{0,2}}(?:{WORD}|{INITIAL}(?![\w'’]))){{0,3}}(?![\w@(\[{{=<$]|\.\w)"
)
_LAST_FIRST = re.compile(rf"(?<![\w@/.\\-]){WORD}, (?P<first>{WORD})(?: {INITIAL}(?!\w))?(?![\w@(=])")
_CAPITAL_BEFORE = re.compile(rf"(?<!\w)[{UPPER}][^\W\d_]*\.? $")
_WORD = re.compile(WORD)
_LIST = re.compile(rf"(?<![\w@/.\\-]){WORD}(?:, {WORD}){{0,8}},? (?:and|&|or) {WORD}(?![\w@(=]| {WORD})")
_PROSE_SIGNS = re.compile(r"[_{}=<>$|`]|[a-z]\(|\.[a-z]{2,4}\b(?! )")
_SHORTEST_SMALL = 5  # `mali` and `cuba` are other words in other languages
_COUNTRY = re.compile(rf"(?<![\w@/.\\-])(?:{phrase_regex(tuple(sorted(countries())))})(?![\w@(/]|\.\w)")
_COUNTRIES_SMALL = re.compile(
    rf"(?<![\w@/.\\-])(?:{phrase_regex(tuple(sorted(name.lower() for name in countries() if len(name) > _SHORTEST_SMALL)))})(?![\w@(/-]|\.\w)"
)
_NOT_SMALL = frozenset({"turkey", "guinea", "jersey", "jordan", "georgia", "china"})
_ORGANISATION_NEXT = re.compile(
    r"(?:['’]s)? (?:Inc|Ltd|LLC|GmbH|AG|Corp|Co|Company|Group|Partners|Bank|University|College|School|Hospital|Street|St|Avenue|Ave"
    r"|Road|Rd|Lane|Boulevard|Park|Museum|Airport|Hotel|Foundation|Institute|Prize|Award|Theorem|API|SDK|Server|Framework)\b"
)


class GivenNameRecognizer(GatedRecognizer):
    """PERSON where a known given name stands, alone or with what follows it."""

    ENTITIES: ClassVar = ("PERSON",)
    GATES: ClassVar = (r"(?-i:[A-Z\x80-\xff])..|[a-z]{3} ",)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the people in the text whose given name is known."""
        is_small = text.islower() and len(text) < _LONGEST_CHAT and not _PROSE_SIGNS.search(text)
        cased = titled(text) if is_small else text
        if len(cased) != len(text):
            return
        for match in _WORDS.finditer(cased):
            yield from (
                hit for hit in _people(cased, match) if is_small or plausible("PERSON", text, hit.start, hit.end)
            )
        for match in _LIST.finditer(cased):
            yield from _listed(cased, match)
        for match in _LAST_FIRST.finditer(cased):
            value = match.group()
            follows_name = _CAPITAL_BEFORE.search(cased, max(0, match.start() - 24), match.start())
            is_list = is_given_name(value.partition(",")[0])  # `Tobias, Ilona` are two people
            if (
                not is_small
                and not follows_name
                and not is_list
                and is_given_name(match["first"])
                and is_name(value, words=2)
            ):
                yield Hit(match.start(), match.end(), "PERSON", 0.8, "last name, known given name")


_LONGEST_CHAT = 2_000


def _people(text: str, match: re.Match[str]) -> Iterator[Hit]:
    """Yield the longest name that begins with the first known given name of a run of capitalised words."""
    start, end = match.span()
    for part in re.finditer(r"[^ ]+", match.group()):
        if not is_given_name(part.group()):
            continue
        begin = start + part.start()
        while begin < end:
            value = text[begin:end]
            words = value.count(" ") + 1
            if is_name(value) and not (words == 1 and value.isupper()):
                if not _ORGANISATION_NEXT.match(text, end):
                    yield Hit(begin, end, "PERSON", 0.8 if words > 1 else 0.6, "known given name")
                return
            end = begin + value.rfind(" ") if " " in value else begin
        return


def _listed(text: str, match: re.Match[str]) -> Iterator[Hit]:
    """Yield all of `Turgeon, Ewing and Guerra` when one of them is a known given name and every one can be a name."""
    words = [(match.start() + word.start(), word.group()) for word in _WORD.finditer(match.group())]
    can_be = all(is_name(word) and word not in countries() and not word.isupper() for _, word in words)
    if can_be and any(is_given_name(word) for _, word in words):
        for start, word in words:
            if plausible("PERSON", text, start, start + len(word)):
                yield Hit(start, start + len(word), "PERSON", 0.5, "in a list of known given names")


class CountryRecognizer(GatedRecognizer):
    """LOCATION where a country is named."""

    ENTITIES: ClassVar = ("LOCATION",)
    GATES: ClassVar = (r"[A-Za-z\x80-\xff]{3}",)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the countries in the text; in small letters only in chat that has no capitals at all."""
        if text.islower() and not _PROSE_SIGNS.search(text):
            for match in _COUNTRIES_SMALL.finditer(text):
                if match.group() not in _NOT_SMALL:
                    yield Hit(*match.span(), "LOCATION", 0.6, "country in small letters")
            return
        for match in _COUNTRY.finditer(text):
            if plausible("LOCATION", text, *match.span()):
                yield Hit(*match.span(), "LOCATION", 0.6, "country")
