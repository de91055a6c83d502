r"""Find the placeholders of one vault in a text, also as models bend them.

Tolerated: lower case; lost brackets; another bracket (HTML and URL escapes, `\u003c` inside JSON, full-width); a
space, dash, escaped or percent-encoded underscore for the underscore; Markdown inside the brackets; a lost type
(`<KOFADELIMORU>`, or the code alone); a lost code (`<PERSON>`) when the vault has exactly one person and the request
did not say `<PERSON>` itself. The code carries 40 keyed bits, so no text holds it by accident, and a vault never
gives out one that the caller typed.

The whole match is at most LONGEST_MATCH characters long, so that a stream knows how much it may have to hold back,
and whether a tail can still become a match is answered here too, beside the grammar that it has to agree with.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from llmguard.redaction.entries import Entry
from llmguard.redaction.placeholders import LONGEST_TYPE, STEM_LENGTH

LONGEST_MATCH = 64  # characters, with the two quotes of a JSON number
_LONGEST_BRACKETED = LONGEST_MATCH - 2

_OPEN = r"(?:\\{0,2}<|&lt;|&#60;|%3[Cc]|\uff1c|\\u003[cC])"
_CLOSE = r"(?:\\{0,2}>|&gt;|&#62;|%3[Ee]|\uff1e|\\u003[eE])"
# A backslash that begins an escaped underscore or bracket is a part of it, so that a text has one reading only: with
# two, a few hundred of them in a row would have more readings than a regular expression can try in a lifetime.
_GAP = r"(?:[ _*`~-]|\\(?!u00(?:5[fF]|3[cCeE]))|%5[Ff]|%20|&#95;|&nbsp;|\\u005[fF])"

_CODE_RUN = re.compile(rf"[A-Za-z]{{{STEM_LENGTH},}}")
_OPEN_AT_START = re.compile(_OPEN)
_OPEN_AT_END = re.compile(rf"{_OPEN}\Z")
_OPEN_BEGUN = re.compile(r"&(?:l|lt|#|#6|#60)?|%3?|\\{1,2}|\\u(?:0|00|003)?")
_GAPS = re.compile(rf"{_GAP}++")
_GAPS_AT_END = re.compile(rf"{_GAP}+\Z")
_GAPS_THEN_CLOSE = re.compile(rf"{_GAP}*+{_CLOSE}")
_CLOSE_AT_END = re.compile(rf"{_CLOSE}\Z")
_ESCAPE_BEGUN_AT_END = re.compile(r"(?:&[#a-z0-9]{0,5}|%[0-9A-Fa-f]?|\\{1,2}(?:u[0-9A-Fa-f]{0,3})?)\Z")
_WORD = r"[A-Za-z0-9]++"
# Nothing that was read is read again another way (possessive), and a gap or word holds no opening bracket: linear.
_TYPE_ALONE = re.compile(rf"{_OPEN}{_GAP}*+({_WORD}(?:{_GAP}++{_WORD}){{0,8}}+){_GAP}*+{_CLOSE}")
_OPEN_CHARACTERS = frozenset("<\uff1c&%\\")
_OPENS = re.compile(r"[<\uff1c&%\\]")  # one of these
_TWO_LETTERS = re.compile(r"[a-z]{2}")


class Match(NamedTuple):
    """Where a placeholder stands, and what it stands for."""

    start: int
    end: int
    entry: Entry


def bracketed_types(text: str) -> set[str]:
    """Return the words in brackets of a text, spelled as entity types: those that its writer typed there."""
    return {_as_type(match[1]) for match in _TYPE_ALONE.finditer(text)}


class BentPlaceholders:
    """What recognises the placeholders of one vault."""

    __slots__ = ("_alone", "_begun", "_by_code", "_lengths", "_typed_types")

    def __init__(self, entries: Collection[Entry], *, typed_types: Collection[str] = ()) -> None:
        """Prepare for these entries.

        Args:
            entries: what the vault holds.
            typed_types: types whose `<TYPE>` the caller wrote: such a text in the answer is the caller's own.
        """
        self._typed_types = typed_types
        self._by_code = {entry.code: entry for entry in entries}
        self._lengths = sorted({len(code) for code in self._by_code}, reverse=True)
        # Made when they are needed: most answers hold no bracket, and only streams grow.
        self._alone: dict[str, Entry] | None = None
        self._begun: _Beginnings | None = None

    def replace(self, text: str, *, json: bool = False) -> str:
        """Return a whole text with the values put back.

        Args:
            text: what the provider sent.
            json: it is JSON: values are escaped, and what was a number becomes one again.
        """
        done, rest = self.replace_settled(text, json=json, final=True)
        return done + rest

    def replace_settled(self, text: str, *, json: bool, final: bool = False) -> tuple[str, str]:
        """Return what can leave now, with the values put back, and the tail that more text may turn into a match.

        Feeding a text in any pieces, each after the tail of the last, gives what the whole text gives.

        Args:
            text: the tail of the last call and what came since.
            json: as in `replace`.
            final: nothing follows: the tail is empty.
        """
        if not final and self._beginnings.starts.isdisjoint(text) and '"' not in text:
            return text, ""
        done: list[str] = []
        at = 0
        for match in self._matches(text):
            start, end, value = self._written(text, match, at, json=json)
            if not final and self._growing_from(text, at, min(start, len(text)), json=json) is not None:
                break
            done += text[at:start], value
            at = end
        tail = None if final else self._growing_from(text, at, len(text) - 1, json=json)
        cut = len(text) if tail is None else tail
        done.append(text[at:cut])
        return "".join(done), text[cut:]

    def matches(self, text: str) -> list[Match]:
        """Return where its placeholders stand in a whole text, in order, not overlapping."""
        return list(self._matches(text))

    def _matches(self, text: str) -> Iterable[Match]:
        coded = self._coded(text) if _CODE_RUN.search(text) else ()
        if _OPENS.search(text) is None:
            return coded
        if self._alone is None:
            self._alone = _only_values(self._by_code.values(), self._typed_types)
        return sorted((*coded, *self._uncoded(text, self._alone)), key=_place) if self._alone else coded

    def _coded(self, text: str) -> Iterator[Match]:
        floor = 0
        for run in _CODE_RUN.finditer(text):
            letters = run[0].upper()
            at = 0
            while at <= len(letters) - STEM_LENGTH:
                entry = self._entry_at(letters, at)
                if entry is None:
                    at += 1
                    continue
                begin = run.start() + at
                at += len(entry.code)
                match = _with_brackets(text, floor, begin, entry)
                floor = match.end
                yield match

    def _entry_at(self, letters: str, at: int) -> Entry | None:
        for length in self._lengths:
            entry = self._by_code.get(letters[at : at + length])
            if entry is not None:
                return entry
        return None

    @staticmethod
    def _uncoded(text: str, alone: Mapping[str, Entry]) -> Iterator[Match]:
        for match in _TYPE_ALONE.finditer(text):
            entry = alone.get(_as_type(match[1]))
            if entry is not None and match.end() - match.start() <= _LONGEST_BRACKETED:
                yield Match(match.start(), match.end(), entry)

    def _written(self, text: str, match: Match, at: int, *, json: bool) -> tuple[int, int, str]:
        """Return what is replaced, from `at` on, by what."""
        start, end, entry = match
        if not json:
            return start, end, entry.text
        if entry.number and start > at and text[start - 1] == '"' and text[end : end + 1] == '"':
            return start - 1, end + 1, entry.text
        return start, end, entry.in_json_string()

    def _growing_from(self, text: str, begin: int, last: int, *, json: bool) -> int | None:
        """Return the first place, from begin to last, from where the rest of the text may become a longer match."""
        starts, pairs = self._beginnings.starts, self._beginnings.pairs
        quotes = json and self._beginnings.has_numbers
        for at in range(max(begin, len(text) - LONGEST_MATCH + 1), min(last + 1, len(text))):
            if text[at] not in starts and not (quotes and text[at] == '"'):
                continue
            pair = text[at : at + 2].lower()
            if _TWO_LETTERS.fullmatch(pair) and pair not in pairs:  # as nearly all are: spares looking further
                continue
            if self._may_grow(text[at:], quotes=quotes):
                return at
        return None

    def _may_grow(self, tail: str, *, quotes: bool) -> bool:
        quoted = quotes and tail[0] == '"'
        if quoted:
            tail = tail[1:]
        if _OPEN_BEGUN.fullmatch(tail) or not tail:
            return True
        opened = _OPEN_AT_START.match(tail)
        rest = tail[opened.end() :] if opened else tail
        rest = _CLOSE_AT_END.sub("", rest) if quoted else rest
        letters = _letters(_ESCAPE_BEGUN_AT_END.sub("", rest))
        if not letters:
            return opened is not None
        keys = self._beginnings.keys
        place = bisect_left(keys, letters)
        return place < len(keys) and keys[place].startswith(letters)

    @property
    def _beginnings(self) -> "_Beginnings":
        if self._begun is None:
            self._begun = _beginnings_of(self._by_code.values())
        return self._begun


class _Beginnings(NamedTuple):
    """What a placeholder may begin with: all of its letters, sorted, two, a character; and if any is a number."""

    keys: list[str]
    pairs: frozenset[str]
    starts: frozenset[str]
    has_numbers: bool


def _beginnings_of(entries: Collection[Entry]) -> _Beginnings:
    codes = [entry.code.lower() for entry in entries]
    typed = [_letters(entry.entity_type[:LONGEST_TYPE]) + entry.code.lower() for entry in entries]
    keys = sorted({*codes, *typed})
    firsts = {key[0] for key in keys}
    starts = _OPEN_CHARACTERS | firsts | {first.upper() for first in firsts}
    pairs = frozenset(key[:2] for key in keys)
    return _Beginnings(keys, pairs, starts, any(entry.number for entry in entries))


def _only_values(entries: Collection[Entry], typed_types: Collection[str]) -> dict[str, Entry]:
    """Return by type the first entry of each type that has one value only."""
    first: dict[str, Entry] = {}
    stems: dict[str, set[str]] = {}
    for entry in entries:
        first.setdefault(entry.entity_type, entry)
        stems.setdefault(entry.entity_type, set()).add(entry.code[:STEM_LENGTH])
    return {kind: entry for kind, entry in first.items() if len(stems[kind]) == 1 and kind not in typed_types}


def _with_brackets(text: str, floor: int, begin: int, entry: Entry) -> Match:
    """Return the match around a code that begins there, with all of the placeholder that is still around it."""
    end = begin + len(entry.code)
    kind = entry.entity_type[:LONGEST_TYPE]
    start = begin - len(kind) - 2
    if start >= floor and text[end : end + 1] == ">" and text[start:begin] == f"<{kind}_":
        return Match(start, end + 1, entry)
    floor = max(floor, end - _LONGEST_BRACKETED)
    start = _type_start(text, floor, begin, kind)
    gaps = _GAPS_AT_END.search(text, floor, start)
    inner = gaps.start() if gaps else start
    opened = _OPEN_AT_END.search(text, max(floor, inner - 6), inner)
    if opened is None:
        return Match(start, end, entry)
    closed = _GAPS_THEN_CLOSE.match(text, end, opened.start() + _LONGEST_BRACKETED)
    return Match(opened.start(), closed.end() if closed else end, entry)


def _type_start(text: str, floor: int, begin: int, kind: str) -> int:
    """Return where the type before a code begins, or the code's own begin if it is not there."""
    at = begin
    for word in reversed(kind.split("_")):
        gaps = _GAPS_AT_END.search(text, floor, at)
        if gaps is None and at == begin:
            return begin
        at = (gaps.start() if gaps else at) - len(word)
        if at < floor or text[at : at + len(word)].upper() != word:
            return begin
    return at


def _place(match: Match) -> int:
    return match.start


def _letters(text: str) -> str:
    return _GAPS.sub("", text).lower()


def _as_type(words: str) -> str:
    return _GAPS.sub("_", words).upper()
