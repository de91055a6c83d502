"""Postal addresses: a core that only an address has (a street and its number, a post box), then what belongs to it.

From the core the finding grows forward over units, towns, states, countries and postal codes, over commas and line
ends, as long as each next part has the form of one. Findings are LOCATION, as everywhere in Presidio.
"""
# ruff: noqa: E501, RUF001, SIM905  # a regex is read in one piece; people type curly apostrophes and dashes; lists of words read better without quotes

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import ClassVar

from llmguard.redaction.recognizers.address_words import (
    COMPOUND_ENDS,
    LEADING_TYPES,
    STATES,
    TRAILING_TYPES,
    UNITS,
    WEAK_TRAILING_TYPES,
)
from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.gazetteers import countries
from llmguard.redaction.recognizers.names import UPPER, titled
from llmguard.redaction.recognizers.trie import phrase_regex
from llmguard.redaction.recognizers.vocabulary import NOT_NAMES

_W = rf"[{UPPER}][^\W\d_]*(?:[.'’-][^\W\d_]+)*\.?"
_SMALL = r"(?:of|the|de|del|della|delle|dei|di|da|do|dos|das|du|des|la|le|les|el|los|las|l['’]|d['’]|van|von|der|den|ten|ter|zu|zur|am|an|im|in|na|y|e|i|u|og|et|sur|aan|op|bij|af|nad|pod|dalla|dal|alla|sulla|pri|sous|sur|upon|bei|ob|u\.|ul\.|út|utca|útja|ulica|cesta|tér|tee|mnt|pst|náměstí|třída|ulice|rakpart|sor|köz|körút|krt\.)"
_WORDS = rf"(?:{_W}|\d{{1,4}}(?:st|nd|rd|th)?)(?: (?:{_SMALL} ?){{0,3}}(?:{_W}|\d{{1,4}}(?:st|nd|rd|th)?)){{0,5}}"
_FEW_WORDS = rf"(?:{_W})(?:[ -](?:{_SMALL} ?){{0,2}}{_W}){{0,3}}"
_NUMBER = r"\d{1,6}[A-Za-z]?(?:[-/]\d{1,5}[A-Za-z]?)?"
_DIRECTION = r"(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.?"
_START = r"(?<![\w.,$€£#%/-])(?<![$€£#] )"
# Literals in small letters of which one is in every text where the core can match; a digit before everything else.
_STREETS = ("street", "road", "avenue", "lane", "boulevard", "drive", "crescent", "terrace", "parkway")
_NEEDS: dict[str, tuple[str, ...]] = {
    "post box": ("box", "postfach", "apartado", "postale", "bp", "postbus"),
    "military mail": ("apo", "fpo", "dpo"),
    "number, any words and apartment": ("apt", "apartment", "suite", "ste", "flat", "appt"),
    "street after a preposition": _STREETS,
    "street in small letters": ("street", "avenue", "road", "lane", "boulevard", "blvd", "ave", "crescent", "terrace"),
    "corner of two streets": ("corner of", "intersection of"),
    "place after a verb of living": (
        *("born in", "up in", "moved", "originally from", "live", "living in", "reside", "home", "relocat", "arrived"),
        *("flight", "fly", "flew", "train ", "trip ", "travel", "drove", "returned", "transferred", "posted", "commut"),
        *("office", "branch", "team in", "plant in", "factory in", "warehouse in", "store in", "shop in", "hotel in"),
        *("clinic in", "school in", "site in", "house in", "flat in", "apartment in", "family in", "parents in"),
        *("based in", "located in", "stationed in"),
        *("vacation in", "holiday in", "visiting", "native", "am in", "m in", "street in", "road in", "avenue in"),
    ),
    "coordinates": (".",),
}
_WITHOUT_DIGIT = frozenset(
    {"street after a preposition", "corner of two streets", "town and state", "place after a verb of living"}
)
_WORD_THEN_NUMBER = re.compile(r"[^\W_][.,]{0,2} ?(?:n[°ºr.]{1,2} ?)?\d")
_AFTER_WORDS = frozenset(
    {"street in front and number", "compound street and number", "compound street of two words and number"}
)
_LED_BY_NUMBER = frozenset(
    {
        "number and street",
        "number and street of many kinds",
        "number and street in front",
        "number, words and unit",
        "number, any words and apartment",
        "number, words and number",
    }
)
_WORD_AND_NUMBER = re.compile(r"([^\W\d_]{3,40})\.?,? \d")
_COMPOUND_ENDS = tuple(COMPOUND_ENDS.split("|"))
_DIGITS_START = re.compile(r"(?<!\d)\d")
_UNIT = rf"(?i:(?:{UNITS})\.?) ?(?:#|No\.? ?)?(?:\d{{1,5}}[A-Za-z]?|[A-Z]\d{{0,4}})(?!\w)"

_CORES = (
    # 12 North Main Street, 12-14 Rue de la Paix, 5 Calle Mayor
    ("number and street", 0.9, re.compile(rf"{_START}(?:\d{{1,4}} )?{_NUMBER},? (?:{_DIRECTION} )?(?:{_W} |\d{{1,3}}(?:st|nd|rd|th) |{_SMALL} ){{1,4}}(?:{TRAILING_TYPES})(?![\w'’@])\.?(?: {_DIRECTION}(?!\w))?(?: \d{{1,4}}(?![\w%:.]))?")),
    ("number and street of many kinds", 0.0, re.compile(rf"{_START}{_NUMBER},? (?:{_DIRECTION} )?(?:{_W} ){{1,4}}(?:{WEAK_TRAILING_TYPES})(?!\w)")),
    ("number and street in front", 0.9, re.compile(rf"{_START}(?:\d{{1,4}}[, ] ?)?{_NUMBER},? (?:(?i:{LEADING_TYPES})\.? )(?:{_SMALL} ?){{0,3}}{_WORDS}")),
    ("street in front and number", 0.85, re.compile(rf"(?<![\w/.])(?:\d{{1,4}} )?(?:(?:{LEADING_TYPES})\.? )(?:{_SMALL} ?){{0,3}}{_FEW_WORDS},? (?:n[°ºr.]{{1,2}} ?)?{_NUMBER}(?!\w)")),
    ("compound street and number", 0.9, re.compile(rf"(?<![\w/.])(?:\d{{1,4}} )?(?:{_W} ){{0,2}}(?i:[^\W\d_]{{2,24}}(?:{COMPOUND_ENDS}))\.?,? {_NUMBER}(?![\w%])")),
    ("compound street of two words and number", 0.85, re.compile(rf"(?<![\w/.])(?:\d{{1,4}} )?(?:{_W}[ -]){{1,3}}(?:Straße|Strasse|Str\.|Weg|Gasse|Allee|Platz|Ring|Damm|Ufer|straat|laan|gatan|vägen|gade|vej|Vej|gate|vei|katu|tie|utca|út|tér|rakpart|ul\.|útja|sor|köz|körút|Baan|Laan|Plein|Steenweg|Markt),? {_NUMBER}(?![\w%])")),
    ("post box", 0.9, re.compile(rf"{_START}(?:\d{{1,4}} )?(?i:P\.? ?O\.? ?Box|Post Office Box|Postfach|Apartado(?: de correos)?|Boîte postale|BP|Casella postale|Postbus|GPO Box)\.? ?#?\d{{1,7}}(?!\w)")),
    ("military mail", 0.95, re.compile(r"(?i)(?<!\w)(?:(?:PSC|CMR|Unit|USS|USNS|USCGC|USNV) [\w ]{1,24}?,?\s{0,3}(?:Box \d{1,6})?[,\s]{1,4})?(?:APO|FPO|DPO),? A[AEP],? \d{5}(?:-\d{4})?")),
    ("number, words and unit", 0.85, re.compile(rf"{_START}{_NUMBER},? {_WORDS}(?: ?,? ?\d{{1,5}}\.?)?(?:,? |,?\s{{1,4}}){_UNIT}")),
    ("number, any words and apartment", 0.85, re.compile(rf"{_START}(?:\d{{1,4}} )?{_NUMBER},? [{UPPER}][^\W\d_]+(?: [^\W_][\w'’-]{{0,24}}){{0,6}},?\s{{1,4}}(?i:Apt|Apartment|Suite|Ste|Flat|Appt)\.? ?#?\d{{1,5}}[A-Za-z]?(?!\w)")),
    ("number, words and number", 0.0, re.compile(rf"{_START}{_NUMBER} {_WORDS}(?: \d{{1,5}})?\.?(?=,? ?\n|, )")),
    ("number and words after a preposition", 0.7, re.compile(rf"(?i:\b(?:at|to|address is|address:|office is at|lives? (?:at|on)|living at|moved to|located at|reside[sd]? at|delivered to|sent to|ship to|visit)) (?P<v>(?:\d{{1,4}} )?{_NUMBER} {_FEW_WORDS} \d{{1,4}}(?![\w%:.]))")),
    ("street after a preposition", 0.7, re.compile(rf"(?i:\b(?:on|at|in|along|near|off|to|from|of|and)) (?P<v>(?:{_W} ){{1,3}}(?:Street|Road|Avenue|Lane|Boulevard|Drive|Crescent|Terrace|Parkway))(?!\w)")),
    ("corner of two streets", 0.8, re.compile(rf"(?i)(?:the )?(?:corner|intersection) of (?:(?-i:{_WORDS})|[\w .]{{3,30}}?(?:street|road|avenue|lane|\d)) (?:and|&) (?:(?-i:{_WORDS})(?: (?:street|road|avenue|st|ave|rd))?|[\w .]{{3,30}}?(?:street|road|avenue|lane|\d{{1,4}})(?!\w))")),
    ("street in small letters", 0.7, re.compile(r"(?<![\w.,$€£#%/-])\d{1,5} (?!(?:hour|minute|min|mile|km|day|way|lane|one|two)s?\b)(?:[a-z]{2,14} ){1,3}(?:street|avenue|road|lane|boulevard|blvd|ave|crescent|terrace)(?![\w-])")),
    ("German postal code and town", 0.75, re.compile(rf"(?<![\w.,-])(?:(?:D|DE|A|CH|F|FR|I|IT|NL|B|BE|L|DK|S|SE|PL)-)\d{{4,5}} {_FEW_WORDS}")),
    ("town, state and postal code", 0.9, re.compile(rf"(?<![\w.])(?:{_W} ){{0,3}}{_W}, ?(?:{STATES}),? \d{{5}}(?:-\d{{4}})?(?!\w)")),
    ("town and state", 0.6, re.compile(rf"(?<![\w.])(?:{_W} ){{0,2}}{_W}, (?:{STATES})(?![\w'’@(.])")),
    ("British postal code", 0.85, re.compile(r"(?<!\w)(?:GIR ?0AA|(?:[A-PR-UWYZ]\d[\dA-HJKPSTUW]?|[A-PR-UWYZ][A-HK-Y]\d[\dABEHMNPRVWXY]?) \d[ABD-HJLNP-UW-Z]{2})(?!\w)")),
    ("Canadian postal code", 0.85, re.compile(r"(?<!\w)[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z] \d[ABCEGHJ-NPRSTV-Z]\d(?!\w)")),
    ("Dutch postal code and town", 0.75, re.compile(rf"(?<![\w.])[1-9]\d{{3}} [A-Z]{{2}},? {_FEW_WORDS}")),
    ("place after a verb of living", 0.7, re.compile(rf"(?i:\b(?:born in|gr[eo]w(?:ing)? up in|moved (?:here )?(?:from|to)|originally from|lives? in|lived in|living in|reside[sd]? in|home ?town (?:of|is)|home city(?: of)?|relocat(?:e|ed|ing) (?:to|from)|arrived (?:at|in)|am in|I['’]m in|(?:street|road|avenue) in|vacation in|holiday in|visiting|native of|native from|(?:flights?|fly|flying|flew|train|trip|travel|travell?ed|travell?ing|drove|returned|transferred|posted|commut(?:e|es|ing)) (?:back )?(?:to|from)|(?:office|offices|branch|branches|team|plant|factory|warehouse|store|shop|hotel|clinic|school|site|house|flat|apartment|family|parents) in|based in|located in|stationed in)) (?:(?:the|sunny|nearby) )?(?P<v>{_FEW_WORDS})")),
    ("coordinates", 0.8, re.compile(r"(?<![\w.])-?\d{1,2}\.\d{4,8}°?(?: ?[NS])?, ?-?\d{1,3}\.\d{4,8}°?(?: ?[EW])?(?![\w.])")),
)  # fmt: skip

_ALL_CORES = frozenset(range(len(_CORES)))
# Parts of cores that Hyperscan finds too large: where the core matches, so does its part.
_GATES = {
    "street in front and number": rf"(?:{LEADING_TYPES})\.? [^\d\n]+\d",
    "number, words and unit": _UNIT,
    "number, words and number": rf"{_START}{_NUMBER} {_WORDS}",
    "corner of two streets": r"(?i)(?:corner|intersection) of ",
}

_CROSS_STREET = re.compile(
    rf"(?i:\b(?:at|to|is|in|on|with|of|same|address|near)[:]? {{1,2}}|:\s{{1,4}})(?P<v>(?-i:{_W}(?:[ -]{_W}){{0,2}})(?: \d{{1,4}}\.?)? (?:and|&) )$"
)
_LONGEST_CROSS_STREET = 64
_SEPARATOR = re.compile(
    r"(?:[ \t]{0,3}(?:,|\\n)?[ \t]{0,2}\r?\n[ \t>|*•?]{0,12}(?:, )?|[ \t]{0,2},[ \t]{0,3}|[ \t]{1,3}(?:- )?|\\n[ \t]{0,3})"
)
_ZIP = r"(?:\d{5}-\d{4}|\d{3} \d{2}|\d{3}-\d{4}|\d{4,6}|[A-Z]{1,2}\d[\dA-Z]? \d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|\d{4} ?[A-Z]{2})(?![\w-]|[.:,]\d| \d{2})"
_COUNTRIES = phrase_regex(tuple(sorted(countries())))
_STRONG = tuple(
    re.compile(part)
    for part in (
        _UNIT,
        rf"{_FEW_WORDS},? (?:(?:{STATES}),? )?{_ZIP}",
        rf"(?:{STATES}),? {_ZIP}",
        rf"[A-Za-z]{{2,3}}\s{{1,3}}(?:{_FEW_WORDS} )?{_ZIP}",
        rf"(?:{_FEW_WORDS},? )??(?:{_COUNTRIES})(?: {_ZIP})?(?!\w)",
        rf"(?:[A-Z]{{1,2}}-)?\d{{4,6}} (?:[A-Z]{{2}} )?{_FEW_WORDS}",
        _ZIP,
        rf"(?:{STATES})(?!\w)",
        r"(?i:(?:APO|FPO|DPO) A[AEP] \d{5})",
    )
)
_TOWN = re.compile(_FEW_WORDS)
_ENDS_IN_UNIT = re.compile(rf"{_UNIT}\Z".replace(r"(?!\w)", ""))
_BLANK_LINE = re.compile(r"[ \t]{0,3}\r?\n[ \t>]{0,4}\r?\n[ \t>]{0,12}")
_TOWN_AND_CODE = re.compile(rf"{_FEW_WORDS},? {_ZIP}(?=\s|$)")
_LAST_WORD = re.compile(r"([^\W\d_]+)\.\Z")
_LONGEST_ABBREVIATION = 4  # Blvd., Pkwy.
_MAX_PARTS = 7
_SURE = 0.85  # a street's own form says more than its words: `2249 College Street`


class StreetAddressRecognizer(GatedRecognizer):
    """LOCATION: streets with their number, post boxes, postal codes with their town, and what follows them."""

    ENTITIES: ClassVar = ("LOCATION",)
    GATES: ClassVar = ("",)  # see `triggers`

    @property
    def triggers(self) -> Sequence[tuple[str, int]]:
        """The cores' regexes, of the largest a part that has to match as well."""
        return [(_GATES.get(name, core.pattern), core.flags) for name, _, core in _CORES]

    def find(self, text: str) -> Iterable[Hit]:
        """Return the addresses in the text."""
        return self.find_fired(text, _ALL_CORES)

    def find_fired(self, text: str, fired: AbstractSet[int]) -> Iterable[Hit]:
        """Return the addresses in the text, from the cores that can match."""
        cased = titled(text) if text.islower() else text  # chat in small letters
        is_small = cased is not text and len(cased) == len(text)
        if is_small:
            text, fired = cased, _ALL_CORES  # what fired did so in small letters
        for name, score, core in _possible(text, fired):
            for match in _matches(text, core, name):
                start, end = match.span("v" if "v" in core.groupindex else 0)
                if (
                    _reads_as_something_else(text[start:end], is_sure=score >= _SURE)
                    or _is_shouted(name, text[start:end])
                    or (is_small and _has_common_word(text[start:end]))
                ):
                    continue
                start = _with_cross_street(text, start)
                grown, is_strong = _grow(text, start, end)
                if score or is_strong or grown > end:
                    grown = _without_full_stop(text, start, grown)
                    yield Hit(start, grown, "LOCATION", score or (0.75 if is_strong else 0.6), name)


def _possible(text: str, fired: AbstractSet[int]) -> Iterator[tuple[str, float, re.Pattern[str]]]:
    """Yield the cores that can match in this text, by tests that cost next to nothing."""
    lowered = text.lower()
    has_digit = any(digit in text for digit in "0123456789")
    has_number = has_digit and _WORD_THEN_NUMBER.search(text) is not None
    for name, score, core in (_CORES[place] for place in sorted(fired)):
        needs = _NEEDS.get(name, ())
        if not (has_digit or name in _WITHOUT_DIGIT) or (name in _AFTER_WORDS and not has_number):
            continue
        if name == "compound street and number" and not _has_compound(lowered):
            continue
        if not needs or any(need in lowered for need in needs):
            yield name, score, core


def _has_compound(lowered: str) -> bool:
    return any(match[1].endswith(_COMPOUND_ENDS) for match in _WORD_AND_NUMBER.finditer(lowered))


def _matches(text: str, core: re.Pattern[str], name: str) -> Iterator[re.Match[str]]:
    """Yield the matches of a core; one that begins with a number is tried at numbers alone."""
    if name not in _LED_BY_NUMBER:
        yield from core.finditer(text)
        return
    end = 0
    for digit in _DIGITS_START.finditer(text):
        match = core.match(text, digit.start()) if digit.start() >= end else None
        if match:
            end = match.end()
            yield match


def _without_full_stop(text: str, start: int, end: int) -> int:
    """Return the end of an address before the full stop of its sentence, which `Rd.` and `Str.` keep."""
    word = _LAST_WORD.search(text, start, end)
    return end - 1 if word and len(word[1]) > _LONGEST_ABBREVIATION else end


def _with_cross_street(text: str, start: int) -> int:
    """Return where an address begins that is led by a cross street: `at Oak and 12 Elm Street`."""
    led = _CROSS_STREET.search(text, max(0, start - _LONGEST_CROSS_STREET), start)
    return led.start("v") if led else start


def _grow(text: str, start: int, end: int) -> tuple[int, bool]:
    """Return where the address ends, and whether anything certain belonged to it."""
    kept, position, towns, has_code = end, end, 0, False
    is_strong = after_unit = bool(_ENDS_IN_UNIT.search(text, start, end))
    for _ in range(_MAX_PARTS):
        separator = _SEPARATOR.match(text, position)
        if not separator:
            break
        strong = None if has_code and "," not in separator.group() else _first_strong(text, separator.end())
        if strong:
            after_unit = bool(_ENDS_IN_UNIT.search(text, position, strong))
            has_code = text[strong - 1].isdigit() and not after_unit
            kept = position = strong
            is_strong, towns = True, 0
            continue
        if has_code:
            break
        town = _TOWN.match(text, separator.end()) if separator.group().strip(" \t") or after_unit else None
        if not town or towns > 1 or _reads_as_something_else(town.group()):
            break
        position = town.end()
        towns += 1
        after = _BLANK_LINE.match(text, position)
        coded = _TOWN_AND_CODE.match(text, after.end()) if after and is_strong else None
        if coded:
            return coded.end(), True
        if "\n" not in separator.group() and ("," in separator.group() or after_unit) and _ends_part(text, position):
            kept = position
    return kept, is_strong


def _first_strong(text: str, position: int) -> int | None:
    for regex in _STRONG:
        match = regex.match(text, position)
        if match and not _reads_as_something_else(match.group()):
            return match.end()
    return None


def _ends_part(text: str, position: int) -> bool:
    return position >= len(text) or not (text[position].isalnum() or text[position] in "_(@'’:=")


def _reads_as_something_else(value: str, *, is_sure: bool = False) -> bool:
    """Say whether every word, or the first one, is of forms, code or the calendar: `3 Open Issues`, `12 March 2024`."""
    words = [word.strip(".,'’").lower() for word in _words(value)]
    starts_else = bool(words) and words[0] in _NO_START and not value.startswith("Am ")  # `Am Markt 3`
    return bool(words) and (starts_else or (not is_sure and all(word in NOT_NAMES for word in words)))


def _is_shouted(name: str, value: str) -> bool:
    """Say whether `STRICT LIABILITY, OR` only looks like a town and its state."""
    return name == "town and state" and value.isupper()


def _has_common_word(value: str) -> bool:
    return any(word.strip(".,").lower() in NOT_NAMES for word in _words(value) if word.lower() not in _STREET_WORDS)


def _words(value: str) -> Iterator[str]:
    return (word for word in re.split(r"[\s,]+", value) if any(c.isalpha() for c in word) and not word[0].isdigit())


_STREET_WORDS = frozenset(
    "street avenue road station unit suite of the and st office city north south east west".split()
)
_NO_START = frozenset(
    "january february march april may june july august september october november december jan feb mar apr jun jul aug sep"
    " oct nov dec monday tuesday wednesday thursday friday saturday sunday am pm gb mb kb tb ms kg km usd eur gbp best kind"
    " regards thanks dear hi hello sincerely cheers page pages please subject date tel phone email fax mobile i we you he she"
    " it they this that the if when what where who how why and or but not no yes".split()
) - {"the"}
