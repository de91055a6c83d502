"""What happened to apps between two commits, as alerts: contained, started again, renewed; and who has left. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from llmguard.alerts.event import Alert
from llmguard.domain.catalog import App, Registry
from llmguard.registry.app_states import Containment, Renewal

CONTAINED: Final = "com.llmguard.containment.contained"
LIFTED: Final = "com.llmguard.containment.lifted"
RENEWED: Final = "com.llmguard.app.renewed"
OWNERLESS: Final = "com.llmguard.app.ownerless"


def containment_alerts(containments: Iterable[Containment], registry: Registry) -> Iterator[Alert]:
    """Yield what owner and backup owner have to know of each containment; never its reason, which may name people."""
    for one in containments:
        app = registry.apps.get(one.app)
        keys = f"{one.revoked_keys} key{'s' if one.revoked_keys != 1 else ''}"
        message = (
            f"The app {one.app} was stopped on {one.at:%Y-%m-%d %H:%M} UTC. Its requests are refused with "
            f"app_suspended, and {keys} of it ended for good. Only the CoE can start it again."
        )
        facts = {"containment_id": one.id, "revoked_keys": one.revoked_keys, "contained_at": one.at.isoformat()}
        yield _alert(f"contained|{one.id}", CONTAINED, one.app, app, message, facts, one.at)
        if one.lifted_at is not None:
            message = f"The app {one.app} may be used again; its old keys stay ended: `llmguard keys issue {one.app}`."
            lifted = {"containment_id": one.id, "lifted_at": one.lifted_at.isoformat()}
            yield _alert(f"lifted|{one.id}", LIFTED, one.app, app, message, lifted, one.lifted_at)


def renewal_alerts(renewals: Iterable[Renewal], registry: Registry) -> Iterator[Alert]:
    """Yield what the CoE has to put into git."""
    for one in renewals:
        day = one.to_day.isoformat()
        message = (
            f"An owner of the app {one.app} has extended its approval to {day}. To make it git's, write "
            f"`expires: {day}` in registry.yaml; `llmguard apps drift` lists what differs."
        )
        facts = {"in_git": one.from_day.isoformat(), "expires": day}
        yield _alert(f"renewed|{one.id}", RENEWED, one.app, registry.apps.get(one.app), message, facts, one.at)


def departure_alerts(registry: Registry) -> Iterator[Alert]:
    """Yield apps whose owner has left: somebody else has to become it, or nobody answers for it."""
    for app in registry.apps.values():
        owner = app.owner.strip().casefold()
        if owner not in registry.departed or app.status in {"draft", "retired"}:
            continue
        now = "The backup owner answers for it now" if app.has_owner else "Nobody answers for it, and it is refused"
        message = f"The owner of the app {app.name} has left. {now}. Name a new owner in registry.yaml."
        key = f"ownerless|{app.name}|{owner}|{app.has_owner}"
        yield _alert(key, OWNERLESS, app.name, app, message, {"has_owner": app.has_owner}, None)


def _alert(  # noqa: PLR0913, PLR0917 - the parts of an event, by its order
    key: str, kind: str, name: str, app: App | None, message: str, facts: dict[str, Any], moment: datetime | None
) -> Alert:
    owners = {} if app is None else {"owner": app.owner, "backup_owner": app.backup_owner}
    return Alert(
        key=key,
        type=kind,
        subject=f"app:{name}",
        cost_centers=frozenset() if app is None else frozenset({app.cost_center}),
        data={"message": message, "app": name, **owners, **facts},
        moment=moment,
    )
