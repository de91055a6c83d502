"""Once a value is hidden in a conversation, every occurrence of it in every text is hidden.

An occurrence has word borders on both sides. Most values are looked for as they are spelled; a person's full name in
any case and spacing, and its parts (see `placeholders.name_parts`) as spelled, capitalised and in capitals, since the
lower-case form of many names is an everyday word.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, chain
from operator import itemgetter

from llmguard.redaction.occurrences import Phrases, folded, words_of
from llmguard.redaction.placeholders import PERSON, name_parts
from llmguard.redaction.spans import Span, cut_to_slot, overlapping
from llmguard.redaction.units import Unit

SHORTEST_VALUE = 3  # characters; shorter ones are everywhere
_SHORTEST_NUMBER = 4  # digits of a value that has nothing else


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
        self._names: set[str] = set()
        for entity_type, text in values:
            self._add(entity_type, text)
            parts = name_parts(text) if entity_type == PERSON else ()
            if parts:
                self._names.add(text.strip())
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
        words = [words_of(unit.text) for unit in units]
        exact = _present(((words_of(text), entity_type) for text, entity_type in self._exact.items()), words)
        found = [list(exact.find(own)) for own in words]
        if self._names:
            alike = [folded(own) for own in words]
            names = _present(((folded(words_of(name)), PERSON) for name in self._names), alike)
            for places, own in zip(found, alike, strict=True):
                places.extend(names.find(own))
        return [_spread(*one) for one in zip(units, spans, closed, words, found, strict=True)]


def _present(phrases: Iterable[tuple[list[str], str]], texts: Sequence[Sequence[str]]) -> Phrases:
    """Return what looks for those phrases whose words are all there: most values of a request are in no answer."""
    there = set(chain.from_iterable(texts))
    return Phrases({tuple(words): entity_type for words, entity_type in phrases if there.issuperset(words)})


def _spread(
    unit: Unit,
    own: Sequence[Span],
    closed: Sequence[tuple[int, int]],
    words: Sequence[str],
    found: Iterable[tuple[int, int, str]],
) -> list[Span]:
    """Return the spans of one unit with the occurrences found among its words."""
    begins = [0, *accumulate(map(len, words))] if found else []
    types: dict[tuple[int, int], str] = {}
    for first, last, entity_type in found:
        types.setdefault((begins[first], begins[last]), entity_type)
    return _with(unit, own, types, closed) if types else list(own)


def _with(
    unit: Unit, own: Sequence[Span], found: dict[tuple[int, int], str], closed: Sequence[tuple[int, int]]
) -> list[Span]:
    spans = list(own)
    cut = bytearray(len(unit.text) + 1)  # 1 between two characters of a span: nothing else may begin or end there
    for span in own:
        _close(cut, span)
        found.pop(span[:2], None)
    for start, end in sorted(found, key=_longest_first):
        if cut[start] or cut[end] or any(overlapping(closed, start, end)):
            continue
        new = _whole_span(unit, start, end, found[start, end])
        if new is not None and not (cut[new.start] or cut[new.end]):
            _close(cut, new)
            spans.append(new)
    return _outermost(spans)


def _close(cut: bytearray, span: Span) -> None:
    cut[span.start + 1 : span.end] = bytes([1]) * (span.end - span.start - 1)


def _outermost(spans: list[Span]) -> list[Span]:
    """Return those of spans, of which none crosses another, that lie in no other; of two alike the later."""
    by_place = {(span.start, -span.end): span for span in spans}
    kept: list[Span] = []
    for _, span in sorted(by_place.items(), key=itemgetter(0)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _whole_span(unit: Unit, start: int, end: int, entity_type: str) -> Span | None:
    """Return an occurrence as a span if it lies in one slot, in a number if it is all of it."""
    slots = unit.slots_in(start, end)
    if len(slots) != 1 or start < slots[0].start or end > slots[0].end:
        return None
    if slots[0].form == "number" and (start, end) != (slots[0].start, slots[0].end):
        return None
    return cut_to_slot(unit, start, end, entity_type, slots[0])


def _longest_first(found: tuple[int, int]) -> tuple[int, int]:
    return found[0] - found[1], found[0]
