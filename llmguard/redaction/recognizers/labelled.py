"""The strongest rule there is: a label, and the value behind it.

Forms are read as people and programs write them: `Acct no: 123`, `"dob": "1980-02-01"`, `emp_id=4711`, `<ssn>…</ssn>`,
`| Name | Anna Lee |`, and in prose `my account number is 123`. Which label promises what is in `label_table`, what the
value looks like in `shapes`.
"""
# ruff: noqa: E501, RUF001  # a regex is read in one piece; people type curly apostrophes and dashes

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import ClassVar

from llmguard.redaction.recognizers import label_table
from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.gazetteers import is_given_name
from llmguard.redaction.recognizers.shapes import SHAPES

_KEYED = re.compile(
    r"(?:s(?![a-z]))?(?:[ _-]?[12])?[\"'`*_\])]{0,4}(?:[ \t]{0,2}\([^()\n]{1,24}\))?(?:[ ]?#)?[\"'*]{0,3}[ \t]{0,24}(?:=>|->|:=|[:=|#\uff1a]|[ ]{3}|\t)[ \t|]{0,24}"
    r"\\{0,2}[\"'`*_#(]{0,4}[ ]?"
)
# `Phone:` alone on its line, the value on the next, which is no key itself
_BELOW = re.compile(
    r"(?:[ ]?#)?[\"'*]{0,3}[ \t]{0,4}:[\"'*]{0,3}[ \t]{0,4}\r?\n[ \t>]{0,8}(?![^\s:]{1,40}[\"']?:(?:\s|$))"
)
_NOT_BELOW = frozenset({"user", "place"})  # any word would do
_TAG = re.compile(r"[^<>\n]{0,40}>")
_SPOKEN = re.compile(
    r"(?i)[\"')*]{0,2}(?:[ ]?\([^()\n]{1,24}\))?(?:[ ]{1,2}\(?(?:number|num|no|nr|id|card|code|details)\b\.?)?[,.]?(?: (?:on file|on record|above|below|listed|again|for [a-z]{2,12} [a-z]{2,12}))?"
    r"(?:[ \t]{0,3}(?:[:=#-]|is\b|was\b|are\b|ist\b|est\b|es\b|of\b|as\b|on\b|it'?s\b|it is\b|reads\b|to\b|ending\b|will be\b|still\b|now\b|[#]|the\b|my\b|in\b)){0,4}[ \t]{1,3}[\"'#(]{0,2}"
)
_SCORES = {"keyed": 0.95, "spoken": 0.9}
_ANY_NAME = frozenset({"name", "displayname"})  # in JSON also of products, files and fields
_HUMP = re.compile(r"[A-Z](?<=[^\W\d_].)")  # the capital leads: re tries nothing else


class _Finder:
    """Where labels stand: where a word begins or, in camelCase, a part of one; the longest label counts."""

    def __init__(self, labels: label_table.Labels) -> None:
        # atomic: no shorter label where the longest one ends inside a word
        self._label = re.compile(rf"(?<![^\W_])(?>{labels.source})(?![a-rt-z])")
        self._reach = max(map(len, labels.phrases)) + 1  # with the letter that may follow

    def spans(self, text: str, lowered: str) -> Iterator[tuple[int, int]]:
        """Yield where labels stand, in order and disjoint; `lowered` is the text in small letters."""
        spans = [match.span() for match in self._label.finditer(lowered)]
        humps = [match.start() for match in _HUMP.finditer(text) if text[match.start() - 1].islower()]
        if humps:
            within = [(hump, hump + length) for hump in humps if (length := self._length_at(lowered, hump))]
            spans = sorted([*spans, *within]) if within else spans
        done = 0
        for start, end in spans:
            if start >= done and not (end < len(text) and text[end].isalpha() and text[end] != "s"):
                done = end
                yield start, end

    def _length_at(self, lowered: str, hump: int) -> int:
        """Return how long the label at a hump is, 0 if there is none."""
        match = self._label.match(lowered[hump : hump + self._reach])  # cut off, so that a word begins at the hump
        return match.end() if match else 0


class LabelledValueRecognizer(GatedRecognizer):
    """Every entity of `label_table`, found behind its label."""

    ENTITIES: ClassVar = label_table.STANDARD.entities
    GATES: ClassVar = ("",)  # Presidio wants a pattern, and compiles it

    labels = label_table.STANDARD

    def learn(self, labels: label_table.Labels) -> None:
        """Look for these labels from now on; to be called before it is compiled into a prefilter."""
        self.labels = labels
        self.supported_entities = list(labels.entities)
        vars(self).pop("_finder", None)

    @cached_property
    def _finder(self) -> _Finder:
        return _Finder(self.labels)

    @property
    def triggers(self) -> Sequence[tuple[str, int]]:
        """Any of the labels that it knows."""
        return [(self.labels.source.replace("’", ""), int(self.global_regex_flags or 0))]

    def find(self, text: str) -> Iterable[Hit]:
        """Return the values behind labels."""
        lowered = text.lower()
        if len(lowered) != len(text):  # `İ` becomes two characters: then positions would no longer agree
            lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
        for start, end in self._finder.spans(text, lowered):
            hit = self._value_behind(text, start, end)
            if hit:
                yield hit

    def _value_behind(self, text: str, start: int, end: int) -> Hit | None:
        words = label_table.compact(text[start:end])
        labels = self.labels.known.get(words, ())
        is_followed_by_word = text[end : end + 1] == " " and text[end + 1 : end + 2].isalpha()  # then no sign follows
        below = None if is_followed_by_word else _BELOW.match(text, end)
        if below and not text[text.rfind("\n", 0, start) + 1 : start].strip(" \t>*-"):
            fitting = (label for label in labels if label.shape not in _NOT_BELOW)
            return _first(_read(text, below.end(), label, words, is_keyed=True) for label in fitting)
        keyed = None if is_followed_by_word else _KEYED.match(text, end)
        keyed = keyed or (_TAG.match(text, end) if "<" in text[max(0, start - 24) : start] else None)
        if keyed:
            return _first(_read(text, keyed.end(), label, words, is_keyed=True) for label in labels)
        prose = [label for label in labels if label.form == "prose"]
        spoken = _SPOKEN.match(text, end) if prose else None
        if spoken is None:
            return None
        return _first(_read(text, spoken.end(), label, words, is_keyed=False) for label in prose)


def _first(hits: Iterable[Hit | None]) -> Hit | None:
    return next((hit for hit in hits if hit), None)


def _read(text: str, position: int, label: label_table.Label, words: str, *, is_keyed: bool) -> Hit | None:
    span = SHAPES[label.shape].match(text, position, is_keyed=is_keyed)
    if span is None:
        return None
    if (
        words in _ANY_NAME
        and text[span[0] - 1] in "\"'`"
        and not any(is_given_name(part) for part in text[slice(*span)].split())
    ):
        return None
    score = _SCORES["keyed" if is_keyed else "spoken"]
    return Hit(span[0], span[1], label.entity, score, f"{'label' if is_keyed else 'spoken label'} {words}")


def labels_of(cell: str, known: label_table.Labels) -> tuple[label_table.Label, ...]:
    """Return what a column header or form label promises; the longest label at its end counts."""
    lowered = re.sub(r"\([^)]*\)", "", cell).strip(" \t\"'*_#:").lower()
    whole = known.known.get(label_table.compact(lowered))
    if whole:
        return whole
    for match in _suffixes(lowered):
        found = known.known.get(label_table.compact(match))
        if found:
            return found
    return ()


def _suffixes(words: str) -> Iterator[str]:
    """Yield `work_email_address`'s tails after its first word: `email_address`, `address`."""
    parts = re.split(r"[ _.\-]+", words)
    for first in range(1, min(len(parts), 5)):
        yield " ".join(parts[first:])
