"""The ledger at rest in `state.db`: accounts, open holds, and `apply`, which changes them all or not at all.

One batch of operations is one `BEGIN IMMEDIATE` transaction, so worker processes take turns and each decision sees
every decision before it. Each account is read once a batch, counted in Python integers, and written once.

Durability: WAL with `synchronous = NORMAL`. A commit survives `kill -9` of every process, since it lies in the page
cache of the kernel; a power failure may take the last commits, but never tears one apart. Keys, in the same file, are
written with FULL.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

import msgspec

from llmguard.domain.catalog import DEFAULT_TIME_ZONE
from llmguard.domain.clock import Clock
from llmguard.domain.quota import Amount, LimitName, Standing
from llmguard.domain.state_file import open_state
from llmguard.quota.account import Account
from llmguard.quota.grants import CREATE_GRANTS, GRANTS_IN_FORCE
from llmguard.quota.limits import Raised, fitting_step, shortfalls, standings, tightest
from llmguard.quota.operations import (
    Claim,
    Denied,
    Done,
    Duplicate,
    Granted,
    OpenHold,
    Operation,
    Release,
    Reserve,
    Result,
    Settle,
    Shortfall,
)
from llmguard.quota.windows import Instant, to_datetime, to_instant

_CREATE_ACCOUNTS = "CREATE TABLE IF NOT EXISTS accounts (scope TEXT PRIMARY KEY, windows TEXT NOT NULL) WITHOUT ROWID"
_CREATE_HOLDS = """
CREATE TABLE IF NOT EXISTS holds (
    id TEXT PRIMARY KEY, scopes TEXT NOT NULL, worker TEXT NOT NULL, reserved_at INTEGER NOT NULL,
    requests INTEGER NOT NULL, tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL
) WITHOUT ROWID"""
_ACCOUNT = "SELECT windows FROM accounts WHERE scope = ?"
_WRITE_ACCOUNT = """
INSERT INTO accounts (scope, windows) VALUES (?, ?) ON CONFLICT (scope) DO UPDATE SET windows = excluded.windows"""
_HOLD = "SELECT id, scopes, worker, reserved_at, requests, tokens, nano_usd FROM holds WHERE id = ?"
_HOLDS = "SELECT id, scopes, worker, reserved_at, requests, tokens, nano_usd FROM holds ORDER BY reserved_at, id"
_WRITE_HOLD = """
INSERT INTO holds (id, scopes, worker, reserved_at, requests, tokens, nano_usd) VALUES (?, ?, ?, ?, ?, ?, ?)"""
_DROP_HOLD = "DELETE FROM holds WHERE id = ?"

_NOTHING = Amount(0, 0, 0)
_decode_account = msgspec.json.Decoder(Account).decode
_decode_scopes = msgspec.json.Decoder(tuple[str, ...]).decode
_encode = msgspec.json.encode


class LedgerStore:
    """The ledger of one data folder, over one connection; used by one thread at a time."""

    def __init__(self, path: Path, clock: Clock, *, busy_timeout_seconds: float, waits: bool = True) -> None:
        """Create what is missing, if it may wait.

        Args:
            path: `state.db`.
            clock: tells the instant of each transaction.
            busy_timeout_seconds: how long to wait for the write lock of another process.
            waits: False for the twin of a store; see `at_once`.

        Raises:
            sqlite3.Error, OSError: the file cannot be opened or written.
        """
        self._path = path
        self._file = str(path)
        self._clock = clock
        self._busy_timeout_seconds = busy_timeout_seconds
        self._waits = waits
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)
        if not waits:
            return
        connection = open_state(path, create=True, busy_timeout_seconds=busy_timeout_seconds)
        try:
            for statement in (_CREATE_ACCOUNTS, _CREATE_HOLDS, *CREATE_GRANTS):
                connection.execute(statement)
        finally:
            connection.close()

    def at_once(self) -> "LedgerStore":
        """Return the same ledger over a connection that never waits: neither for other writers nor for the disk.

        While another process writes, its `apply` raises sqlite3.OperationalError at once; and it leaves it to others
        (`checkpoint`) to bring the write-ahead log into the file, since that waits for the disk.
        """
        return LedgerStore(self._path, self._clock, busy_timeout_seconds=0.0, waits=False)

    def checkpoint(self) -> None:
        """Bring what is in the write-ahead log into the file, as far as no reader needs it there; nobody waits for it.

        Raises:
            sqlite3.Error, OSError: it could not be done now; nothing is lost.
        """
        self._connect().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def apply(self, operations: Sequence[Operation]) -> list[Result]:
        """Carry out the operations in order, in one transaction, and return their results in the same order.

        Raises:
            sqlite3.Error, OSError, msgspec.MsgspecError: nothing was changed; the next call starts afresh.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            # The clock is read inside the transaction: whoever commits later never books earlier.
            page = _Page(connection, to_instant(self._clock.now()))
            results = [page.perform(operation) for operation in operations]
            page.write()
        return results

    def denied(self, claims: tuple[Claim, ...], least: Amount, asked: Amount) -> Denied | None:
        """Return how a reservation of `asked` is denied, if not even `least` of it would be granted now; books nothing.

        Raises:
            sqlite3.Error, OSError, msgspec.MsgspecError: it cannot be read.
        """
        with self._transaction("BEGIN") as connection:
            return _Page(connection, to_instant(self._clock.now())).denied(claims, least, asked)

    def standings(self, *claims: Claim) -> tuple[Standing, ...]:
        """Return how these scopes stand now, in their order.

        Raises:
            sqlite3.Error, OSError, msgspec.MsgspecError: it cannot be read.
        """
        with self._transaction("BEGIN") as connection:
            return _Page(connection, to_instant(self._clock.now())).standings(claims)

    def holds(self) -> tuple[OpenHold, ...]:
        """Return every open hold of every worker, oldest first.

        Raises:
            sqlite3.Error, OSError, msgspec.MsgspecError: they cannot be read.
        """
        with self._transaction("BEGIN") as connection:
            return tuple(_open_hold(row) for row in connection.execute(_HOLDS))

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connect()
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # Whatever it was, a connection in doubt is not used again; closing it rolls back.
            self.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        """Return a connection to the file that has the path *now*; booking into a deleted file would be lost."""
        status = os.stat(self._file)  # noqa: PTH116 - once a batch, and a path's own takes four times as long
        inode = (status.st_dev, status.st_ino)
        if self._connection is not None and self._inode != inode:
            self.close()
        if self._connection is None:
            self._connection = open_state(self._path, busy_timeout_seconds=self._busy_timeout_seconds)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            if not self._waits:
                self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            self._inode = inode
        return self._connection


class _Page:
    """The accounts and holds that one transaction touches."""

    def __init__(self, connection: sqlite3.Connection, now: Instant) -> None:
        self._connection = connection
        self._now = now
        self._accounts: dict[str, Account] = {}
        self._changed: set[str] = set()
        self._made: dict[str, OpenHold] = {}
        self._ended: set[str] = set()
        self._grants: list[tuple[str, LimitName, int, Instant]] | None = None

    def perform(self, operation: Operation) -> Result:
        match operation:
            case Reserve():
                return self._reserve(operation)
            case Settle():
                return self._end(operation.hold_id, operation.actual)
            case Release():
                return self._end(operation.hold_id, _NOTHING)
            case _:
                assert_never(operation)

    def denied(self, claims: Sequence[Claim], least: Amount, asked: Amount) -> Denied | None:
        """Return why `asked` does not fit, if not even `least` does."""
        instant = self._bring_up(claims)
        if not self._shortfalls(claims, least, instant):
            return None
        return Denied(tightest(self._shortfalls(claims, asked, instant)), self._now, self.standings(claims))

    def standings(self, claims: Sequence[Claim]) -> tuple[Standing, ...]:
        """Return how the scopes of these claims stand, one after the other."""
        found: list[Standing] = []
        for claim in claims:
            account = self._account_of(claim)
            found += standings(account, claim, self._raised(claim.scope, account.seen_at))
        return tuple(found)

    def write(self) -> None:
        execute_many = self._connection.executemany
        if self._changed:
            execute_many(_WRITE_ACCOUNT, [(scope, _encode(self._accounts[scope]).decode()) for scope in self._changed])
        if self._ended:
            execute_many(_DROP_HOLD, [(hold_id,) for hold_id in self._ended])
        if self._made:
            execute_many(_WRITE_HOLD, [_row(hold) for hold in self._made.values()])

    def _account(self, scope: str, zone: str = DEFAULT_TIME_ZONE) -> Account:
        """Return the account, rolled up to now; `zone` is the one that a new account goes by."""
        account = self._accounts.get(scope)
        if account is None:
            row = self._connection.execute(_ACCOUNT, (scope,)).fetchone()
            account = Account.opened(self._now, zone) if row is None else _decode_account(row[0])
            account.roll(self._now)
            self._accounts[scope] = account
        return account

    def _account_of(self, claim: Claim) -> Account:
        account = self._account(claim.scope, claim.quota.time_zone)
        account.go_by(claim.quota.time_zone)
        return account

    def _raised(self, scope: str, instant: Instant) -> Raised:
        """Return what grants add to the limits of a scope at that instant, as of this transaction."""
        if self._grants is None:
            self._grants = self._connection.execute(GRANTS_IN_FORCE, (self._now,)).fetchall()
        raised: dict[LimitName, int] = {}
        for granted_to, limit, amount, ends_at in self._grants:
            if granted_to == scope and instant < ends_at:
                raised[limit] = raised.get(limit, 0) + amount
        return raised

    def _reserve(self, reserve: Reserve) -> Result:
        if self._hold(reserve.hold_id) is not None:
            return Duplicate()
        claims = reserve.claims
        instant = self._bring_up(claims)
        step = min(
            fitting_step(self._accounts[claim.scope], claim, self._raised(claim.scope, instant), reserve)
            for claim in claims
        )
        if step < 0:
            shortfalls_found = self._shortfalls(claims, reserve.at(0), instant)
            return Denied(tightest(shortfalls_found), self._now, self.standings(claims))
        amount = reserve.at(step)
        for claim in claims:
            self._accounts[claim.scope].hold(amount)
            self._changed.add(claim.scope)
        scopes = tuple(claim.scope for claim in claims)
        self._made[reserve.hold_id] = OpenHold(reserve.hold_id, scopes, reserve.worker, instant, amount)
        return Granted(to_datetime(instant), amount, self.standings(claims))

    def _bring_up(self, claims: Sequence[Claim]) -> Instant:
        """Roll all accounts up to one instant: a settle finds the same windows in each of them."""
        accounts = [self._account_of(claim) for claim in claims]
        instant = max([self._now, *(account.seen_at for account in accounts)])
        for account in accounts:
            account.roll(instant)
        return instant

    def _shortfalls(self, claims: Sequence[Claim], amount: Amount, instant: Instant) -> list[Shortfall]:
        found: list[Shortfall] = []
        for claim in claims:
            raised = self._raised(claim.scope, instant)
            found += shortfalls(self._accounts[claim.scope], claim, amount, raised)
        return found

    def _end(self, hold_id: str, actual: Amount | None) -> Done:
        hold = self._hold(hold_id)
        if hold is None:
            return Done()
        for scope in hold.scopes:
            self._account(scope).settle(hold.amount, hold.reserved_at, hold.amount if actual is None else actual)
            self._changed.add(scope)
        if self._made.pop(hold_id, None) is None:
            self._ended.add(hold_id)
        return Done()

    def _hold(self, hold_id: str) -> OpenHold | None:
        if hold_id in self._made:
            return self._made[hold_id]
        if hold_id in self._ended:
            return None
        row = self._connection.execute(_HOLD, (hold_id,)).fetchone()
        return None if row is None else _open_hold(row)


def _open_hold(row: tuple[str, str, str, int, int, int, int]) -> OpenHold:
    hold_id, scopes, worker, reserved_at, *amount = row
    return OpenHold(hold_id, _decode_scopes(scopes), worker, reserved_at, Amount(*amount))


def _row(hold: OpenHold) -> tuple[str, str, str, int, int, int, int]:
    amount = hold.amount
    scopes = _encode(hold.scopes).decode()
    return hold.id, scopes, hold.worker, hold.reserved_at, amount.requests, amount.tokens, amount.nano_usd
