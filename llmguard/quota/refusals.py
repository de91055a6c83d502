"""Put a denial into words: what was asked, what is left, until when, and whom to ask."""

from typing import assert_never
from zoneinfo import ZoneInfo

from llmguard.domain.catalog import App
from llmguard.domain.money import to_usd
from llmguard.domain.quota import LimitName, QuotaRefusal, Standing
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
_NOUN = {"owner": "owner", "cost_center": "cost center"}  # of scopes that an app shares with others
_MINUTE_LIMITS = frozenset({"requests_per_minute", "tokens_per_minute"})
_HELD_RETRY_SECONDS = 1.0  # requests in flight end at any moment


def quota_refusal(app: App, denied: Denied) -> QuotaRefusal:
    """Return the refusal for an app whose reservation was denied.

    What heals within a minute is `rate_limit_exceeded` with the time to wait; a used-up day, month or budget, or a
    limit smaller than the request, is `insufficient_quota`, and says how to ask for more.
    """
    retry_after_seconds = _retry_after_seconds(denied)
    return QuotaRefusal(
        "insufficient_quota" if retry_after_seconds is None else "rate_limit_exceeded",
        _message(app, denied.tightest),
        hint=_hint(app, denied.tightest, waiting_helps=retry_after_seconds is not None),
        retry_after_seconds=retry_after_seconds,
        standings=denied.standings,
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
    kind, _, whose = standing.scope.partition(":")
    together = f"all apps of its {_NOUN[kind]} {whose} together" if kind in _NOUN else ""
    has = f", and {together} have" if together else " and has"
    match shortfall.obstacle:
        case Obstacle.LIMIT_TOO_SMALL:
            return f"{asked}, more than {f'what {together} may use:' if together else 'its whole limit of'} {limit}."
        case Obstacle.USED_UP:
            return f"{asked}{has} {left} left of {limit} until {_opening(shortfall)}."
        case Obstacle.HELD:
            held = _figure(name, standing.held)
            return f"{asked}{has} {left} free right now: of {limit}, {held} are held for requests still running."
        case _:
            assert_never(shortfall.obstacle)


def _hint(app: App, shortfall: Shortfall, *, waiting_helps: bool) -> str:
    standing = shortfall.standing
    if shortfall.obstacle is Obstacle.HELD:
        less, more = "Try again in a second.", "If this happens often, ask for more"
    elif standing.name == "requests_per_minute":
        less, more = "Send fewer requests", "or ask for more"
    else:
        less, more = "Lower max_tokens or shorten the prompt", "or ask for more"
    joined = f"{less} {more}" if less.endswith(".") else f"{less}, {more}"
    if waiting_helps:
        return f"{joined}: {_whom_to_ask(app, standing)}."
    return f"{joined}: {_how_to_ask(app, shortfall)}. {_who_decides(app, standing)}"


def _whom_to_ask(app: App, standing: Standing) -> str:
    if standing.scope.startswith("cost_center:"):
        return f"{app.owner}, who owns this app, can ask the CoE to raise the limit of the cost center"
    return f"{app.owner}, who owns this app, can ask the CoE to raise the limit"


def _how_to_ask(app: App, shortfall: Shortfall) -> str:
    """Return the request that would lift the obstacle, as a line to send and as a command to type."""
    standing = shortfall.standing
    kind = standing.scope.partition(":")[0]
    missing = standing.used + standing.held + shortfall.asked - standing.limit
    amount = f"{to_usd(missing).normalize():f}" if standing.name == "usd_per_month" else str(missing)
    scope, option = (f', "scope": "{kind}"', f" --scope {kind}") if kind in _NOUN else ("", "")
    body = f'{{"limit": "{standing.name}", "amount": {amount}{scope}, "reason": "..."}}'
    return (
        f"POST {body} to /v1/me/overage with this app's key, or run "
        f'`llmguard overage request {app.name} {standing.name} {amount}{option} --reason "..."`'
    )


def _who_decides(app: App, standing: Standing) -> str:
    if standing.scope.partition(":")[0] in _NOUN:
        return "An approver of the organisation decides."
    return f"Somebody other than {app.owner}, who owns this app, decides."


def _opening(shortfall: Shortfall) -> str:
    """Return when the amount fits again: a minute opens before its last slot leaves, a day and a month at their end."""
    if shortfall.opens_at is None:
        return "the limit is raised"
    opens = to_datetime(shortfall.opens_at)
    if shortfall.standing.name in _MINUTE_LIMITS:
        return f"{opens:%H:%M:%S} UTC"
    zone = shortfall.standing.time_zone
    opens = opens.astimezone(ZoneInfo(zone))
    return f"{opens.day} {opens:%B %H:%M} {zone}"


def _quantity(name: LimitName, amount: int) -> str:
    if name == "usd_per_month":
        return f"{_figure(name, amount)} USD"
    return f"{_figure(name, amount)} {_UNIT[name]}{'' if amount == 1 else 's'}"


def _figure(name: LimitName, amount: int) -> str:
    return f"{to_usd(amount).normalize():f}" if name == "usd_per_month" else f"{amount:,}"
