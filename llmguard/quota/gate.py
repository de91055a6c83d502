"""The overage gate: requests for more, their approvals, and the grants that the ledger reads, in `state.db`.

Each step is one `BEGIN IMMEDIATE` transaction that changes the request, makes the grant, writes one entry of the
audit log and one event, or does none of it; so two approvers that race apply a request once.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llmguard.audit.log import append
from llmguard.domain.catalog import App, Registry
from llmguard.domain.clock import Clock
from llmguard.domain.errors import Fault
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.quota import LimitName
from llmguard.domain.state_file import open_state
from llmguard.quota.grants import CREATE_GRANTS
from llmguard.quota.overage import (
    Ask,
    Overage,
    check_approver,
    check_grant,
    check_text,
    invalid,
    needs_second,
    printable,
    scope_asked,
    shown_amount,
)
from llmguard.quota.windows import to_datetime, to_instant

_CREATE = (
    """
CREATE TABLE IF NOT EXISTS overage (
    id TEXT PRIMARY KEY, app TEXT NOT NULL, scope TEXT NOT NULL, limit_name TEXT NOT NULL, amount INTEGER NOT NULL,
    reason TEXT NOT NULL, requested_by TEXT NOT NULL, key_id TEXT, requested_at INTEGER NOT NULL, state TEXT NOT NULL,
    granted INTEGER, ends_at INTEGER, first_approver TEXT, decided_by TEXT, denial TEXT
) WITHOUT ROWID""",
    """
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, time TEXT NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL, data TEXT NOT NULL
)""",
    *CREATE_GRANTS,
)
_COLUMNS = (
    "id, app, scope, limit_name, amount, reason, requested_by, key_id, requested_at, state, granted, ends_at, "
    "first_approver, decided_by, denial"
)
_FIELDS = tuple(field.name for field in fields(Overage))  # the columns, in this order
_ONE = f"SELECT {_COLUMNS} FROM overage WHERE id = ?"  # noqa: S608 - a constant of this file
_ALL = f"SELECT {_COLUMNS} FROM overage ORDER BY requested_at, id"  # noqa: S608 - as above
_OPEN_TWIN = """
SELECT id FROM overage WHERE app = ? AND scope = ? AND limit_name = ? AND state IN ('open', 'awaiting_second')"""
_WRITE = f"INSERT OR REPLACE INTO overage ({_COLUMNS}) VALUES ({', '.join('?' * 15)})"  # noqa: S608 - as above
_GRANT = "INSERT INTO grants (request_id, scope, limit_name, amount, starts_at, ends_at) VALUES (?, ?, ?, ?, ?, ?)"
_GRANTED = "SELECT TOTAL(amount) FROM grants WHERE scope = ? AND limit_name = ? AND ends_at > ?"
_IN_FORCE = """
SELECT request_id, scope, limit_name, amount, ends_at FROM grants WHERE ends_at > ? ORDER BY ends_at, request_id"""
_EVENT = "INSERT INTO events (id, time, type, subject, data) VALUES (?, ?, ?, ?, ?)"
_EVENTS = "SELECT id, time, type, subject, data FROM events WHERE time >= ? ORDER BY time, id"
_EVENT_PREFIX = "com.llmguard.overage."


class UnknownOverage(Exception):
    """There is no request with this id."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What is granted on top of a limit, and until when."""

    request_id: str
    scope: str
    limit: LimitName
    amount: int
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class OverageEvent:
    """One step of a request for more, as others may be told: no free text, and nobody's name."""

    id: str
    time: datetime
    type: str
    app: str
    facts: dict[str, Any]  # Any: JSON


class OverageGate:
    """Requests and approvals of one data folder. Every call opens its own connection and may block for a moment."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Work on `state.db` at this path."""
        self._path = path
        self._clock = clock

    def request(self, ask: Ask) -> Overage:
        """Record what somebody asks for.

        Raises:
            Refusal: invalid_request; it makes no sense, or the same is asked for already.
        """
        scope = scope_asked(ask)
        now = self._clock.now()
        reason = printable(ask.reason)
        overage = Overage(
            new_trace_id(now), ask.app.name, scope.id, ask.limit, ask.amount, reason, ask.who, ask.key_id, now
        )
        with self._transaction() as connection:
            twin = connection.execute(_OPEN_TWIN, (overage.app, overage.scope, overage.limit)).fetchone()
            if twin is not None:
                raise invalid(
                    f"{overage.app} has asked for more of this already: {twin[0]} waits to be decided.",
                    "Wait for the decision; GET /v1/me/overage shows it.",
                )
            self._record(connection, None, overage, ask.who, "requested")
        return overage

    def approve(
        self, registry: Registry, overage_id: str, who: str, *, amount: int | None, ends_at: datetime | None
    ) -> Overage:
        """Grant an amount until an end, at once or, where two have to agree, with the second approval.

        Args:
            registry: names who may approve, and how much alone.
            overage_id: the request.
            who: the approver.
            amount: None grants what was asked, or confirms what the first approver granted.
            ends_at: needed from the first approver; None confirms the first approver's.

        Raises:
            UnknownOverage: there is no such request.
            Refusal: policy_denied, `who` may not decide; invalid_request, it is decided, or cannot be so.
        """

        def decide(connection: sqlite3.Connection, before: Overage) -> tuple[Overage, str]:
            now = self._clock.now()
            granted = amount if amount is not None else (before.granted or before.amount)
            until = ends_at if ends_at is not None else before.ends_at
            if until is None:
                raise invalid("An approval has an end.", "Give it with --until, such as 2026-12-31 or 7d.", "until")
            if before.state == "awaiting_second" and (granted, until) != (before.granted, before.ends_at):
                raise invalid(
                    f"The first approver granted {shown_amount(before.limit, before.granted or 0)} until "
                    f"{before.ends_at:%Y-%m-%d %H:%M} UTC; two have to agree on the same.",
                    "Approve without --amount and --until to agree, or deny.",
                )
            check_grant(registry, granted, until, now)
            after = replace(before, granted=granted, ends_at=until)
            row = (before.scope, before.limit, to_instant(now))
            in_force = int(connection.execute(_GRANTED, row).fetchone()[0])
            if before.state == "open" and needs_second(registry, before, granted, in_force):
                return replace(after, state="awaiting_second", first_approver=who), "first_approved"
            grant = (before.id, before.scope, before.limit, granted, to_instant(now), to_instant(until))
            connection.execute(_GRANT, grant)
            return replace(after, state="approved", decided_by=who), "approved"

        return self._decide(registry, overage_id, who, decide)

    def deny(self, registry: Registry, overage_id: str, who: str, reason: str) -> Overage:
        """Refuse a request, with a reason for the people who asked.

        Raises:
            UnknownOverage, Refusal: as in `approve`.
        """
        check_text(reason, "reason")
        return self._decide(
            registry,
            overage_id,
            who,
            lambda _, before: (replace(before, state="denied", decided_by=who, denial=printable(reason)), "denied"),
        )

    def all(self) -> tuple[Overage, ...]:
        """Return every request, oldest first."""
        with self._transaction("BEGIN") as connection:
            return tuple(_overage(row) for row in connection.execute(_ALL))

    def grants(self, app: App) -> tuple[Grant, ...]:
        """Return what is granted now on the limits that count for an app."""
        with self._transaction("BEGIN") as connection:
            rows = connection.execute(_IN_FORCE, (to_instant(self._clock.now()),)).fetchall()
        scopes = {scope.id for scope in app.scopes}
        return tuple(
            Grant(request_id, scope, limit, amount, to_datetime(ends_at))
            for request_id, scope, limit, amount, ends_at in rows
            if scope in scopes
        )

    def events(self, since: datetime) -> tuple[OverageEvent, ...]:
        """Return the steps since then, oldest first."""
        with self._transaction("BEGIN") as connection:
            rows = connection.execute(_EVENTS, (since.isoformat(),)).fetchall()
        return tuple(
            OverageEvent(event_id, datetime.fromisoformat(moment), kind, app, json.loads(facts))
            for event_id, moment, kind, app, facts in rows
        )

    def _decide(
        self,
        registry: Registry,
        overage_id: str,
        who: str,
        decide: Callable[[sqlite3.Connection, Overage], tuple[Overage, str]],
    ) -> Overage:
        with self._transaction() as connection:
            row = connection.execute(_ONE, (overage_id,)).fetchone()
            if row is None:
                raise UnknownOverage
            before = _overage(row)
            check_approver(registry, before, who)
            if before.state not in {"open", "awaiting_second"}:
                raise invalid(
                    f"This request is {before.state} already, by {before.decided_by}.", "Nothing was changed."
                )
            after, what = decide(connection, before)
            self._record(connection, before, after, who, what)
        return after

    def _record(
        self, connection: sqlite3.Connection, before: Overage | None, after: Overage, who: str, what: str
    ) -> None:
        """Write the request as it is now, one entry of the audit log and one event."""
        now = self._clock.now()
        facts = _facts(after)
        change = {"before": None if before is None else _facts(before), "after": facts}
        connection.execute(_WRITE, _row(after))
        append(connection, now, who=who, what=f"overage.{what}", subject=after.id, app=after.app, facts=change)
        event = {"id": new_trace_id(now), "time": now.isoformat(), "type": f"{_EVENT_PREFIX}{what}"}
        connection.execute(_EVENT, (*event.values(), after.app, json.dumps(facts)))

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        try:
            connection = open_state(self._path, create=True)
            try:
                for statement in _CREATE:
                    connection.execute(statement)
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            finally:
                connection.close()  # rolls back what was not committed
        except (sqlite3.Error, OSError) as error:
            raise Fault(
                "ledger_unavailable",
                "Requests for more quota cannot be read or written right now.",
                hint="Try again shortly. If it lasts, tell whoever runs llmguard: state.db is locked, full or damaged.",
                retry_after_seconds=1.0,
            ) from error


def _facts(overage: Overage) -> dict[str, Any]:
    """Return what audit and events tell: no free text, and nobody's name."""
    return {
        "request_id": overage.id,
        "app": overage.app,
        "scope": overage.scope.partition(":")[0],
        "limit": overage.limit,
        "asked": shown_amount(overage.limit, overage.amount),
        "state": overage.state,
        "granted": None if overage.granted is None else shown_amount(overage.limit, overage.granted),
        "ends_at": None if overage.ends_at is None else overage.ends_at.isoformat(),
    }


def _overage(row: tuple[Any, ...]) -> Overage:
    facts = dict(zip(_FIELDS, row, strict=True))
    facts["requested_at"] = to_datetime(facts["requested_at"])
    if facts["ends_at"] is not None:
        facts["ends_at"] = to_datetime(facts["ends_at"])
    return Overage(**facts)


def _row(one: Overage) -> tuple[Any, ...]:
    values = (getattr(one, name) for name in _FIELDS)
    return tuple(to_instant(value) if isinstance(value, datetime) else value for value in values)
