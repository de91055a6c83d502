"""Hours of made-up use of an app: a daily and weekly rhythm, noise with heavy tails, and what a test adds to it."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from llmguard.alerts.anomalies import HISTORY_DAYS, WINDOW_HOURS, Anomaly, Use, find_anomalies, is_weekend
from llmguard.domain.alerts import AnomalyRule

START = datetime(2026, 8, 3, tzinfo=UTC)  # a Monday
CHANGED_AT = 24 * 7 * 6 + 24 * 2 + 9  # a Wednesday, 09:00, after six weeks
NANO_A_TOKEN = 600  # 0.60 USD a million
Change = Callable[[int, Use], Use]


def hours_of_an_app(seed: int, weeks: int, *, requests_an_hour: float = 400.0, change: Change | None = None):
    """Return one Use an hour, from a Monday 00:00 UTC on; the same seed gives the same figures."""
    luck = random.Random(seed)
    night, weekend = luck.uniform(0.02, 0.3), luck.uniform(0.05, 0.5)
    peak, noise = luck.uniform(10, 15), luck.uniform(0.1, 0.35)
    tokens_a_request, error_rate, pii_rate = luck.uniform(300, 3000), luck.uniform(0.001, 0.02), luck.uniform(0.0, 0.8)
    hours = []
    mood = 0.0  # days differ, and neighbouring hours have much in common
    for index in range(weeks * 168):
        moment = START + timedelta(hours=index)
        mood = 0.8 * mood + luck.gauss(0, noise * 0.6)
        rhythm = night + (1 - night) * max(0.0, math.cos((moment.hour - peak) / 24 * 2 * math.pi)) ** 1.5
        rhythm *= weekend if is_weekend(moment.date()) else 1.0
        rhythm *= 0.8 if moment.weekday() == 4 else 1.0
        burst = luck.uniform(1.5, 4) if luck.random() < 0.005 else 1.0  # a job somebody starts by hand
        requests = int(requests_an_hour * rhythm * burst * math.exp(mood + luck.gauss(0, noise)))
        tokens = int(requests * tokens_a_request * math.exp(luck.gauss(0, 0.15)))
        errors = _poisson(luck, requests * error_rate * (luck.uniform(2, 6) if luck.random() < 0.01 else 1))
        use = Use(
            requests,
            tokens * NANO_A_TOKEN,
            tokens,
            errors,
            _poisson(luck, requests * 0.01),
            _poisson(luck, requests * pii_rate * math.exp(luck.gauss(0, 0.2))),
        )
        hours.append(change(index, use) if change else use)
    return hours


def judged(hours: list[Use], rule: AnomalyRule, *, first: int = 0) -> Iterator[tuple[int, list[Anomaly]]]:
    """Yield the end of each six hours with what is unusual in them, as the gateway would see it hour by hour."""
    sums = [
        replace(
            _sum(hours[max(0, end - WINDOW_HOURS) : end]),
            day_spend=sum(hour.spend for hour in hours[max(0, end - 24) : end]),
            day_tokens=sum(hour.tokens for hour in hours[max(0, end - 24) : end]),
        )
        for end in range(len(hours) + 1)
    ]
    for end in range(max(first, WINDOW_HOURS), len(hours) + 1):
        middle = START + timedelta(hours=end - WINDOW_HOURS / 2)
        days = min(HISTORY_DAYS, (end - WINDOW_HOURS) // 24)
        if days < rule.least_history_days:
            continue
        same = [
            sums[end - 24 * back]
            for back in range(1, days + 1)
            if is_weekend((middle - timedelta(days=back)).date()) == is_weekend(middle.date())
        ]
        yield end, find_anomalies(sums[end], same, rule)


def episodes(hours: list[Use], rule: AnomalyRule, *, first: int = 0) -> list[tuple[int, Anomaly]]:
    """Return the first hour of each episode: one alert a metric, until a day has passed without."""
    last: dict[str, int] = {}
    found = []
    for end, anomalies in judged(hours, rule, first=first):
        for anomaly in anomalies:
            if end - last.get(anomaly.metric, -10_000) > 24:
                found.append((end, anomaly))
            last[anomaly.metric] = end
    return found


def _sum(hours: list[Use]) -> Use:
    names = ("requests", "spend", "tokens", "errors", "refusals", "pii")
    return Use(*(sum(getattr(hour, name) for hour in hours) for name in names))


def _poisson(luck: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(luck.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, luck.random()
    while product > limit:
        count += 1
        product *= luck.random()
    return count


def times(factor, *, hours):
    def change(index, use):
        if not CHANGED_AT <= index < CHANGED_AT + hours:
            return use
        return replace(
            use,
            requests=int(use.requests * factor),
            spend=int(use.spend * factor),
            tokens=int(use.tokens * factor),
            errors=int(use.errors * factor),
            refusals=int(use.refusals * factor),
            pii=int(use.pii * factor),
        )

    return change


def drift(a_day):
    def change(index, use):
        days = max(0, index - CHANGED_AT) / 24
        return times((1 + a_day) ** days, hours=10**6)(index, use)

    return change


def rate(name, share):
    def change(index, use):
        if not CHANGED_AT <= index < CHANGED_AT + 6:
            return use
        return replace(use, **{name: getattr(use, name) + int(use.requests * share)})

    return change


# What changes, the metric that should tell, and within how many hours.
CHANGES = {
    "spike x3 for 6 h": (times(3, hours=6), "tokens", 12),
    "spike x5 for 3 h": (times(5, hours=3), "tokens", 9),
    "level x2 from then on": (times(2, hours=10**6), "tokens", 48),
    "level x3 from then on": (times(3, hours=10**6), "tokens", 48),
    "drift +5 % a day": (drift(0.05), "tokens", 24 * 28),
    "drift +10 % a day": (drift(0.10), "tokens", 24 * 28),
    "10 % of requests fail for 6 h": (rate("errors", 0.1), "errors", 12),
    "20 % of requests refused for 6 h": (rate("refusals", 0.2), "refusals", 12),
    "two more values of PII a request for 6 h": (rate("pii", 2.0), "pii", 12),
}
