"""Long texts in pieces: windows that overlap, cut at whitespace, each owning the findings that start in it."""

from collections.abc import Iterator
from dataclasses import dataclass

_CUT_REACH = 256  # characters to look back for whitespace before cutting through a word


@dataclass(frozen=True, slots=True)
class Window:
    """`text[start:end]` is looked at; what starts in `owned_start` up to `owned_end` counts."""

    start: int
    end: int
    owned_start: int
    owned_end: int

    def owns(self, start: int) -> bool:
        """Say whether a finding that starts here (in the whole text) is this window's to report."""
        return self.owned_start <= start < self.owned_end


def windows(text: str, size: int, overlap: int) -> Iterator[Window]:
    """Yield windows of at most `size` characters that cover the text; neighbours share about `overlap` characters.

    Every position is owned by exactly one window, with half the overlap of context on each side. So a finding is the
    same as on the whole text if it is shorter than half the overlap and its rule looks no farther.
    """
    length = len(text)
    start = owned_start = 0
    while start + size < length:
        end = _cut(text, start + size)
        owned_end = max(_cut(text, end - overlap // 2), owned_start + 1)
        yield Window(start, end, owned_start, owned_end)
        start, owned_start = max(_cut(text, end - overlap), start + 1), owned_end
    yield Window(start, length, owned_start, length + 1)


def _cut(text: str, place: int) -> int:
    """Return a place to cut at or shortly before `place`: after a line end, else after whitespace, else right there."""
    least = max(place - _CUT_REACH, 0)
    newline = text.rfind("\n", least, place)
    if newline >= 0:
        return newline + 1
    for here in range(place, least, -1):
        if text[here - 1].isspace():
            return here
    return place
