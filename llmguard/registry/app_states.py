"""What happens to apps between two commits: containments and renewals, in `state.db`, on top of registry.yaml.

Git decides; these two cannot wait for it. A *containment* stops an app until the CoE lifts it, whatever git says. A
*renewal* by the owner moves one date, the one that git had then: as soon as git has another date, it is over.

Both are put on the registry where it is read (`in_force`), so that a request costs nothing more. A change whose state
cannot be read is as one that may have been made: see `Keyring`, which lets nobody in then.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from llmguard.domain.catalog import App, Registry
from llmguard.domain.state_file import open_state, transaction

_CREATE = (
    """
CREATE TABLE IF NOT EXISTS app_containments (
    id TEXT PRIMARY KEY, app TEXT NOT NULL, contained_at TEXT NOT NULL, contained_by TEXT NOT NULL,
    reason TEXT NOT NULL, revoked_keys INTEGER NOT NULL, lifted_at TEXT, lifted_by TEXT, lift_reason TEXT
) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX IF NOT EXISTS app_contained_once ON app_containments (app) WHERE lifted_at IS NULL",
    """
CREATE TABLE IF NOT EXISTS app_renewals (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app TEXT NOT NULL, from_day TEXT NOT NULL, to_day TEXT NOT NULL,
    renewed_at TEXT NOT NULL, renewed_by TEXT NOT NULL
)""",
)
_CONTAINMENT = "id, app, contained_at, contained_by, reason, revoked_keys, lifted_at, lifted_by, lift_reason"
_CONTAINED = f"SELECT {_CONTAINMENT} FROM app_containments WHERE lifted_at IS NULL"  # noqa: S608 - a constant
_CONTAINMENTS = f"""
SELECT {_CONTAINMENT} FROM app_containments WHERE contained_at >= ?1 OR lifted_at >= ?1 ORDER BY id"""  # noqa: S608
_RENEWAL = "id, app, from_day, to_day, renewed_at, renewed_by"
_RENEWED = f"""
SELECT {_RENEWAL} FROM app_renewals WHERE seq IN (SELECT max(seq) FROM app_renewals GROUP BY app)"""  # noqa: S608
_RENEWALS = f"SELECT {_RENEWAL} FROM app_renewals WHERE renewed_at >= ? ORDER BY seq"  # noqa: S608 - as above
_CONTAIN = f"INSERT INTO app_containments ({_CONTAINMENT}) VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, NULL)"  # noqa: S608
_LIFT = "UPDATE app_containments SET lifted_at = ?, lifted_by = ?, lift_reason = ? WHERE app = ? AND lifted_at IS NULL"
_RENEW = f"INSERT INTO app_renewals ({_RENEWAL}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class Containment:
    """One app that was stopped, by whom and why; `reason` is for operators, and never shown to callers."""

    id: str
    app: str
    at: datetime
    by: str
    reason: str
    revoked_keys: int
    lifted_at: datetime | None = None
    lifted_by: str | None = None
    lift_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """One approval that an owner extended: from the last day that git had to another one."""

    id: str
    app: str
    from_day: date
    to_day: date
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class AppStates:
    """What is in force now: containments by app, and the latest renewal of each app."""

    contained: Mapping[str, Containment] = field(default_factory=dict)
    renewed: Mapping[str, Renewal] = field(default_factory=dict)


def in_force(registry: Registry, states: AppStates) -> Registry:
    """Return the registry as it counts now: git's, with what has happened since."""
    changed = {name: after for name, app in registry.apps.items() if (after := _app_in_force(app, states)) is not app}
    return replace(registry, apps={**registry.apps, **changed}) if changed else registry


def _app_in_force(app: App, states: AppStates) -> App:
    renewal = states.renewed.get(app.name)
    if renewal is not None and app.expires == renewal.from_day and app.status == "approved":
        app = replace(app, expires=renewal.to_day)
    containment = states.contained.get(app.name)
    if containment is not None:
        app = replace(app, status=app.status if app.status == "retired" else "suspended", contained_at=containment.at)
    return app


class AppStateStore:
    """The states at rest. Every call opens its own connection and may block for a moment."""

    def __init__(self, path: Path) -> None:
        """Use `state.db` at this path, and make what is missing.

        Raises:
            sqlite3.Error, OSError: it cannot be opened or written.
        """
        self._path = path
        with closing(open_state(path, create=True)) as connection:
            for statement in _CREATE:
                connection.execute(statement)

    def read(self) -> AppStates:
        """Return what is in force.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        with closing(open_state(self._path)) as connection:
            connection.execute("BEGIN")  # one snapshot for both
            contained = [_containment(row) for row in connection.execute(_CONTAINED)]
            renewals = [_renewal(row) for row in connection.execute(_RENEWED)]
        return AppStates({one.app: one for one in contained}, {one.app: one for one in renewals})

    def containments(self, since: datetime) -> Iterator[Containment]:
        """Yield what was contained or lifted since then, oldest first."""
        with closing(open_state(self._path)) as connection:
            yield from [_containment(row) for row in connection.execute(_CONTAINMENTS, (_text(since),))]

    def renewals(self, since: datetime) -> Iterator[Renewal]:
        """Yield what was renewed since then, oldest first."""
        with closing(open_state(self._path)) as connection:
            yield from [_renewal(row) for row in connection.execute(_RENEWALS, (_text(since),))]

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a transaction that survives a power failure once it is left."""
        with closing(open_state(self._path)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            with transaction(connection):
                yield connection


def add_containment(connection: sqlite3.Connection, containment: Containment) -> None:
    """Stop an app, in a transaction that the caller has begun; it must not be contained already."""
    one = containment
    connection.execute(_CONTAIN, (one.id, one.app, _text(one.at), one.by, one.reason, one.revoked_keys))


def containment_of(connection: sqlite3.Connection, app: str) -> Containment | None:
    """Return the containment of an app that is in force, in the caller's transaction."""
    return next((one for row in connection.execute(_CONTAINED) if (one := _containment(row)).app == app), None)


def lift_containment(connection: sqlite3.Connection, app: str, now: datetime, *, who: str, reason: str) -> None:
    """End the containment of an app, in a transaction that the caller has begun."""
    connection.execute(_LIFT, (_text(now), who, reason, app))


def add_renewal(connection: sqlite3.Connection, renewal: Renewal) -> None:
    """Extend an approval, in a transaction that the caller has begun."""
    one = renewal
    row = (one.id, one.app, one.from_day.isoformat(), one.to_day.isoformat(), _text(one.at), one.by)
    connection.execute(_RENEW, row)


class LiveAppStates:
    """The states as one worker knows them."""

    def __init__(self, store: AppStateStore, on_change: Callable[[], None] = lambda: None) -> None:
        """Read them once; `on_change` is called, in the thread that refreshes, when they are others.

        Raises:
            sqlite3.Error: they cannot be read.
        """
        self._store = store
        self._on_change = on_change
        self.current = store.read()

    def refresh(self) -> None:
        """Read them again.

        Raises:
            sqlite3.Error: they cannot be read.
        """
        states = self._store.read()
        if states != self.current:
            self.current = states
            self._on_change()


def states_at(path: Path) -> AppStates:
    """Return what is in force in a `state.db`; nothing where there is none yet.

    Raises:
        sqlite3.Error, OSError: it cannot be read.
    """
    return AppStateStore(path).read() if path.exists() else AppStates()


def _containment(row: tuple[Any, ...]) -> Containment:  # Any: what SQLite holds
    containment_id, app, at, by, reason, revoked_keys, lifted_at, lifted_by, lift_reason = row
    lifted = None if lifted_at is None else datetime.fromisoformat(lifted_at)
    moment = datetime.fromisoformat(at)
    return Containment(containment_id, app, moment, by, reason, revoked_keys, lifted, lifted_by, lift_reason)


def _renewal(row: tuple[Any, ...]) -> Renewal:  # Any: see above
    renewal_id, app, from_day, to_day, at, by = row
    days = (date.fromisoformat(from_day), date.fromisoformat(to_day))
    return Renewal(renewal_id, app, *days, datetime.fromisoformat(at), by)


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")
