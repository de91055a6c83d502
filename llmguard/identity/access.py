"""Roles for some hours: asked for with a reason, given by somebody else, ended by themselves.

Each step is an entry of the audit log, written with it; the reason stays here, for those who decide.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, cast

from llmguard.audit.log import append
from llmguard.domain.clock import Clock
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.identity import Role
from llmguard.domain.operators import OperatorRefused
from llmguard.domain.state_file import open_state, transaction

LONGEST: Final = timedelta(hours=24)
LONGEST_REASON: Final = 500
_OPEN_FOR: Final = timedelta(days=7)  # a request that nobody decides about is over
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS access (
    id TEXT PRIMARY KEY, who TEXT NOT NULL, role TEXT NOT NULL, seconds INTEGER NOT NULL, reason TEXT NOT NULL,
    requested_at TEXT NOT NULL, decided_by TEXT, decided_at TEXT, ends_at TEXT, ended_by TEXT
) WITHOUT ROWID"""
_COLUMNS: Final = "id, who, role, seconds, reason, requested_at, decided_by, decided_at, ends_at, ended_by"
_ALL: Final = f"SELECT {_COLUMNS} FROM access ORDER BY requested_at, id"  # noqa: S608 - a constant of this file
_ONE: Final = f"SELECT {_COLUMNS} FROM access WHERE id = ?"  # noqa: S608 - as above
_WRITE: Final = f"INSERT OR REPLACE INTO access ({_COLUMNS}) VALUES ({', '.join('?' * 10)})"  # noqa: S608 - as above
_OPEN: Final = """
SELECT id FROM access WHERE who = ? AND role = ? AND ends_at IS NULL AND ended_by IS NULL AND requested_at > ?"""
_ROLES: Final = "SELECT DISTINCT role FROM access WHERE who = ? AND ends_at > ?"
AccessState = Literal["open", "active", "ended", "lapsed"]


@dataclass(frozen=True, slots=True)
class Access:
    """One request for a role, and what became of it. Times are texts, as they are stored; `who` is in small letters."""

    id: str
    who: str
    role: Role
    seconds: int
    reason: str
    requested_at: str
    decided_by: str | None = None
    decided_at: str | None = None
    ends_at: str | None = None
    ended_by: str | None = None

    def state_at(self, now: datetime) -> AccessState:
        """Return whether it waits, counts, or is over."""
        if self.ends_at is not None:
            return "active" if datetime.fromisoformat(self.ends_at) > now else "ended"
        if self.ended_by is not None:
            return "ended"
        return "open" if datetime.fromisoformat(self.requested_at) > now - _OPEN_FOR else "lapsed"


class AccessDesk:
    """Requests for roles in one data folder. Each call opens its own connection and may block for a moment."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Use `state.db` at this path."""
        self._path = path
        self._clock = clock

    def request(self, who: str, role: Role, lasting: timedelta, reason: str) -> Access:
        """Record that somebody asks for a role.

        Raises:
            OperatorRefused: body_refused; for too long, or without a reason; conflict, it is asked for already.
        """
        if not timedelta(0) < lasting <= LONGEST:
            raise _refused("A role is given for at most 24 hours.", "Ask for less, such as 2h.")
        if not reason.strip() or len(reason) > LONGEST_REASON:
            raise _refused(
                f"The reason has from 1 to {LONGEST_REASON} characters.", "Say in a sentence what it is for."
            )
        now = self._clock.now()
        said = "".join(character if character.isprintable() else " " for character in reason)
        access = Access(new_trace_id(now), _folded(who), role, int(lasting.total_seconds()), said, _text(now))
        with self._writing() as connection:
            twin = connection.execute(_OPEN, (access.who, role, _text(now - _OPEN_FOR))).fetchone()
            if twin is not None:
                hint = "Ask somebody who may approve it, or to end it."
                raise OperatorRefused("conflict", f"You asked for this already: {twin[0]} waits to be decided.", hint)
            self._record(connection, access, who, "requested")
        return access

    def approve(self, access_id: str, who: str) -> Access:
        """Give the role from now on, for as long as was asked.

        Raises:
            OperatorRefused: not_found; conflict, it is decided; role_missing, nobody approves their own.
        """
        now = self._clock.now()
        with self._writing() as connection:
            access = self._found(connection, access_id)
            if access.state_at(now) != "open":
                raise OperatorRefused("conflict", f"This request is {access.state_at(now)}.", "Ask anew.")
            if access.who == _folded(who):
                raise OperatorRefused("role_missing", "Nobody approves their own request.", "Ask somebody else.")
            ends = _text(now + timedelta(seconds=access.seconds))
            after = replace(access, decided_by=who, decided_at=_text(now), ends_at=ends)
            self._record(connection, after, who, "approved")
        return after

    def end(self, access_id: str, who: str) -> Access:
        """Refuse a request that is open, or end what was given, now.

        Raises:
            OperatorRefused: not_found; conflict, it is over.
        """
        now = self._clock.now()
        with self._writing() as connection:
            access = self._found(connection, access_id)
            if access.state_at(now) not in ("open", "active"):
                raise OperatorRefused("conflict", "This is over already.", "Nothing was changed.")
            after = replace(access, ended_by=who, ends_at=access.ends_at and _text(now))
            self._record(connection, after, who, "ended")
        return after

    def all(self) -> tuple[Access, ...]:
        """Return every request, oldest first."""
        with self._connection() as connection:
            return tuple(_access(row) for row in connection.execute(_ALL))

    def roles_of(self, who: str) -> frozenset[Role]:
        """Return the roles that somebody was given and that count now."""
        with self._connection() as connection:
            rows = connection.execute(_ROLES, (_folded(who), _text(self._clock.now()))).fetchall()
        return frozenset(cast("Role", role) for (role,) in rows)

    def _record(self, connection: sqlite3.Connection, access: Access, who: str, what: str) -> None:
        connection.execute(_WRITE, astuple(access))
        facts = {"for": access.who, "role": access.role, "seconds": access.seconds, "ends_at": access.ends_at}
        append(connection, self._clock.now(), who=who, what=f"access.{what}", subject=access.id, facts=facts)

    def _found(self, connection: sqlite3.Connection, access_id: str) -> Access:
        row = connection.execute(_ONE, (access_id,)).fetchone()
        if row is None:
            raise OperatorRefused(
                "not_found", "There is no such request for a role.", "`llmguard access list` shows them."
            )
        return _access(row)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(open_state(self._path, create=True)) as connection:
            connection.execute(_CREATE)
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("PRAGMA synchronous = FULL")
            with transaction(connection):
                yield connection


def _access(row: tuple[Any, ...]) -> Access:  # Any: what SQLite holds
    return Access(**dict(zip((field.name for field in fields(Access)), row, strict=True)))


def _folded(who: str) -> str:
    return who.strip().casefold()


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")


def _refused(message: str, hint: str) -> OperatorRefused:
    return OperatorRefused("body_refused", message, hint)
