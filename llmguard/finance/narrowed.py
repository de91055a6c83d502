"""What one app, owner, team, cost centre, model or preset spent: a part of what all of them did."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from llmguard.finance.questions import Dimension, Period
from llmguard.finance.spending import Key, Row, Spending


@dataclass(frozen=True, slots=True)
class NarrowedSpending:
    """Gives the sums of those traces that have a value in a dimension; the report of it is made as the whole one's.

    Attributes:
        whole: gives the sums over all.
        dimension: any but the day.
        value: what it has to be.
    """

    whole: Spending
    dimension: Dimension
    value: str

    def usage(self, by: tuple[Dimension, ...], period: Period) -> list[Row]:
        """Return as `Spending` says."""
        rows = self.whole.usage(self._with(by), period)
        return [
            {name: value for name, value in row.items() if name != self.dimension or name in by}
            for row in rows
            if row[self.dimension] == self.value
        ]

    def costs(self, by: tuple[Dimension, ...], period: Period) -> dict[Key, Decimal]:
        """Return as `Spending` says."""
        asked = self._with(by)
        places, place = [asked.index(name) for name in by], asked.index(self.dimension)
        costs = self.whole.costs(asked, period)
        return {tuple(key[one] for one in places): cost for key, cost in costs.items() if key[place] == self.value}

    def first_day(self, period: Period) -> date | None:
        """Return as `Spending` says."""
        return min((date.fromisoformat(str(row["day"])) for row in self.usage(("day",), period)), default=None)

    def _with(self, by: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
        return by if self.dimension in by else (self.dimension, *by)
