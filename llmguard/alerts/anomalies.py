"""Unusual use: the last six hours of an app against the same six hours of its own earlier days of the same kind.

The usual figure is the median of those hours over four weeks, working days and weekends apart, and the usual spread is
their median absolute deviation, never taken for less than a part of the usual figure or what chance alone does. Unusual
is what lies many spreads above, is larger than everything there to compare with, and exceeds the usual by an amount
that matters. Only more is told, never less. Pure; knows no database.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Final

from llmguard.domain.alerts import AnomalyRule, Metric
from llmguard.domain.money import NANO_PER_USD

WINDOW_HOURS: Final = 6
HISTORY_DAYS: Final = 28
_LEAST_WINDOWS: Final = 6  # to compare with; fewer have no spread worth the name
_MAD_TO_DEVIATION: Final = 1.4826  # of a normal distribution
_LEAST_SPREAD: Final = 0.15  # of the usual figure: days that are much alike are still no clockwork
_ABOVE_ALL: Final = 1.5  # times the largest figure of the past
_PART_OF_A_DAY: Final = 0.15  # of a usual day's sum: quiet hours double by chance, and nobody minds
_LEAST_RATE_SPREAD: Final = 0.01  # a percentage point, or a value a hundred requests
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class Use:
    """What an app did in six hours; money in nano-dollars. `day_…` is of the 24 hours that end with them."""

    requests: int = 0
    spend: int = 0
    tokens: int = 0
    errors: int = 0
    refusals: int = 0
    pii: int = 0
    day_spend: int = 0
    day_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One figure that is unusual, with the usual one and how it was judged."""

    metric: Metric
    seen: float
    expected: float
    highest: float
    score: float
    windows: int
    requests: int


@dataclass(frozen=True, slots=True)
class Measure:
    """How one metric is judged: a sum, with that of the day; or, without one, a share of the requests."""

    count: Callable[[Use], int]
    minimum: Callable[[AnomalyRule], int]
    day: Callable[[Use], int] | None = None


MEASURES: Final[dict[Metric, Measure]] = {
    "spend": Measure(lambda use: use.spend, lambda rule: rule.minimum_nano_usd, lambda use: use.day_spend),
    "tokens": Measure(lambda use: use.tokens, lambda rule: rule.minimum_tokens, lambda use: use.day_tokens),
    "errors": Measure(lambda use: use.errors, lambda rule: rule.minimum_errors),
    "refusals": Measure(lambda use: use.refusals, lambda rule: rule.minimum_refusals),
    "pii": Measure(lambda use: use.pii, lambda rule: rule.minimum_pii),
}


def find_anomalies(now: Use, past: Sequence[Use], rule: AnomalyRule) -> list[Anomaly]:
    """Return what is unusual.

    Args:
        now: the last six hours.
        past: the same hours of earlier days of the same kind, as many as the app has; without use they are zero.
        rule: the CoE's settings.
    """
    if len(past) < _LEAST_WINDOWS:
        return []
    found = (_judge(metric, now, past, rule) for metric in rule.watch)
    return [anomaly for anomaly in found if anomaly is not None]


def is_weekend(day: date) -> bool:
    """Whether the day is compared with weekends."""
    return day.weekday() >= _SATURDAY


def _judge(metric: Metric, now: Use, past: Sequence[Use], rule: AnomalyRule) -> Anomaly | None:
    measure = MEASURES[metric]
    count, least_excess = measure.count(now), float(measure.minimum(rule))
    if count < least_excess:
        return None
    if measure.day is None:
        requests, seen = now.requests, count / max(now.requests, 1)
        history = [measure.count(use) / use.requests for use in past if use.requests]
    else:
        requests, seen = 0, float(count)
        history = [float(measure.count(use)) for use in past]
        least_excess = max(least_excess, _PART_OF_A_DAY * median(measure.day(use) for use in past))
    if len(history) < _LEAST_WINDOWS:
        return None
    expected, highest = median(history), max(history)
    if count - expected * (requests or 1) < least_excess or seen < highest * _ABOVE_ALL:
        return None
    score = (seen - expected) / _spread(history, expected, requests)
    if score < rule.score:
        return None
    return Anomaly(metric, seen, expected, highest, score, len(history), now.requests)


def _spread(history: Sequence[float], expected: float, requests: int) -> float:
    deviation = median(abs(figure - expected) for figure in history) * _MAD_TO_DEVIATION
    least = [deviation, expected * _LEAST_SPREAD]
    if requests:  # of a share: what chance does with so few requests
        least += [_LEAST_RATE_SPREAD, math.sqrt(expected / requests)]
    return max(*least, 1.0 if not requests else 0.0)


def shown_figure(metric: Metric, figure: float) -> str:
    """Return a figure as people read it: dollars, tokens, a percentage, or values a request."""
    if metric == "spend":
        return f"{figure / NANO_PER_USD:,.2f} USD"
    if metric == "tokens":
        return f"{figure:,.0f} tokens"
    if metric == "pii":
        return f"{figure:.2f} values of personal data a request"
    return f"{figure:.1%} of requests {'failed' if metric == 'errors' else 'refused'}"
