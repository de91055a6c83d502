"""How long requests and answers are kept; the figures of a trace stay when they go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

USUAL_DAYS = 183  # Source: Regulation (EU) 2024/1689, article 26 (6): logs are kept for at least six months


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Apps whose requests and answers are kept longer, and why."""

    apps: tuple[str, ...]
    days: int
    why: str


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """For how many days requests and answers are kept: by the sensitivity of the app (its word), and longer by rule."""

    days: Mapping[str, int] = field(default_factory=dict)
    rules: tuple[RetentionRule, ...] = ()

    def days_of(self, app: str, sensitivity: str) -> int:
        """Return how long payloads of an app are kept: by its sensitivity, or the longest rule that names it."""
        return max([self.days.get(sensitivity, USUAL_DAYS), *(rule.days for rule in self.rules if app in rule.apps)])

    @property
    def longest_days(self) -> int:
        """For traces of no app of the catalog: nobody knows any more what they hold, so no rule is cut short."""
        return max([USUAL_DAYS, *self.days.values(), *(rule.days for rule in self.rules)])


def end_of(days: int, now: datetime) -> datetime:
    """Return the instant before which payloads go."""
    return now - timedelta(days=days)
