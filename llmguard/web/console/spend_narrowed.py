"""What the page of spend is asked for: a month, by what, and of whom; it stands in the address."""

from dataclasses import dataclass
from typing import Annotated, Final, cast
from urllib.parse import urlencode

from fastapi import Query

from llmguard.finance.narrowed import NarrowedSpending
from llmguard.finance.questions import Dimension
from llmguard.finance.spending import Spending
from llmguard.web.console.layout import SPEND

Of = Annotated[str, Query(max_length=200, pattern="^$|^(app|owner|team|cost_center|model|preset):.+$")]

FILTERS: Final = frozenset[Dimension](("app", "owner", "cost_center", "model", "preset"))  # of traces, too
TITLES: Final[dict[Dimension, str]] = {
    "app": "App",
    "owner": "Owner",
    "team": "Team",
    "cost_center": "Cost centre",
    "model": "Model",
    "preset": "Preset",
    "day": "Day",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A month such as 2026-11, by what its rows are, and of whom: `app:expense-triage`; nothing: of all."""

    month: str
    by: Dimension = "app"
    of: Of = ""

    @property
    def narrowed(self) -> tuple[Dimension, str] | None:
        """Return of whom, as dimension and value; None: of all."""
        dimension, colon, value = self.of.partition(":")
        return (cast("Dimension", dimension), value) if colon else None  # checked by the pattern

    def spending(self, whole: Spending) -> Spending:
        """Return what they spent."""
        return whole if self.narrowed is None else NarrowedSpending(whole, *self.narrowed)

    def address(self, **changes: str) -> str:
        """Return the query of this page with changes."""
        given = {"month": self.month, "by": self.by, "of": self.of} | changes
        return urlencode({name: value for name, value in given.items() if value})

    def parts(self, dimension: Dimension, value: str | None) -> str | None:
        """Return where the parts of a row are; None where it has none to look at."""
        if value is None or self.narrowed is not None:
            return None
        return f"{SPEND}?{self.address(of=f'{dimension}:{value}', by='model' if dimension == 'app' else 'app')}"

    def traces(self, span: dict[str, str]) -> str | None:
        """Return where the traces of a row are; None where they cannot be searched for."""
        whose: dict[str, str] = {}
        if self.narrowed is not None:
            dimension, value = self.narrowed
            if dimension not in FILTERS:
                return None
            whose = {dimension: value}
        return f"/console/traces?{urlencode(whose | span)}"
