"""Charts as pages draw them: bars of one height each, in SVG of the server, with their figures beside them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

_HEIGHT: Final = 100
_STEP: Final = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, and the part of it that is marked; heights in percent of the chart."""

    label: str
    x: int
    height: float
    marked_height: float
    amount_shown: str
    marked_shown: str
    has_figures: bool

    @property
    def shown(self) -> str:
        """What it says when it is pointed at."""
        return f"{self.amount_shown}, {self.marked_shown} marked" if self.marked_height else self.amount_shown

    @property
    def top(self) -> float:
        """Where it begins, from above."""
        return round(_HEIGHT - self.height, 2)

    @property
    def marked_top(self) -> float:
        """Where the marked part begins: at the foot."""
        return round(_HEIGHT - self.marked_height, 2)


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars over time, with words for what they show."""

    title: str
    when: str
    amount_words: str
    marked_words: str
    bars: tuple[Bar, ...]
    peak: str
    nothing: str = "Nothing in this time."

    @property
    def width(self) -> int:
        """In its own units."""
        return _STEP * len(self.bars)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(bar.height for bar in self.bars)


def bar_chart(
    title: str,
    points: Iterable[tuple[str, float, float]],
    *,
    when: str,
    words: tuple[str, str],
    write: Callable[[float], str],
) -> Chart:
    """Return a chart of points: each a label, an amount, and the part of it that is marked (0: none).

    Args:
        title: what the chart is.
        points: oldest first.
        when: what a label is, such as day.
        words: what the amount is, and what its marked part is; that one empty: nothing is marked.
        write: how an amount is written.
    """
    given = list(points)
    most = max((amount for _, amount, _ in given), default=0)
    bars = tuple(
        Bar(
            label,
            index * _STEP + 1,
            _share(amount, most),
            _share(marked, most),
            write(amount),
            write(marked),
            has_figures=bool(amount),
        )
        for index, (label, amount, marked) in enumerate(given)
    )
    return Chart(title, when, words[0], words[1], bars, write(most) if most else "")


def _share(amount: float, most: float) -> float:
    """Return a height in percent; what is there at all is seen."""
    return max(1.0, round(_HEIGHT * amount / most, 1)) if amount and most else 0
