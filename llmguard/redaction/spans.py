"""Findings cut to the slots of a unit: what exactly is hidden, and under which type."""

from collections.abc import Sequence
from typing import NamedTuple

from llmguard.redaction.findings import Finding
from llmguard.redaction.normalise import PERSON, is_title
from llmguard.redaction.units import Slot, Unit


class Span(NamedTuple):
    """`unit.text[start:end]`, which lies in one slot, is personal data of that type."""

    start: int
    end: int
    entity_type: str
    slot: Slot


def spans_of(unit: Unit, findings: Sequence[Finding], closed: Sequence[tuple[int, int]]) -> list[Span]:
    """Return the spans of a unit, in order and not overlapping, none of them in a closed place.

    A finding over several leaves becomes a span in each; labels, spaces at the ends and placeholders that already stand
    there are left out. A number is taken whole.
    """
    spans: list[Span] = []
    for finding in findings:
        for slot in unit.slots_in(finding.start, finding.end):
            inner = max(finding.start, slot.start), min(finding.end, slot.end)
            for start, end in _outside(*inner, closed):
                span = cut_to_slot(unit, start, end, finding.entity_type, slot)
                if span is not None and (not spans or span.start >= spans[-1].end):
                    spans.append(span)
    return spans


def cut_to_slot(unit: Unit, start: int, end: int, entity_type: str, slot: Slot) -> Span | None:
    """Return a span inside one slot as it may be hidden, None if nothing of it may."""
    if slot.form == "number":
        return Span(slot.start, slot.end, entity_type, slot)
    text = unit.text[start:end]
    start += len(text) - len(text.lstrip())
    end -= len(text) - len(text.rstrip())
    if not any(map(str.isalnum, text)) or (entity_type == PERSON and is_title(text.strip())):
        return None
    return Span(start, end, entity_type, slot)


def _outside(start: int, end: int, closed: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what is left of a span outside the closed ones."""
    pieces = []
    for closed_start, closed_end in closed:
        if closed_end <= start or closed_start >= end:
            continue
        if closed_start > start:
            pieces.append((start, closed_start))
        start = closed_end
    return [*pieces, (start, end)] if start < end else pieces
