"""Once a value is hidden in a conversation, every occurrence of it in every text is hidden.

An occurrence has word borders on both sides. Most values are looked for as they are spelled; a person's full name in
any case and spacing, and its parts (see `placeholders.name_parts`) as spelled, capitalised and in capitals, since the
lower-case form of many names is an everyday word.

Where any of many phrases stands in a text, as whole words, in one pass: Aho and Corasick's automaton over words.

The time is that of reading the text and the phrases once, whatever they are: nobody can make a request expensive by
writing ten thousand values that begin alike into it, or one that repeats itself.

Source: Aho and Corasick, "Efficient string matching: an aid to bibliographic search", CACM 18(6), 1975.
"""

import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from operator import itemgetter

from llmguard.redaction.placeholders import PERSON, Folded, fold, name_parts
from llmguard.redaction.spans import Span, cut_to_slot, overlapping
from llmguard.redaction.units import Unit

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")

Words = tuple[str, ...]


def words_of(text: str) -> list[str]:
    """Return a text as words, runs of whitespace and other single characters; joined they are the text."""
    return _WORDS.findall(text)


def folded(words: Sequence[str]) -> list[str]:
    """Return words in lower case with all whitespace alike, as many."""
    return [" " if word.isspace() else word.lower() for word in words]


class Phrases:
    """Phrases of words that are looked for together, each with what it says."""

    __slots__ = ("_begins", "_ends", "_fallback", "_next", "_numbers", "_shorter")

    def __init__(self, phrases: Mapping[Words, str]) -> None:
        """Prepare to look for them.

        Args:
            phrases: what each says, by its words; none of them empty.
        """
        self._begins = frozenset(words[0] for words in phrases)
        self._numbers: dict[str, int] = {}
        for words in phrases:
            for word in words:
                self._numbers.setdefault(word, len(self._numbers))
        # A state is a beginning of a phrase that has been read, 0 the empty one. `_next` leads on from
        # state * (number of words) + word: one flat dictionary, since one for each state would be eighty megabytes for
        # a megabyte of values.
        self._next: dict[int, int] = {}
        self._ends: dict[int, tuple[int, str]] = {}  # of whole phrases: how many words, and what it says
        self._fallback = [0]  # the longest other state that the words of a state end with
        self._shorter = [0]  # and the longest whole phrase among these
        for words, says in phrases.items():
            self._ends[self._add(words)] = len(words), says
        self._link(phrases)

    def _add(self, words: Words) -> int:
        state = 0
        for word in words:
            key = state * len(self._numbers) + self._numbers[word]
            state = self._next.setdefault(key, len(self._fallback))
            if state == len(self._fallback):
                self._fallback.append(0)
                self._shorter.append(0)
        return state

    def _link(self, phrases: Mapping[Words, str]) -> None:
        """Set where each state falls back to, shorter states before longer ones."""
        width = len(self._numbers)
        waiting = deque((iter(words), 0, 0) for words in phrases)
        while waiting:
            rest, state, fallback = waiting.popleft()
            word = next(rest, None)
            if word is None:
                continue
            number = self._numbers[word]
            after = self._next[state * width + number]
            if state:
                self._fallback[after] = self._after(fallback, number)
            fallback = self._fallback[after]
            self._shorter[after] = fallback if fallback in self._ends else self._shorter[fallback]
            waiting.append((rest, after, fallback))

    def _after(self, state: int, number: int) -> int:
        """Return the state after one more word."""
        width = len(self._numbers)
        while True:
            after = self._next.get(state * width + number)
            if after is not None:
                return after
            if state == 0:
                return 0
            state = self._fallback[state]

    def find(self, words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
        """Yield where phrases stand among the words, also those that overlap: first word, one past the last, what."""
        if self._begins.isdisjoint(words):
            return
        numbers = self._numbers
        state = 0
        for place, word in enumerate(words, 1):
            number = numbers.get(word)
            if number is None:
                state = 0
                continue
            state = self._after(state, number)
            found = state if state in self._ends else self._shorter[state]
            while found:
                length, says = self._ends[found]
                yield place - length, place, says
                found = self._shorter[found]


SHORTEST_VALUE = 3  # characters; shorter ones are everywhere
_SHORTEST_NUMBER = 4  # digits of a value that has nothing else
_FEW_VALUES = 64  # counting each of them in a text is quicker than reading it word by word


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
            self._add(entity_type, _seen(text))
            parts = name_parts(text) if entity_type == PERSON else ()
            if parts:
                self._names.add(_seen(text).strip())
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
        if self._stand_in_spans_only(units, spans):
            return [list(own) for own in spans]
        seen = [fold(unit.text) for unit in units]
        words = [words_of(one.text if one else unit.text) for unit, one in zip(units, seen, strict=True)]
        exact = _present(((words_of(text), entity_type) for text, entity_type in self._exact.items()), words)
        found = [list(exact.find(own)) for own in words]
        if self._names:
            alike = [folded(own) for own in words]
            names = _present(((folded(words_of(name)), PERSON) for name in self._names), alike)
            for places, own in zip(found, alike, strict=True):
                places.extend(names.find(own))
        spread = []
        for unit, own, shut, *facts in zip(units, spans, closed, words, found, seen, strict=True):
            types = _places(*facts)
            spread.append(_with(unit, own, types, shut) if types else list(own))
        return spread

    def _stand_in_spans_only(self, units: Sequence[Unit], spans: Sequence[Sequence[Span]]) -> bool:
        """Return whether every occurrence of a value certainly overlaps a span that holds it: nothing is left to find.

        A few counts in place of reading all texts word by word, which most requests need not do. As many disjoint
        occurrences inside the spans as in all of the text leave room for none elsewhere. False means: look closer.
        """
        values = [*self._exact, *self._names]
        if len(values) > _FEW_VALUES or any(len(own) > _FEW_VALUES for own in spans):
            return False
        names = [_alike(name) for name in self._names]
        for unit, own in zip(units, spans, strict=True):
            text = unit.text
            if not text.isascii() or "\0" in text:
                return False
            hidden = "\0".join([text[span.start : span.end] for span in own])
            for value in self._exact:
                if text.count(value) != hidden.count(value):
                    return False
            if names:
                text, hidden = _alike(text), _alike(hidden)
                if any(text.count(name) != hidden.count(name) for name in names):
                    return False
        return True


def _alike(text: str) -> str:
    """Return a text in ASCII in lower case with all whitespace alike."""
    return " ".join(text.lower().split())


def _present(phrases: Iterable[tuple[list[str], str]], texts: Sequence[Sequence[str]]) -> Phrases:
    """Return what looks for those phrases whose words are all there: most values of a request are in no answer."""
    there = set(chain.from_iterable(texts))
    return Phrases({tuple(words): entity_type for words, entity_type in phrases if there.issuperset(words)})


def _places(
    words: Sequence[str], found: Iterable[tuple[int, int, str]], folded: Folded | None
) -> dict[tuple[int, int], str]:
    """Return where in a unit's text the occurrences stand that were found among its words, and of what type."""
    begins = [0, *accumulate(map(len, words))] if found else []
    types: dict[tuple[int, int], str] = {}
    for first, last, entity_type in found:
        place = begins[first], begins[last]
        types.setdefault(folded.span(*place) if folded else place, entity_type)
    return types


def _seen(text: str) -> str:
    folded = fold(text)
    return folded.text if folded else text


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
