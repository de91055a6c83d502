"""Which limits have filled up to a threshold: once a window, threshold and limit in force. Pure; knows no database.

Counted is what is used, not what requests in flight hold for a moment. A grant of overage makes the limit another one,
with thresholds of its own; when it ends, those that were told before are not told again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from llmguard.alerts.event import Alert
from llmguard.domain.alerts import AlertPolicy
from llmguard.domain.catalog import App, QuotaScope, Registry
from llmguard.domain.quota import LimitName, Standing
from llmguard.quota.overage import shown_amount

TYPE: Final = "com.llmguard.limit.reached"
_WORDS: Final[dict[LimitName, str]] = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "tokens_per_day": "tokens a day",
    "tokens_per_month": "tokens a month",
    "usd_per_month": "USD a month",
}
_WHOSE: Final = {"app": "The app", "owner": "All apps of", "cost_center": "Cost center"}


@dataclass(frozen=True, slots=True)
class Watched:
    """A scope that has limits, and the apps that count for it."""

    scope: QuotaScope
    apps: tuple[App, ...]

    @property
    def cost_centers(self) -> frozenset[str]:
        """Who pays for these apps."""
        return frozenset(app.cost_center for app in self.apps)


def watched_scopes(registry: Registry) -> tuple[Watched, ...]:
    """Return every scope of the registry once, with its apps."""
    apps: dict[str, list[App]] = {}
    scopes: dict[str, QuotaScope] = {}
    for app in registry.apps.values():
        for scope in app.scopes:
            scopes[scope.id] = scope
            apps.setdefault(scope.id, []).append(app)
    return tuple(Watched(scope, tuple(apps[scope_id])) for scope_id, scope in scopes.items())


def limit_alerts(watched: Mapping[str, Watched], standings: Sequence[Standing], policy: AlertPolicy) -> Iterator[Alert]:
    """Yield an alert for the highest threshold that each limit has reached; it covers those below."""
    for standing in standings:
        is_minute = standing.name.endswith("minute")
        reached = [percent for percent in policy.percents if standing.used * 100 >= percent * standing.limit]
        if reached and (policy.minute_limits or not is_minute):
            yield _alert(watched[standing.scope], standing, reached)


def _alert(watched: Watched, standing: Standing, reached: list[int]) -> Alert:
    ends = standing.resets_at.replace(microsecond=0)
    if standing.name.endswith("minute"):  # a rolling minute has no borders: the calendar minute stands for its window
        ends = ends.replace(second=0)
    window = f"limit|{standing.scope}|{standing.name}|{ends.isoformat()}|{standing.granted}"
    *lower, percent = reached
    name = standing.name
    return Alert(
        key=f"{window}|{percent}",
        type=TYPE,
        subject=standing.scope,
        cost_centers=watched.cost_centers,
        data={
            "message": _message(watched, standing, percent),
            "scope": watched.scope.kind,
            "apps": sorted(app.name for app in watched.apps),
            "limit_name": name,
            "threshold_percent": percent,
            "used_percent": standing.used * 100 // standing.limit,
            "limit": shown_amount(name, standing.limit),
            "granted": shown_amount(name, standing.granted),
            "used": shown_amount(name, standing.used),
            "left": shown_amount(name, standing.left),
            "resets_at": standing.resets_at.isoformat(),
            "time_zone": standing.time_zone,
            "owners": sorted({app.owner for app in watched.apps}),
        },
        covers=tuple(f"{window}|{one}" for one in lower),
    )


def _message(watched: Watched, standing: Standing, percent: int) -> str:
    name, scope = standing.name, watched.scope
    granted = f" ({shown_amount(name, standing.granted)} of it granted on top)" if standing.granted else ""
    verb = "have" if scope.kind == "owner" else "has"
    return (
        f"{_WHOSE[scope.kind]} {scope.name} {verb} used {standing.used * 100 // standing.limit} % of {_WORDS[name]}: "
        f"{shown_amount(name, standing.used)} of {shown_amount(name, standing.limit)}{granted}. The threshold is "
        f"{percent} %. It resets at {standing.resets_at:%Y-%m-%d %H:%M} UTC."
    )
