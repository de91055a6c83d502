"""What the analyzer hands out: findings, and for the curious why each is there or is not."""

from dataclasses import dataclass
from typing import Literal

Action = Literal["hide", "drop", "block", "keep", "report"]
Fate = Literal["found", "below_threshold", "duplicate", "allowed", "implausible", "overlapped", "trimmed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One detected span: `text[start:end]`. It never holds the text itself."""

    start: int
    end: int
    entity_type: str
    score: float
    recognizer: str


@dataclass(frozen=True, slots=True)
class ExplainedFinding:
    """A span that some recognizer proposed, and what became of it.

    Attributes:
        start: first character.
        end: one past the last character.
        entity_type: Presidio's entity name.
        score: 0 to 1, with the context's share.
        recognizer: name of the recognizer that proposed it.
        pattern: name of the pattern or rule inside the recognizer; None for the NER model.
        context_word: the word nearby that raised the score, if one did.
        fate: `found` is a finding, `trimmed` one that lost a part to a stronger neighbour, all others are dropped.
        reason: the fate in words for people; never holds the text.
    """

    start: int
    end: int
    entity_type: str
    score: float
    recognizer: str
    pattern: str | None
    context_word: str | None
    fate: Fate
    reason: str
