"""Once a value is hidden in a conversation, every occurrence of it in every text is hidden.

An occurrence has word borders on both sides. Most values are looked for as they are spelled; a person's full name in
any case and spacing, and its parts (see `placeholders.name_parts`) as spelled, capitalised and in capitals, since the
lower-case form of many names is an everyday word.

Counting tells of most values that they stand nowhere else, and the few others are looked for one by one. Where there
are many, or a text is unusual, one pass over its words finds all of them: Aho and Corasick's automaton.

The time is that of reading the text and the phrases once, whatever they are: nobody can make a request expensive by
writing ten thousand values that begin alike into it, or one that repeats itself.

Source: Aho and Corasick, "Efficient string matching: an aid to bibliographic search", CACM 18(6), 1975.
"""

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from operator import itemgetter

from llmguard.redaction.placeholders import ODD, PERSON, Folded, fold, name_parts
from llmguard.redaction.spans import Span, cut_to_slot, overlapping
from llmguard.redaction.units import Unit

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_INSIDE_WORD = re.compile(r"(?<=\w)\w|(?<=\s)\s")  # where a text is not cut into words
# Where lower case is another number of characters, or depends on the letters around, and what `fold` takes out.
_UNEVEN = re.compile(f"[\u0130\u03a3]|{ODD.pattern}")
_UNEVEN_LATIN = bytes(code for code in range(256) if code == 0 or _UNEVEN.search(chr(code)))
_ALIKE_CHARACTERS = re.compile(r"\s+|\S")  # what becomes one character where all whitespace is alike

Words = tuple[str, ...]
_Places = dict[tuple[int, int], str]  # where in a text something stands, and of what type


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
_FEW_VALUES = 256  # counting each of them in a text is quicker than reading it word by word
_FEW_PLACES = 64  # so is looking for each of them


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
                for spelling in {part, part.capitalize(), part.upper()}:
                    self._add(PERSON, spelling)

    def _add(self, entity_type: str, text: str) -> None:
        long_enough = len(text) >= (_SHORTEST_NUMBER if text.isdigit() else SHORTEST_VALUE)
        if long_enough and text.lower() not in self._allow:
            self._exact.setdefault(text, entity_type)

    def spread(
        self, units: Sequence[Unit], spans: list[list[Span]], closed: Sequence[Sequence[tuple[int, int]]]
    ) -> list[list[Span]]:
        """Return the spans of each unit with every other occurrence of the values.

        A longer occurrence takes the place of shorter spans inside it; one that only overlaps a span is left alone.
        """
        texts = [unit.text for unit in units]
        usual, others = _apart(texts)
        found = self._counted(usual, spans)
        if found is None:
            found = self._read(texts)
        elif others:
            found |= self._read(others)
        if not found:
            return spans
        places = (found.get(index) for index in range(len(texts)))
        every = zip(units, spans, closed, places, strict=True)
        return [_with(unit, own, types, shut) if types else own for unit, own, shut, types in every]

    def _read(self, texts: Sequence[str]) -> dict[int, _Places]:
        """Return where the values stand in texts that are read word by word, by the text."""
        seen = [fold(text) for text in texts]
        words = [words_of(one.text if one else text) for text, one in zip(texts, seen, strict=True)]
        exact = _present(((words_of(text), entity_type) for text, entity_type in self._exact.items()), words)
        found = [list(exact.find(own)) for own in words]
        if self._names:
            alike = [folded(own) for own in words]
            names = _present(((folded(words_of(name)), PERSON) for name in self._names), alike)
            for places, own in zip(found, alike, strict=True):
                places.extend(names.find(own))
        facts = enumerate(zip(words, found, seen, strict=True))
        return {index: _places(*own) for index, own in facts if own[1]}

    def _counted(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> dict[int, _Places] | None:
        """Return what `_read` does without what is certainly hidden already; None if that does not show by counting.

        As many disjoint occurrences of a value inside the spans as in all texts leave room for none that overlaps no
        span. Only the other values are looked for: that takes a few counts and searches in place of reading all texts.
        """
        if len(self._exact) + len(self._names) > _FEW_VALUES or not _is_usual("".join(self._names)):
            return None
        whole = "\0".join(["", *texts, ""])
        hidden = "\0".join(
            [text[span.start : span.end] for text, own in zip(texts, spans, strict=True) for span in own]
        )
        exact = _elsewhere(self._exact, whole, hidden)
        names: dict[str, list[int]] | None = {}
        if self._names:
            alike = _alike(whole)
            names = _elsewhere(map(_alike, self._names), alike, _alike(hidden))
        if exact is None or names is None:
            return None
        places = [(at, at + len(value), self._exact[value]) for value, begins in exact.items() for at in begins]
        if names:
            raw = [0, *accumulate(map(len, _ALIKE_CHARACTERS.findall(whole)))]
            places += [(raw[at], raw[at + len(name)], PERSON) for name, begins in names.items() for at in begins]
        return _by_text(places, texts) if places else {}


def _apart(texts: list[str]) -> tuple[list[str], list[str]]:
    """Return the texts in which values can be counted, and the others if there are any; each with gaps for the rest."""
    if _is_usual("".join(texts)):
        return texts, []
    return [text if _is_usual(text) else "" for text in texts], ["" if _is_usual(text) else text for text in texts]


def _is_usual(text: str) -> bool:
    if text.isascii():
        return "\0" not in text
    try:
        letters = text.encode("latin-1")
    except UnicodeEncodeError:
        return "\0" not in text and not _UNEVEN.search(text)
    return len(letters.translate(None, _UNEVEN_LATIN)) == len(letters)  # in a tenth of the time of the pattern


def _elsewhere(values: Iterable[str], whole: str, hidden: str) -> dict[str, list[int]] | None:
    """Return where those values stand that may stand where nothing is hidden; None if that is in too many places."""
    found: dict[str, list[int]] = {}
    for value in values:
        if whole.count(value) > hidden.count(value) and "\0" not in value:
            begins = _every(value, whole)
            if len(begins) > _FEW_PLACES:
                return None
            borders = [
                at for at in begins if not (_INSIDE_WORD.match(whole, at) or _INSIDE_WORD.match(whole, at + len(value)))
            ]
            if borders:
                found[value] = borders
    return found


def _every(value: str, whole: str) -> list[int]:
    """Return where a value begins, also inside itself; beyond a few places not all of them."""
    begins: list[int] = []
    at = whole.find(value)
    while at >= 0 and len(begins) <= _FEW_PLACES:
        begins.append(at)
        at = whole.find(value, at + 1)
    return begins


def _by_text(places: Iterable[tuple[int, int, str]], texts: Sequence[str]) -> dict[int, _Places]:
    """Return by its text where in it each of those places stands."""
    begins = [*accumulate((len(text) + 1 for text in texts), initial=1)]
    found: dict[int, _Places] = {}
    for start, end, entity_type in places:
        index = bisect_right(begins, start) - 1
        place = start - begins[index], end - begins[index]
        found.setdefault(index, {}).setdefault(place, entity_type)
    return found


def _alike(text: str) -> str:
    """Return a text in lower case with all whitespace alike."""
    return " ".join(text.lower().split())


def _present(phrases: Iterable[tuple[list[str], str]], texts: Sequence[Sequence[str]]) -> Phrases:
    """Return what looks for those phrases whose words are all there: most values of a request are in no answer."""
    there = set(chain.from_iterable(texts))
    return Phrases({tuple(words): entity_type for words, entity_type in phrases if there.issuperset(words)})


def _places(words: Sequence[str], found: Iterable[tuple[int, int, str]], folded: Folded | None) -> _Places:
    """Return where in a text the occurrences stand that were found among its words, and of what type."""
    begins = [0, *accumulate(map(len, words))]
    types: _Places = {}
    for first, last, entity_type in found:
        place = begins[first], begins[last]
        types.setdefault(folded.span(*place) if folded else place, entity_type)
    return types


def _seen(text: str) -> str:
    folded = fold(text)
    return folded.text if folded else text


def _with(unit: Unit, own: Sequence[Span], found: _Places, closed: Sequence[tuple[int, int]]) -> list[Span]:
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
