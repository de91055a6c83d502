"""The audit log: one append-only, hash-chained table in `state.db` for everything that somebody does to the gateway.

    digest = SHA-256( canonical JSON of app, facts, prev_digest, seq, subject, time, what, who )

Canonical JSON has sorted keys and no spaces; `facts` is in it as the exact text of its column. `seq` counts from 1, the
first `prev_digest` is 64 zeros. Triggers refuse updates and deletes; whoever takes the triggers away breaks the chain.

An entry is written in the transaction of what it tells, so that neither is there without the other. It holds no
personal data of the people in traces, no placeholder, no key and no free text about a request; `who` is an operator.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llmguard.domain.clock import Clock
from llmguard.domain.state_file import open_state, transaction

GENESIS = "0" * 64

_CREATE = (
    """
CREATE TABLE IF NOT EXISTS audit_log (
    seq INTEGER PRIMARY KEY, time TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
    app TEXT, facts TEXT NOT NULL, prev_digest TEXT NOT NULL, digest TEXT NOT NULL
)""",
    """
CREATE TRIGGER IF NOT EXISTS audit_log_is_never_updated BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """
CREATE TRIGGER IF NOT EXISTS audit_log_is_never_deleted BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
)
_TIP = "SELECT seq, digest FROM audit_log ORDER BY seq DESC LIMIT 1"
_ADD = """
INSERT INTO audit_log (seq, time, who, what, subject, app, facts, prev_digest, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_READ = """
SELECT seq, time, who, what, subject, app, facts, prev_digest, digest FROM audit_log
WHERE seq > ? AND (? IS NULL OR time >= ?) AND (? IS NULL OR time < ?) ORDER BY seq"""
_HAS_TABLE = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
_OLD_ROWS = "SELECT time, who, what, subject, before, after FROM audit ORDER BY id"
_DROP_OLD = "DROP TABLE audit"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did. `facts` is JSON text; `app` is None where it concerns no app or all of them."""

    seq: int
    time: str
    who: str
    what: str
    subject: str
    app: str | None
    facts: str
    prev_digest: str
    digest: str


def append(  # noqa: PLR0913 - the columns, by name
    connection: sqlite3.Connection,
    now: datetime,
    *,
    who: str,
    what: str,
    subject: str,
    app: str | None = None,
    facts: Mapping[str, Any] | None = None,  # Any: JSON
) -> Entry:
    """Write an entry in a transaction that the caller has begun as a writer (`transaction` in `state_file.py`).

    Args:
        connection: of `state.db`, inside `BEGIN IMMEDIATE`.
        now: aware and in UTC.
        who: an operator, an app, or a part of llmguard that acts by itself.
        what: noun and past participle, such as `key.revoked`.
        subject: the id of what was changed.
        app: whose it is.
        facts: what else is to be known; see the module for what must not be in it.

    Raises:
        sqlite3.Error: nothing was written; the caller's transaction must not be committed.
    """
    _create(connection)
    return _add(connection, now.isoformat(timespec="microseconds"), who, what, subject, app, facts or {})


class AuditLog:
    """The log of one data folder, for those who write an entry of its own, and for those who read."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Use `state.db` at this path."""
        self._path = path
        self._clock = clock

    def record(
        self,
        *,
        who: str,
        what: str,
        subject: str,
        app: str | None = None,
        facts: Mapping[str, Any] | None = None,  # Any: JSON
    ) -> Entry:
        """Write one entry, safe from a power failure when this returns.

        Raises:
            sqlite3.Error, OSError: it is not written.
        """
        with closing(open_state(self._path, create=True)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            with transaction(connection):
                return append(connection, self._clock.now(), who=who, what=what, subject=subject, app=app, facts=facts)

    def entries(
        self, *, after: int = 0, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[Entry]:
        """Yield entries in order, of a time from `since` on and before `until`; none where there is no file yet.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        if not self._path.exists():
            return
        start, end = (
            None if moment is None else moment.isoformat(timespec="microseconds") for moment in (since, until)
        )
        with closing(open_state(self._path)) as connection:
            if connection.execute(_HAS_TABLE, ("audit_log",)).fetchone()[0]:
                for row in connection.execute(_READ, (after, start, start, end, end)):
                    yield Entry(*row)

    def first_bad_entry(self) -> str | None:
        """Return what is wrong with the first entry that breaks the chain, or None if all hold."""
        return first_bad_entry(self.entries())


def first_bad_entry(entries: Iterable[Entry], *, seq: int = 0, digest: str = GENESIS) -> str | None:
    """Return what is wrong with the first of these entries that breaks the chain behind (seq, digest), or None."""
    for entry in entries:
        if entry.seq != seq + 1:
            return f"audit entry {seq + 1} is missing"
        if entry.prev_digest != digest:
            return f"audit entry {entry.seq} does not follow the entry before it"
        if _digest(entry) != entry.digest:
            return f"audit entry {entry.seq} was changed"
        seq, digest = entry.seq, entry.digest
    return None


def _create(connection: sqlite3.Connection) -> None:
    for statement in _CREATE:
        connection.execute(statement)
    if connection.execute(_HAS_TABLE, ("audit",)).fetchone()[0]:  # of folders from before the chain: overage alone
        for time, who, what, subject, before, after in connection.execute(_OLD_ROWS).fetchall():
            now = json.loads(after)
            facts = {"before": before and json.loads(before), "after": now}
            _add(connection, time, who, what, subject, now.get("app"), facts)
        connection.execute(_DROP_OLD)


def _add(  # noqa: PLR0913, PLR0917 - the columns
    connection: sqlite3.Connection,
    time: str,
    who: str,
    what: str,
    subject: str,
    app: str | None,
    facts: Mapping[str, Any],  # Any: JSON
) -> Entry:
    seq, prev_digest = connection.execute(_TIP).fetchone() or (0, GENESIS)
    unsealed = Entry(seq + 1, time, who, what, subject, app, _canonical(facts), prev_digest, "")
    entry = replace(unsealed, digest=_digest(unsealed))
    connection.execute(_ADD, tuple(asdict(entry).values()))
    return entry


def _digest(entry: Entry) -> str:
    sealed = {name: value for name, value in asdict(entry).items() if name != "digest"}
    return hashlib.sha256(_canonical(sealed).encode()).hexdigest()


def _canonical(value: Any) -> str:  # Any: JSON
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
