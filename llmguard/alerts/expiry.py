"""Which apps are about to end: before, and on, the last day of their approval. Pure."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

from llmguard.alerts.event import Alert
from llmguard.domain.catalog import App, Registry

EXPIRING: Final = "com.llmguard.app.expiring"
EXPIRED: Final = "com.llmguard.app.expired"
_STILL_TOLD = timedelta(days=3)  # after a weekend in which nothing ran, the last day is still told
_ENDED = frozenset({"retired"})


def expiry_alerts(registry: Registry, days_before: tuple[int, ...], today: date) -> Iterator[Alert]:
    """Yield an alert for each app whose last day is near; the nearest threshold covers the earlier ones."""
    for app in registry.apps.values():
        last_day = app.last_day
        if last_day is None or app.status in _ENDED or last_day + _STILL_TOLD < today:
            continue
        left = (last_day - today).days
        reached = sorted(days for days in days_before if left <= days)
        if reached:
            yield _alert(app, last_day, left, reached)


def _alert(app: App, expires: date, left: int, reached: list[int]) -> Alert:
    nearest, *earlier = reached
    key = f"expiry|{app.name}|{expires.isoformat()}|"
    if left < 0:
        when = f"ended on {expires.isoformat()}, and its requests are refused"
    elif left == 0:
        when = f"ends today, {expires.isoformat()} (UTC), and from tomorrow its requests are refused"
    else:
        when = f"ends in {left} day{'s' if left > 1 else ''}, on {expires.isoformat()}"
    what, todo = "approval of the app", f"To renew it: `llmguard apps renew {app.name}`."
    if app.last_day != app.expires:
        what, todo = "deprecated app", f"Use instead: {app.instead or 'ask its owner'}."
    return Alert(
        key=f"{key}{nearest}",
        type=EXPIRED if left < 0 else EXPIRING,
        subject=f"app:{app.name}",
        cost_centers=frozenset({app.cost_center}),
        data={
            "message": f"The {what} {app.name} {when}. {todo}",
            "app": app.name,
            "owner": app.owner,
            "backup_owner": app.backup_owner,
            "expires": expires.isoformat(),
            "days_left": left,
            "threshold_days": nearest,
        },
        covers=tuple(f"{key}{days}" for days in earlier),
    )
