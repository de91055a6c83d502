"""Once a value is hidden in a conversation, every occurrence of it in every text is hidden.

An occurrence has word borders on both sides. Most values are looked for as they are spelled; a person's full name in
any case and spacing, and its parts (see `normalise.name_parts`) as spelled, capitalised and in capitals, since the
lower-case form of many names is an everyday word.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate

from llmguard.redaction.placeholders import PERSON, name_parts
from llmguard.redaction.spans import Span, cut_to_slot
from llmguard.redaction.units import Unit

SHORTEST_VALUE = 3  # characters; shorter ones are everywhere
_SHORTEST_NUMBER = 4  # digits of a value that has nothing else
_SPACES = re.compile(r"\s+")


class KnownValues:
    """The values that are hidden in one conversation."""

    __slots__ = ("_allow", "_exact", "_names")

    def __init__(self, values: Iterable[tuple[str, str]], allow: Collection[str]) -> None:
        """Prepare to look for them.

        Args:
            values: (entity type, text) of each.
            allow: texts that are never personal data, in lower case.
        """
        self._allow = allow
        self._exact: dict[str, str] = {}
        self._names: set[tuple[str, ...]] = set()
        for entity_type, text in values:
            self._add(entity_type, text)
            parts = name_parts(text) if entity_type == PERSON else ()
            if parts:
                self._names.add(tuple(text.lower().split()))
            for part in parts:
                for spelling in (part, part.capitalize(), part.upper()):
                    self._add(PERSON, spelling)

    def _add(self, entity_type: str, text: str) -> None:
        long_enough = len(text) >= (_SHORTEST_NUMBER if text.isdigit() else SHORTEST_VALUE)
        if long_enough and text.lower() not in self._allow:
            self._exact.setdefault(text, entity_type)

    def spread(
        self, units: Sequence[Unit], spans: Sequence[Sequence[Span]], closed: Sequence[Sequence[tuple[int, int]]]
    ) -> list[list[Span]]:
        """Return the spans of each unit with every other occurrence of the values.

        A longer occurrence takes the place of shorter spans inside it; one that only overlaps a span is left alone.
        """
        texts = [unit.text for unit in units]
        begins = [0, *accumulate(len(text) + 1 for text in texts)]
        found: dict[int, list[tuple[int, int, str]]] = {}
        for start, end, entity_type in self._occurrences("\0".join(texts)):
            index = bisect_right(begins, start) - 1
            found.setdefault(index, []).append((start - begins[index], end - begins[index], entity_type))
        return [
            _with(unit, own, found[index], closed[index]) if index in found else list(own)
            for index, (unit, own) in enumerate(zip(units, spans, strict=True))
        ]

    def _occurrences(self, text: str) -> Iterable[tuple[int, int, str]]:
        for value, entity_type in self._exact.items():
            at = text.find(value)
            while at >= 0:
                if _has_borders(text, at, at + len(value)):
                    yield at, at + len(value), entity_type
                at = text.find(value, at + 1)
        if not self._names:
            return
        lower = text.lower()
        if len(lower) != len(
            text
        ):  # one capital of Turkish has two characters in lower case, and would shift the places
            lower = "".join(one if len(one.lower()) != 1 else one.lower() for one in text)
        for words in self._names:
            at = lower.find(words[0])
            while at >= 0:
                end = _end_of(lower, at, words)
                if end is not None and _has_borders(text, at, end):
                    yield at, end, PERSON
                at = lower.find(words[0], at + 1)


def _end_of(text: str, at: int, words: Sequence[str]) -> int | None:
    end = at + len(words[0])
    for word in words[1:]:
        spaces = _SPACES.match(text, end)
        if spaces is None or not text.startswith(word, spaces.end()):
            return None
        end = spaces.end() + len(word)
    return end


def _has_borders(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (_is_word(before) and _is_word(text[start])) and not (_is_word(after) and _is_word(text[end - 1]))


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _with(
    unit: Unit, own: Sequence[Span], found: Sequence[tuple[int, int, str]], closed: Sequence[tuple[int, int]]
) -> list[Span]:
    spans = list(own)
    known = {(span.start, span.end) for span in own}
    news = sorted({one for one in found if one[:2] not in known}, key=_longest_first)
    for start, end, entity_type in news:
        if any(start < closed_end and closed_start < end for closed_start, closed_end in closed):
            continue
        span = _whole_span(unit, start, end, entity_type)
        if span is None:
            continue
        first = bisect_right(spans, span.start, key=_end)
        last = bisect_left(spans, span.end, key=_begin)
        if all(span.start <= other.start and other.end <= span.end for other in spans[first:last]):
            spans[first:last] = [span]
    return spans


def _whole_span(unit: Unit, start: int, end: int, entity_type: str) -> Span | None:
    """Return an occurrence as a span if it lies in one slot, in a number if it is all of it."""
    slots = unit.slots_in(start, end)
    if len(slots) != 1 or start < slots[0].start or end > slots[0].end:
        return None
    if slots[0].form == "number" and (start, end) != (slots[0].start, slots[0].end):
        return None
    return cut_to_slot(unit, start, end, entity_type, slots[0])


def _longest_first(found: tuple[int, int, str]) -> tuple[int, int]:
    return found[0] - found[1], found[0]


def _begin(span: Span) -> int:
    return span.start


def _end(span: Span) -> int:
    return span.end
