"""Where any of many phrases stands in a text, as whole words, in one pass: Aho and Corasick's automaton over words.

The time is that of reading the text and the phrases once, whatever they are: nobody can make a request expensive by
writing ten thousand values that begin alike into it, or one that repeats itself.

Source: Aho and Corasick, "Efficient string matching: an aid to bibliographic search", CACM 18(6), 1975.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

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
