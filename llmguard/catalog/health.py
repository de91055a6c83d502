"""Whether an app works, and what will soon keep it from working: from catalog, keys, limits and traces."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from llmguard.domain.catalog import App
from llmguard.domain.errors import Refusal
from llmguard.domain.quota import Standing
from llmguard.identity.key_store import Key
from llmguard.policy.decide import check_app

Level = Literal["fine", "care", "wrong"]
_APP_ENDS: Final = timedelta(days=30)
_KEY_ENDS: Final = timedelta(days=14)
_NEARLY: Final = 0.8
_MANY_FAULTS: Final = 0.05
_FEW_REQUESTS: Final = 20
_ORDER: Final[dict[Level, int]] = {"wrong": 0, "care": 1, "fine": 2}


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that is, or will be, in the way; and what to do about it."""

    level: Level
    words: str
    fix: str


@dataclass(frozen=True, slots=True)
class Use:
    """How requests of an app ended lately."""

    requests: int
    faults: int


def worst(concerns: Iterable[Concern]) -> Level:
    """Return how an app is, by the worst that is said of it."""
    return min((concern.level for concern in concerns), key=_ORDER.__getitem__, default="fine")


def catalog_concerns(app: App, today: date) -> list[Concern]:
    """Return what the catalog has against an app: its state, and its end."""
    try:
        check_app(app, today=today, origin=None)
    except Refusal as refusal:
        return [Concern("wrong", refusal.message, refusal.hint or "Ask the CoE.")]
    if app.expires is not None and app.expires - today <= _APP_ENDS:
        days = (app.expires - today).days
        when = {0: "today", 1: "tomorrow"}.get(days, f"in {days} days, on {app.expires:%-d %b %Y}")
        return [Concern("care", f"Its approval ends {when}.", "Renew it below.")]
    return []


def key_concerns(keys: Sequence[Key], now: datetime) -> list[Concern]:
    """Return what is wrong with the keys of an app, as a whole."""
    working = [key for key in keys if key.state_at(now) in ("valid", "rotating")]
    if not working:
        return [Concern("wrong", "It has no key that works.", "Issue one below.")]
    longest = max((key.expires_at for key in working if key.expires_at is not None), default=None)
    endless = any(key.expires_at is None for key in working)
    if not endless and longest is not None and longest - now <= _KEY_ENDS:
        words = f"Its last key ends on {longest:%-d %b %Y}."
        return [Concern("care", words, "Rotate it below; the old secret works for another week.")]
    return []


def quota_concerns(standings: Iterable[Standing]) -> list[Concern]:
    """Return which limits of days and months are nearly used up, or are."""
    concerns = []
    for standing in standings:
        if standing.name.endswith("_minute") or not standing.limit:
            continue
        used = (standing.used + standing.held) / standing.limit
        if used >= _NEARLY:
            name = standing.name.replace("_", " ").replace("usd", "USD")
            words = f"{used:.0%} of its {name} are used." if used < 1 else f"Its {name} are used up."
            until = f"{standing.resets_at:%-d %b %Y, %H:%M} UTC"
            level: Level = "care" if used < 1 else "wrong"
            concerns.append(Concern(level, words, f"It starts anew {until}; or ask for more."))
    return concerns


def use_concerns(use: Use) -> list[Concern]:
    """Return what the last day's requests say: many of them failed."""
    if use.requests < _FEW_REQUESTS or use.faults / use.requests < _MANY_FAULTS:
        return []
    words = f"{use.faults:,} of {use.requests:,} requests of the last 24 hours failed."
    return [Concern("care", words, "Not the app's fault: the provider, or llmguard. Whoever runs llmguard sees which.")]
