"""What the analyzer reads: units of text, made of slots that know where they stand in the document.

A *field* is one string, number or key of the document. A *unit* is one text for the analyzer: a field as it is, or
the leaves of a JSON value as lines of `label: value`, so that a value is read beside its label, and hundreds of
short leaves cost one analysis. A *slot* is a part of a unit that is a text of the document; labels are in no slot
and never change.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

from llmguard.redaction.jsontext import lex, positions

# Where a field stands: dict keys and list indexes from the root of the document.
Path = tuple[str | int, ...]
DIGITS_OF_DATA = 6  # a key or id with as many may be a phone number or an account
DIGITS_OF_A_NUMBER = 4  # shorter JSON numbers are never read
Form = Literal["plain", "json", "number", "key"]


@dataclass(slots=True, eq=False)
class Field:
    """One text of the document.

    Attributes:
        path: where it stands.
        source: what stands there; for a number its literal.
        kind: what kind of node it is; a `key` is the last step of its path.
        pieces: for a text that came in the chunks of a stream: the place and the text of each piece of it.
    """

    path: Path
    source: str
    kind: Literal["text", "number", "key"] = "text"
    pieces: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Slot:
    """`unit.text[start:end]` is the text of `field.source[raw_start:raw_end]`.

    `json`, `number` and `key` are a string, a number and a key of the JSON text that the field holds, or (number, key)
    the field itself. `plain` is the field as it is.
    """

    field: Field
    start: int
    end: int
    form: Form = "plain"
    raw_start: int = 0
    raw_end: int = 0

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """Return where `unit.text[start:end]`, which lies in this slot, is written in the field."""
        if self.raw_end - self.raw_start == self.end - self.start:  # written without escapes
            return self.raw_start + start - self.start, self.raw_start + end - self.start
        places = positions(self.field.source[self.raw_start : self.raw_end])
        return self.raw_start + places[start - self.start], self.raw_start + places[end - self.start]


@dataclass(slots=True, eq=False)
class Unit:
    """One text for the analyzer. `slots` are in order and do not overlap; `where` names the place for people."""

    text: str
    slots: list[Slot]

    def slots_in(self, start: int, end: int) -> list[Slot]:
        """Return the slots that overlap a span."""
        first = max(0, bisect_right(self.slots, start, key=_start) - 1)
        found = []
        for slot in self.slots[first:]:
            if slot.start >= end:
                break
            if slot.end > start:
                found.append(slot)
        return found


class Lines:
    """A unit in the making, of many short texts with their labels."""

    __slots__ = ("_length", "_parts", "_slots")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._slots: list[Slot] = []
        self._length = 0

    def add(self, label: str, text: str, slot: Slot) -> None:
        """Add a line `label: text`; the slot's place in the unit is set here."""
        prefix = f"{label}: " if label else ""
        slot.start = self._length + len(prefix)
        slot.end = slot.start + len(text)
        self._slots.append(slot)
        self._parts += prefix, text, "\n"
        self._length = slot.end + 1

    def unit(self) -> list[Unit]:
        """Return the unit, or nothing if there is no line."""
        return [Unit("".join(self._parts), self._slots)] if self._slots else []


def text_units(path: Path, source: str) -> list[Unit]:
    """Return the unit of one text, nothing for an empty one."""
    return whole_unit(Field(path, source))


def whole_unit(one: Field) -> list[Unit]:
    """Return the unit of a field that is read as it is."""
    length = len(one.source)
    return [Unit(one.source, [Slot(one, 0, length, "plain", 0, length)])] if one.source.strip() else []


def json_units(one: Field) -> list[Unit] | None:
    """Return the unit of a field that holds a JSON object or array; None if it holds none."""
    leaves = lex(one.source)
    if leaves is None:
        return None
    lines = Lines()
    for form, label, text, start, end in leaves:
        if form != "key" or looks_like_data(text):
            lines.add(label, text, Slot(one, 0, 0, form, start, end))
    return lines.unit()


def looks_like_data(key: str) -> bool:
    """Return whether a JSON key may be personal data itself: an address, a long number, or words with capitals."""
    if "@" in key or sum(map(str.isdigit, key)) >= DIGITS_OF_DATA:
        return True
    words = key.split()
    return len(words) > 1 and all(word[0].isupper() for word in words)


def worth_reading(number: str) -> bool:
    """Return whether the literal of a JSON number may be personal data: an integer that is long enough."""
    return len(number) >= DIGITS_OF_A_NUMBER and number.lstrip("-").isdigit()


def _start(slot: Slot) -> int:
    return slot.start
