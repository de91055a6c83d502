"""Findings cut to the slots of a unit, and the edits that they become: what exactly is hidden, and where.

Edits are changes of a text by place, also of a text that came in pieces, and of the document that it stands in.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple

from llmguard.domain.chat import JsonObject
from llmguard.redaction.findings import Finding
from llmguard.redaction.placeholders import PERSON, is_title
from llmguard.redaction.units import Field, Path, Slot, Unit


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
            for start, end in _outside(*inner, closed) if closed else (inner,):
                span = cut_to_slot(unit, start, end, finding.entity_type, slot)
                if span is not None and (not spans or span.start >= spans[-1].end):
                    spans.append(span)
    return spans


def cut_to_slot(unit: Unit, start: int, end: int, entity_type: str, slot: Slot) -> Span | None:
    """Return a span inside one slot as it may be hidden, None if nothing of it may."""
    if slot.form == "number":
        return Span(slot.start, slot.end, entity_type, slot)
    text = unit.text[start:end]
    if text[:1].isspace() or text[-1:].isspace():
        start += len(text) - len(text.lstrip())
        end -= len(text) - len(text.rstrip())
    if not any(map(str.isalnum, text)) or (entity_type == PERSON and is_title(text.strip())):
        return None
    return Span(start, end, entity_type, slot)


def overlapping(closed: Sequence[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield those of many spans, in order and not overlapping each other, that overlap one span."""
    for place in range(bisect_right(closed, start, key=itemgetter(1)), len(closed)):
        if closed[place][0] >= end:
            return
        yield closed[place]


def _outside(start: int, end: int, closed: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what is left of a span outside the closed ones."""
    pieces = []
    for closed_start, closed_end in overlapping(closed, start, end):
        if closed_start > start:
            pieces.append((start, closed_start))
        start = closed_end
    return [*pieces, (start, end)] if start < end else pieces


class Edit(NamedTuple):
    """`text[start:end]` becomes the replacement."""

    start: int
    end: int
    replacement: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return the text after edits that are sorted and do not overlap."""
    parts: list[str] = []
    at = 0
    for start, end, replacement in edits:
        parts += text[at:start], replacement
        at = end
    parts.append(text[at:])
    return "".join(parts)


def recut(pieces: Sequence[str], edits: Sequence[Edit]) -> list[str]:
    """Return the pieces after edits of their concatenation: as many, cut at the same places.

    A replacement goes to the piece in which what it replaces begins.
    """
    ends = list(accumulate(map(len, pieces)))
    changed: list[str] = []
    pending = list(reversed(edits))
    covered = 0  # what an edit of an earlier piece has already replaced
    for piece, end in zip(pieces, ends, strict=True):
        begin = end - len(piece)
        at = max(begin, covered)
        parts: list[str] = []
        while pending and pending[-1].start < end:
            edit = pending.pop()
            parts += piece[at - begin : edit.start - begin], edit.replacement
            at = covered = edit.end
        parts.append(piece[at - begin :])
        changed.append("".join(parts))
    return changed


def changed_token(token: JsonObject, text: str) -> JsonObject:
    """Return a logprob token with another text, and nothing left that tells the text it had."""
    changed = token | {"token": text}
    if changed.get("bytes") is not None:
        changed["bytes"] = list(text.encode("utf-8", "replace"))
    if changed.get("top_logprobs"):
        changed["top_logprobs"] = []
    return changed


def rewrite(root: JsonObject, edits: Mapping[Field, list[Edit]]) -> JsonObject:
    """Return a copy of a document with its changed fields; what has not changed is shared.

    Args:
        root: the document that the paths of the fields lead through; never changed.
        edits: by field, sorted and not overlapping.
    """
    copies: dict[Path, Any] = {(): dict(root)}  # containers of any shape
    keys = [field for field in edits if field.kind == "key"]
    for field, changes in edits.items():
        if field.kind == "key":
            continue
        if not field.pieces:
            for path in (field.path, *field.also):
                _put(copies, path, apply(field.source, changes))
            continue
        for (path, old), new in zip(field.pieces, recut([text for _, text in field.pieces], changes), strict=True):
            if new != old:
                _put(copies, path, new)
                _forget_token(_own(copies, path[:-1]), new)
    for field in sorted(keys, key=lambda one: len(one.path), reverse=True):
        _rename(copies, field.path, apply(field.source, edits[field]))
    result: JsonObject = copies[()]
    return result


def _put(copies: dict[Path, Any], path: Path, text: str) -> None:
    _own(copies, path[:-1])[path[-1]] = text


def _forget_token(container: Any, text: str) -> None:  # what holds a text that has changed: a delta, or a logprob token
    """Take out what a logprob token says about its text elsewhere."""
    if isinstance(container, dict) and "token" in container:
        container.update(changed_token(container, text))


def _rename(copies: dict[Path, Any], path: Path, new: str) -> None:
    container = _own(copies, path[:-1])
    members = list(container.items())
    container.clear()
    container.update((new if key == path[-1] else key, value) for key, value in members)


def _own(copies: dict[Path, Any], path: Path) -> Any:  # a dict or list
    """Return the container at a path as a copy that may be changed."""
    if (known := copies.get(path)) is not None:
        return known
    parent = _own(copies, path[:-1])
    parent[path[-1]] = copies[path] = parent[path[-1]].copy()
    return copies[path]
