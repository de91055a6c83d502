"""A span on its way to become a finding, and the two rules that thin spans out.

Both rules are pure functions over lists of candidates:

1. *Duplicates* (Presidio's own rule): of the same entity, a span inside another one whose score is at least as high
   is dropped.
2. *Overlaps*: where spans of different kinds meet, the stronger one keeps the place and the weaker one keeps what is
   left of it. Stronger is, in this order: its action (block, then hide and drop, then report), a validated value
   (score 1.0: checksum, deny list), a pattern with evidence (score 0.5 or a context word) over the language model's
   guess, the longer span, the higher score, patterns over NER, the earlier start, the entity's name. A remainder
   without at least two letters or digits is dropped.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from llmguard.redaction.findings import Action, Fate

CERTAIN = 1.0
_STRENGTH: Mapping[Action, int] = {"block": 0, "hide": 1, "drop": 1, "report": 2, "keep": 3}
_EVIDENT = 0.5
_LEAST_REMAINDER = 2  # letters or digits


@dataclass(slots=True)
class Candidate:
    """One proposed span; `context` are the words that may raise its score, lower case."""

    start: int
    end: int
    entity_type: str
    score: float
    recognizer: str
    pattern: str | None = None
    context: tuple[str, ...] = ()
    threshold: float | None = None
    context_word: str | None = None
    fate: Fate = "found"
    reason: str = ""

    @property
    def is_evident(self) -> bool:
        """Whether a pattern stands on more than its shape: the language model's guess at the same place is weaker."""
        return self.pattern is not None and (self.score >= _EVIDENT or self.context_word is not None)

    def leave(self, fate: Fate, reason: str) -> None:
        """Note why it is no finding, or not all of it."""
        self.fate = fate
        self.reason = reason


def drop_duplicates(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates without those inside an equally sure one of their entity.

    Source: presidio_analyzer 2.2.366, `EntityRecognizer.remove_duplicates`.
    """
    if len(candidates) == 1:
        return candidates
    kept: list[Candidate] = []
    active: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda item: (item.entity_type, item.start, -item.end, -item.score)):
        active = [other for other in active if other.end >= candidate.start and _same_entity(other, candidate)]
        around = (other for other in active if candidate.end <= other.end and candidate.score <= other.score)
        holder = next(around, None)
        if holder is None:
            kept.append(candidate)
            active.append(candidate)
        else:
            candidate.leave("duplicate", f"inside another {holder.entity_type} that {holder.recognizer} found")
    return kept


def _same_entity(one: Candidate, other: Candidate) -> bool:
    return one.entity_type == other.entity_type


def resolve_overlaps(
    candidates: Iterable[Candidate], actions: Mapping[str, Action], text: str
) -> list[tuple[int, int, Candidate]]:
    """Return disjoint `(start, end, candidate)`, sorted; a weaker candidate keeps what stronger ones leave of it."""
    taken: list[tuple[int, int, Candidate]] = []
    by_place = sorted(candidates, key=lambda item: item.start)
    for group in _touching(by_place):
        if len(group) == 1:
            taken.append((group[0].start, group[0].end, group[0]))
            continue
        taken.extend(_resolve(sorted(group, key=lambda item: _rank(item, actions)), text))
    return taken


def _touching(by_place: list[Candidate]) -> Iterable[list[Candidate]]:
    """Yield runs of candidates that overlap directly or through one another."""
    group: list[Candidate] = []
    end = -1
    for candidate in by_place:
        if group and candidate.start >= end:
            yield group
            group = []
        group.append(candidate)
        end = max(end, candidate.end) if len(group) > 1 else candidate.end
    if group:
        yield group


def _rank(candidate: Candidate, actions: Mapping[str, Action]) -> tuple[float | int | str | bool, ...]:
    return (
        _STRENGTH[actions.get(candidate.entity_type, "keep")],
        candidate.score < CERTAIN,
        not candidate.is_evident,
        candidate.start - candidate.end,
        -candidate.score,
        candidate.pattern is None,
        candidate.start,
        candidate.entity_type,
    )


def _resolve(strongest_first: list[Candidate], text: str) -> list[tuple[int, int, Candidate]]:
    taken: list[tuple[int, int, Candidate]] = []
    for candidate in strongest_first:
        pieces = [(candidate.start, candidate.end)]
        rivals = [item for item in taken if item[0] < candidate.end and candidate.start < item[1]]
        for start, end, _ in rivals:
            pieces = [part for piece in pieces for part in _subtract(piece, start, end)]
        if rivals:
            pieces = [part for piece in pieces if (part := _strip(text, *piece)) is not None]
            _note_overlap(candidate, rivals[0][2], lost=not pieces)
        taken.extend((start, end, candidate) for start, end in pieces)
    return sorted(taken, key=lambda item: item[0])


def _note_overlap(candidate: Candidate, rival: Candidate, *, lost: bool) -> None:
    name = f"{rival.entity_type} that {rival.recognizer} found"
    if lost:
        candidate.leave("overlapped", f"its place is taken by the {name}")
    else:
        candidate.leave("trimmed", f"a part of it is taken by the {name}")


def _subtract(piece: tuple[int, int], start: int, end: int) -> list[tuple[int, int]]:
    sides = ((piece[0], min(piece[1], start)), (max(piece[0], end), piece[1]))
    return [side for side in sides if side[0] < side[1]]


def _strip(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the piece without punctuation at its ends, or None when nothing worth hiding is left."""
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    told = sum(1 for character in text[start : start + 64] if start < end and character.isalnum())
    return (start, end) if end > start and min(told, end - start) >= _LEAST_REMAINDER else None
