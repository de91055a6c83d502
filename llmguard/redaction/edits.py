"""Changes of a text by place, also of a text that came in pieces."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple


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
