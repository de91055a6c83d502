"""Put a denial into words: what was asked, what is left, until when, and whom to ask."""

from typing import assert_never

from llmguard.domain.catalog import App
from llmguard.domain.money import to_usd
from llmguard.domain.quota import LimitName, QuotaRefusal
from llmguard.quota.operations import Denied, Obstacle, Shortfall
from llmguard.quota.windows import SECOND, to_datetime

_PERIOD: dict[LimitName, str] = {
    "requests_per_minute": "a minute",
    "tokens_per_minute": "a minute",
    "tokens_per_day": "a day",
    "tokens_per_month": "a month",
    "usd_per_month": "a month",
}
_UNIT: dict[LimitName, str] = {
    "requests_per_minute": "request",
    "tokens_per_minute": "token",
    "tokens_per_day": "token",
    "tokens_per_month": "token",
}
_MINUTE_LIMITS = frozenset({"requests_per_minute", "tokens_per_minute"})
_HELD_RETRY_SECONDS = 1.0  # requests in flight end at any moment


def quota_refusal(app: App, scope: str, denied: Denied) -> QuotaRefusal:
    """Return the refusal for an app whose reservation was denied.

    What heals within a minute is `rate_limit_exceeded` with the time to wait; a used-up day, month or budget, or a
    limit smaller than the request, is `insufficient_quota`.
    """
    retry_after_seconds = _retry_after_seconds(denied)
    return QuotaRefusal(
        "insufficient_quota" if retry_after_seconds is None else "rate_limit_exceeded",
        _message(app, denied.tightest),
        hint=_hint(app, denied.tightest),
        retry_after_seconds=retry_after_seconds,
        standings=denied.standings[scope],
    )


def _retry_after_seconds(denied: Denied) -> float | None:
    match denied.tightest:
        case Shortfall(obstacle=Obstacle.HELD):
            return _HELD_RETRY_SECONDS
        case Shortfall(obstacle=Obstacle.USED_UP, opens_at=int(opens_at), standing=standing):
            return (opens_at - denied.now) / SECOND if standing.name in _MINUTE_LIMITS else None
        case _:
            return None


def _message(app: App, shortfall: Shortfall) -> str:
    standing = shortfall.standing
    name = standing.name
    asked = f"{app.name} asked for up to {_quantity(name, shortfall.asked)}"
    limit = f"{_quantity(name, standing.limit)} {_PERIOD[name]}"
    left = _figure(name, standing.left)
    match shortfall.obstacle:
        case Obstacle.LIMIT_TOO_SMALL:
            return f"{asked}, more than its whole limit of {limit}."
        case Obstacle.USED_UP:
            return f"{asked} and has {left} left of {limit} until {_opening(shortfall)}."
        case Obstacle.HELD:
            held = _figure(name, standing.held)
            return f"{asked} and has {left} free right now: of {limit}, {held} are held for requests still running."
        case _:
            assert_never(shortfall.obstacle)


def _hint(app: App, shortfall: Shortfall) -> str:
    more = f"ask {app.owner}, who owns this app, to apply for a larger quota"
    if shortfall.obstacle is Obstacle.HELD:
        return f"Try again in a second. If this happens often, {more}."
    if shortfall.standing.name == "requests_per_minute":
        return f"Send fewer requests, or {more}."
    return f"Lower max_tokens or shorten the prompt, or {more}."


def _opening(shortfall: Shortfall) -> str:
    """Return when the amount fits again: a minute opens before its last slot leaves, a day and a month at their end."""
    if shortfall.opens_at is None:
        return "the limit is raised"
    opens = to_datetime(shortfall.opens_at)
    if shortfall.standing.name in _MINUTE_LIMITS:
        return f"{opens:%H:%M:%S} UTC"
    return f"{opens.day} {opens:%B %H:%M} UTC"


def _quantity(name: LimitName, amount: int) -> str:
    if name == "usd_per_month":
        return f"{_figure(name, amount)} USD"
    return f"{_figure(name, amount)} {_UNIT[name]}{'' if amount == 1 else 's'}"


def _figure(name: LimitName, amount: int) -> str:
    return f"{to_usd(amount).normalize():f}" if name == "usd_per_month" else f"{amount:,}"
