"""Places by their name: countries, towns of the world, and what its own noun calls a place (`Cook County`)."""
# ruff: noqa: E501, RUF001  # a regex is read in one piece; people type curly apostrophes and dashes

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from llmguard.redaction.recognizers.address_words import STATES
from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.gazetteers import countries, is_given_name, is_surname, towns
from llmguard.redaction.recognizers.known_names import is_small_chat
from llmguard.redaction.recognizers.names import PARTICLE, WORD, is_name, titled
from llmguard.redaction.recognizers.plausible import plausible
from llmguard.redaction.recognizers.trie import phrase_regex

_SHORTEST_SMALL = 5  # `mali` and `cuba` are other words in other languages
_COUNTRY = re.compile(rf"(?<![\w@/.\\-])(?:{phrase_regex(tuple(sorted(countries())))})(?![\w@(/]|\.\w)")
_COUNTRIES_SMALL = re.compile(
    rf"(?<![\w@/.\\-])(?:{phrase_regex(tuple(sorted(name.lower() for name in countries() if len(name) >= _SHORTEST_SMALL)))})(?![\w@(/-]|\.\w)"
)
_NOT_SMALL = frozenset({"turkey", "guinea", "jersey", "jordan", "georgia", "china", "chile", "niger", "malta", "congo"})
_RUN = re.compile(rf"(?<![\w@/.\\$#%<&-]){WORD}(?:[ -](?:{PARTICLE} )?{WORD}){{0,4}}(?![\w@(\[{{=<$]|\.\w)")
_WORD = re.compile(WORD)
_MOST_WORDS = 4
_BEFORE = re.compile(
    r"(?i)\b(?:in|from|near|at|to|of|around|outside|towards?|via|visit(?:s|ed|ing)?|leav(?:e|es|ing)|left|reach(?:ed|ing)?|town|city|village|born|based|office)[ ,:]{1,2}(?:the |sunny |nearby |downtown |central |beautiful )?$"
)
_AFTER = re.compile(
    rf", ?(?:(?:{STATES})\b|(?:{phrase_regex(tuple(sorted(countries())))})\b)|[ -](?i:office|area|branch|region|suburbs|based)\b"
)
_ORGANISATION_NEXT = re.compile(
    r"(?:['’]s)? (?:Inc|Ltd|LLC|GmbH|AG|Corp|Co|Company|Group|Partners|Bank|University|College|School|API|SDK|Server|Framework|Release|Protocol|Consulting|United|Convention)\b"
)
_SURE, _LIKELY = 0.6, 0.45
_SHORTEST_ALONE = 5  # `Lima`, `Bari`, `Nice`: only beside a word of place
_NOUN_BEHIND = re.compile(
    rf"(?<![\w@/.\\#<-])(?:{WORD} ){{1,3}}(?:County|Parish|Township|Borough|Province|Prefecture|Oblast|Islands?|River|Creek|Lake|Valley|Mountains?|Beach|Bay|Harbou?r|Heights|Peninsula|Village|Falls|Hills|Junction|District|Railroad|Railway)(?![\w@(]| {WORD})"
)
_NOUN_BEFORE = re.compile(
    rf"(?<![\w@/.\\#<-])(?:(?:City|Town|Village|Isle|Island|County|Kingdom|Duchy|Bay|Gulf|Province|State) of (?:{PARTICLE} )?|(?:Lake|Mount|Mt\.?|Fort|Port|Cape|Isla|San|Santa|Sankt|Bad|New|Loch|Saint|St\.?) ){WORD}(?: {WORD})?(?![\w@(=])"
)
_PLACE_PREFIXES = ("New", "Saint", "St", "Port")  # before ordinary words too: `New Feature`, `Port Forwarding`


class CountryRecognizer(GatedRecognizer):
    """LOCATION where a country is named."""

    ENTITIES: ClassVar = ("LOCATION",)
    GATES: ClassVar = (r"[A-Za-z\x80-\xff]{3}",)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the countries in the text; in small letters only in chat that has no capitals at all."""
        if is_small_chat(text):
            for match in _COUNTRIES_SMALL.finditer(text):
                if match.group() not in _NOT_SMALL:
                    yield Hit(*match.span(), "LOCATION", _SURE, "country in small letters")
            return
        for match in _COUNTRY.finditer(text):
            if plausible("LOCATION", text, *match.span()):
                yield Hit(*match.span(), "LOCATION", _SURE, "country")


class TownRecognizer(GatedRecognizer):
    """LOCATION where a known town or region is named, or a place with its noun."""

    ENTITIES: ClassVar = ("LOCATION",)
    GATES: ClassVar = (r"(?-i:[A-Z\x80-\xff])..|[a-z]{3} ",)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the places in the text; in chat without capitals only behind a preposition."""
        is_small = is_small_chat(text)
        cased = titled(text) if is_small else text
        if len(cased) != len(text):
            return
        for match in _RUN.finditer(cased):
            yield from (hit for hit in _towns(cased, match, is_small=is_small) if is_small or _stands(text, hit))
        if not is_small:
            yield from (hit for hit in _with_noun(text) if _stands(text, hit))


def _stands(text: str, hit: Hit) -> bool:
    return plausible("LOCATION", text, hit.start, hit.end)


def _towns(text: str, match: re.Match[str], *, is_small: bool) -> Iterator[Hit]:
    """Yield the longest known towns in a run of capitalised words."""
    words = [(match.start() + word.start(), match.start() + word.end()) for word in _WORD.finditer(match.group())]
    place = 0
    while place < len(words):
        for last in range(min(len(words), place + _MOST_WORDS), place, -1):
            start, end = words[place][0], words[last - 1][1]
            phrase = text[start:end]
            known = phrase in towns() or (
                phrase.isupper() and len(phrase) >= _SHORTEST_ALONE and phrase.title() in towns()
            )
            score = _town_score(text, start, end, is_alone=len(words) == last - place) if known else 0.0
            if score and not (is_small and score < _SURE):
                yield Hit(start, end, "LOCATION", score, "known town")
                place = last - 1
                break
        place += 1


def _town_score(text: str, start: int, end: int, *, is_alone: bool) -> float:
    """Return how sure a known name is a town here: beside words of place, or alone and nobody's name; else 0."""
    if _ORGANISATION_NEXT.match(text, end):
        return 0.0
    if _BEFORE.search(text, max(0, start - 24), start) or _AFTER.match(text, end):
        return _SURE
    phrase = text[start:end]
    if phrase.isupper() or is_given_name(phrase) or is_surname(phrase):
        return 0.0
    return _LIKELY if " " in phrase or (is_alone and len(phrase) >= _SHORTEST_ALONE) else 0.0


def _with_noun(text: str) -> Iterator[Hit]:
    for match in _NOUN_BEHIND.finditer(text):
        start = match.start() + (4 if match.group().startswith("The ") else 0)
        name = text[start : match.end()].rpartition(" ")[0]
        if name and is_name(name):
            yield Hit(start, match.end(), "LOCATION", _LIKELY, "place with its noun")
    for match in _NOUN_BEFORE.finditer(text):
        first, _, name = match.group().partition(" of " if " of " in match.group() else " ")
        if is_name(name) and (first.strip(".") not in _PLACE_PREFIXES or name in towns()):
            yield Hit(*match.span(), "LOCATION", _LIKELY, "place with its noun")
