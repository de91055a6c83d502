"""The last test of what the NER model proposes: a small model sees people in code, headings and product names."""
# ruff: noqa: E501, RUF001  # a regex is read in one piece; people type curly apostrophes and dashes

import re

from llmguard.redaction.recognizers.address_words import STATES
from llmguard.redaction.recognizers.gazetteers import is_given_name
from llmguard.redaction.recognizers.names import AMBIGUOUS_NAMES, UPPER, is_name
from llmguard.redaction.recognizers.vocabulary import NOT_NAMES, PARTICLES

_PLACE = re.compile(rf"[{UPPER}][^\W\d_]*[.'’]?(?:[ \-'’./]{{1,2}}(?:[^\W\d_]+[.'’]?|\d{{1,2}}(?![\w])))*")
_TAIL = re.compile(r"['’]s$|[\s\"'’.,;:!?)\]>*_-]+$")
_HEAD = re.compile(r"^[\s\"'‘(\[<>*_#-]+")
_CODE_BEFORE = frozenset("_/\\@#$%=+`{<~.")
_CODE_AFTER = frozenset("_/\\@#$%=+`(}>[~")
_ESCAPED = frozenset("'\"nrt")
_LEFT_KEY = re.compile(r"[\"'] ?:")
# `Fourier transform`, `Levenshtein distance`: what is named after somebody does not tell of them
_NAMED_AFTER = re.compile(
    r"[ -](?i:algorithm|theorem|distribution|transform|matrix|matrices|distance|inequality|estimator|kernel|factori[sz]ation|series|filter|tree"
    r"|decomposition|coefficient|polynomial|quadrature|regression|encoding|cipher|automaton|equation|derivative|integral|conjecture|CG)\b"
)
_LONGEST_CODE_LINE = 240
_SHORTEST = 2  # an initial names nobody
_SMALL_NAMES = (2, 3)  # words of a name in small letters; a single one may be any word
_LONGEST_ACRONYM = 3
_PLACE_ACRONYMS = frozenset(STATES.split("|")) | {
    "US",
    "UK",
    "USA",
    "UAE",
    "EU",
    "NYC",
    "LA",
    "SF",
    "D.C.",
    "U.S.",
    "U.K.",
    "U.S.A.",
}
_CAPITAL_TOWN = re.compile(rf"[{UPPER}]{{3,}}(?:[ '’-]{{1,2}}[{UPPER}]{{2,}})+")  # `SAINT-PRIEST`, `NEW YORK`
_CODE_LINE = re.compile(
    r"^\s*(?:(?:async )?def |class |import |from [\w.]+ import|return\b|raise |if .*:$|elif |for .* in |while |with |assert |@[\w.]+(?:\(|\s*$)|#include"
    r"|(?:public|private|protected|static|const|let|var|function|final)\b|SELECT\b|INSERT\b|UPDATE\b|DELETE\b|CREATE\b|ALTER\b"
    r"|[\w.\[\]\"']+ ?(?:[+\-*/|]?=|:=) ?\S|[\w.]+\(.*[):,]\s*$|>>>|\.\. |:\w+:|[{}\])(]+[;,]?$)|;\s*$|\{\s*$|=>|->|::|&&|\|\|"
)

JUDGED = frozenset({"PERSON", "LOCATION", "NRP"})  # every other entity passes
_CAPITAL_WORD = re.compile(r"[^\Wa-z\d_]\w*(?:['’./-][^\W_]+)*")  # or one with letters beyond ASCII
_JOINT = re.compile(r"[./-]")
_PART = re.compile(r"[^'’./-]+")  # the language model reads each by itself
_SMALL_PAIR = re.compile(r"(?<![^\W\d_])([^\W\d_]+)(?=[^\S\n]+([^\W\d_]+))")


def possible_places(text: str) -> list[int]:
    """Return where words begin of which every span holds one that `plausible` lets stand as one of `JUDGED`.

    These are words with a capital that are not known as something else, and in a line in small letters any two words.
    """
    places = []
    for match in _CAPITAL_WORD.finditer(text):
        word, start = match.group(), match.start()
        if len(word) == 1 or word.islower():
            continue
        if not _is_known(word.lower()) or word in AMBIGUOUS_NAMES or text[start - 1 : start].isalnum():
            places += [start] if word.isalnum() else [start + part.start() for part in _PART.finditer(word)]
    start = 0
    for line in text.split("\n"):
        if line.islower():
            for pair in _SMALL_PAIR.finditer(line):
                if pair[1] not in NOT_NAMES and pair[2] not in NOT_NAMES:
                    places += (start + pair.start(1), start + pair.start(2))
        start += len(line) + 1
    return sorted(places)


def _is_known(word: str) -> bool:
    """Say whether a word, and all that it is joined of, stand in no name."""
    return word in NOT_NAMES and (word.isalpha() or NOT_NAMES.issuperset(_JOINT.split(word)))


def plausible(entity_type: str, text: str, start: int, end: int) -> bool:
    """Say whether an NER finding may stand as this entity in its surroundings.

    Args:
        entity_type: those of `JUDGED` are judged; every other entity passes.
        text: the whole text.
        start: first character of the finding.
        end: one past its last character.
    """
    if entity_type not in JUDGED:
        return True
    value = _TAIL.sub("", _HEAD.sub("", text[start:end]))
    if len(value) < _SHORTEST or "\n" in value or _touches_code(text, start, end):
        return False
    if entity_type == "PERSON":
        if " " not in value and _NAMED_AFTER.match(text, end):
            return False
        is_known = any(is_given_name(part) for part in value.split())
        return (
            _is_person(value, _line(text, start, end))
            and (is_known or not _is_in_heading(text, start))
            and not is_in_code(text, start, end)
        )
    return _is_place(value) and not is_in_code(text, start, end)


def _is_person(value: str, line: str) -> bool:
    parts = value.split()
    if not any(map(str.isalpha, value)):
        return False  # flags and hearts
    if value.islower() and not line.islower():
        return False  # who writes capitals elsewhere writes them in names
    if value.islower():  # chat in small letters: a name of two words may stand, one word may be anything
        return len(parts) in _SMALL_NAMES and all(p.isalpha() and p not in NOT_NAMES for p in parts)
    if value.isupper() and len(parts) == 1:
        return False
    if not is_name(value):
        return False
    return not any(p.islower() and p not in PARTICLES for p in parts)


def _is_place(value: str) -> bool:
    if value.isupper() and (len(value) <= _LONGEST_ACRONYM or not value.isalpha()) and value not in _PLACE_ACRONYMS:
        return _CAPITAL_TOWN.fullmatch(value) is not None  # `AI`, `UTF-8` and `GMT+1` are none
    if _PLACE.fullmatch(value) is None or value.lower() in NOT_NAMES or value == "NaN":
        return False
    words = [word.strip(".'’").lower() for word in value.split()]
    return not all(word in NOT_NAMES or word[:1].isdigit() for word in words) and not (value.isupper() and "_" in value)


def _touches_code(text: str, start: int, end: int) -> bool:
    """Say whether the span is glued to a sign of code, or is the key of `"key": value`."""
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    if before in _CODE_BEFORE and not (before == "." and text[max(0, start - 3) : start - 1].istitle()):
        return True
    if after == "\\" and text[end + 1 : end + 2] in _ESCAPED:  # text inside a quoted string: `Mary\'s`
        after = " "
    return after in _CODE_AFTER or before.isalnum() or after.isalnum() or bool(_LEFT_KEY.match(text, end))


def _is_in_heading(text: str, start: int) -> bool:
    """Say whether the line is a heading or bold item of Markdown, where every word has a capital letter."""
    line = text[text.rfind("\n", 0, start) + 1 : start].lstrip()
    return line.startswith(("#", "**", "- **", "* **", "==", "|"))


def _line(text: str, start: int, end: int) -> str:
    right = text.find("\n", end)
    return text[text.rfind("\n", 0, start) + 1 : right if right != -1 else len(text)]


def is_in_code(text: str, start: int, end: int) -> bool:
    """Say whether the line reads as code, outside of a quoted string or comment."""
    left = text.rfind("\n", 0, start) + 1
    line = _line(text, start, end)
    if len(line) > _LONGEST_CODE_LINE or _CODE_LINE.search(line) is None:
        return False
    before = text[left:start]
    is_comment = "#" in before or "//" in before or "--" in before or before.lstrip().startswith("*")
    is_quoted = before.count('"') % 2 == 1 or before.count("'") % 2 == 1
    return not (is_comment or is_quoted)
