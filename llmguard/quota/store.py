"""The ledger at rest in `state.db`: accounts, open holds, and `apply`, which changes them all or not at all.

One batch of operations is one `BEGIN IMMEDIATE` transaction, so worker processes take turns and each decision sees
every decision before it. Each account is read once a batch, counted in Python integers, and written once; while nobody
else has written to the file, it is as this connection wrote it last, and need not be read.

Durability: WAL with `synchronous = NORMAL`. A commit survives `kill -9` of every process, since it lies in the page
cache of the kernel; a power failure may take the last commits, but never tears one apart. Keys, in the same file, are
written with FULL.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, assert_never

import msgspec

from llmguard.domain.catalog import DEFAULT_TIME_ZONE
from llmguard.domain.clock import Clock
from llmguard.domain.quota import Amount, LimitName, Standing
from llmguard.domain.state_file import open_state
from llmguard.quota.account import Account
from llmguard.quota.grants import CREATE_GRANTS, GRANTS_IN_FORCE
from llmguard.quota.limits import Counted, Raised, counted, fitting_step, shortfalls, tightest, told
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
_HOLDS = "SELECT id, scopes, worker, reserved_at, requests, tokens, nano_usd FROM holds ORDER BY reserved_at, id"
_WRITE_HOLD = """
INSERT INTO holds (id, scopes, worker, reserved_at, requests, tokens, nano_usd) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING"""
_VERSION = "PRAGMA data_version"  # another one after any commit of another connection
_IS_THERE = "SELECT 1 FROM holds WHERE id = ?"
_TAKE_HOLD = "DELETE FROM holds WHERE id = ? RETURNING scopes, reserved_at, requests, tokens, nano_usd"

_NOTHING = Amount(0, 0, 0)
_DONE = Done()
_MOST_KEPT = 256  # accounts; a busy one takes 15 KB
_Party = tuple[Account, Claim, Raised, list[Counted]]  # who pays, what was granted on top, and how it stands
Found = TypeVar("Found")
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
        self._kept = _Kept()
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
        return self._transact("BEGIN IMMEDIATE", lambda page: page.carry_out(operations, self._kept))

    def denied(self, claims: tuple[Claim, ...], least: Amount, asked: Amount) -> Denied | None:
        """Return how a reservation of `asked` is denied, if not even `least` of it would be granted now; books nothing.

        Raises:
            sqlite3.Error, OSError, msgspec.MsgspecError: it cannot be read.
        """
        return self._transact("BEGIN", lambda page: page.denied(claims, least, asked))

    def standings(self, *claims: Claim) -> tuple[Standing, ...]:
        """Return how these scopes stand now, in their order.

        Raises:
            sqlite3.Error, OSError, msgspec.MsgspecError: it cannot be read.
        """
        return self._transact("BEGIN", lambda page: page.standings(claims))

    def holds(self) -> tuple[OpenHold, ...]:
        """Return every open hold of every worker, oldest first.

        Raises:
            sqlite3.Error, OSError, msgspec.MsgspecError: they cannot be read.
        """
        return self._transact("BEGIN", lambda page: page.holds())

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            connection, self._connection, self._kept = self._connection, None, _Kept()
            connection.close()

    def _transact(self, begin: str, work: "Callable[[_Page], Found]") -> Found:
        try:
            connection = self._connect()
            connection.execute(begin)
            # The clock is read inside the transaction: whoever commits later never books earlier.
            found = work(_Page(connection, to_instant(self._clock.now())))
            connection.execute("COMMIT")
        except BaseException as error:
            # Whatever it was, a connection in doubt is not used again; closing it rolls back.
            if not self._was_turned_away(error):
                self.close()
            raise
        return found

    def _was_turned_away(self, error: BaseException) -> bool:
        """Tell whether another writer was first, and nothing begun: opening anew would take longer than the batch."""
        is_busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
        return is_busy and self._connection is not None and not self._connection.in_transaction

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


class _Kept:
    """Accounts as one connection wrote them last: what the file says, too, as long as its version is the same."""

    def __init__(self) -> None:
        self._version = -1
        self.accounts: dict[str, Account] = {}

    def as_of(self, version: int) -> dict[str, Account]:
        """Return the accounts that are known at this version of the file."""
        if version != self._version or len(self.accounts) > _MOST_KEPT:
            self._version = version
            self.accounts = {}
        return self.accounts


class _Page:
    """The accounts and holds that one transaction touches."""

    def __init__(self, connection: sqlite3.Connection, now: Instant) -> None:
        self._execute = connection.execute
        self._now = now
        self._known: dict[str, Account] = {}  # before this transaction
        self._accounts: dict[str, Account] = {}  # rolled up to now
        self._changed: set[str] = set()
        self._grants: list[tuple[str, LimitName, int, Instant]] | None = None

    def carry_out(self, operations: Sequence[Operation], kept: _Kept) -> list[Result]:
        """Return the results of these operations, in their order, after writing what they changed."""
        known = self._known = kept.as_of(self._execute(_VERSION).fetchone()[0])
        results = [self._perform(operation) for operation in operations]
        for scope in self._changed:
            account = known[scope] = self._accounts[scope]
            self._execute(_WRITE_ACCOUNT, (scope, _encode(account).decode()))
        return results

    def denied(self, claims: Sequence[Claim], least: Amount, asked: Amount) -> Denied | None:
        """Return why `asked` does not fit, if not even `least` does."""
        parties = self._brought_up(claims)
        return self._denied(parties, asked) if _shortfalls(parties, least) else None

    def standings(self, claims: Sequence[Claim]) -> tuple[Standing, ...]:
        """Return how the scopes of these claims stand, one after the other."""
        accounts = [self._account_of(claim) for claim in claims]
        return _standings([self._party(account, claim) for account, claim in zip(accounts, claims, strict=True)])

    def holds(self) -> tuple[OpenHold, ...]:
        """Return every open hold, oldest first."""
        return tuple(_open_hold(row) for row in self._execute(_HOLDS))

    def _perform(self, operation: Operation) -> Result:
        match operation:
            case Reserve():
                return self._reserve(operation)
            case Settle():
                return self._end(operation.hold_id, operation.actual)
            case Release():
                return self._end(operation.hold_id, _NOTHING)
            case _:
                assert_never(operation)

    def _reserve(self, reserve: Reserve) -> Result:
        parties = self._brought_up(reserve.claims)
        step = min([fitting_step(found, reserve) for _, _, _, found in parties])
        if step < 0:
            is_taken = self._execute(_IS_THERE, (reserve.hold_id,)).fetchone() is not None
            return Duplicate() if is_taken else self._denied(parties, reserve.at(0))
        amount = reserve.at(step)
        instant = parties[0][0].seen_at
        scopes = [claim.scope for claim in reserve.claims]
        hold = (reserve.hold_id, _encode(scopes).decode(), reserve.worker, instant, *amount)
        if not self._execute(_WRITE_HOLD, hold).rowcount:
            return Duplicate()
        for account, _, _, _ in parties:
            account.hold(amount)
        self._changed.update(scopes)
        return Granted(to_datetime(instant), amount, _standings(parties, amount))

    def _end(self, hold_id: str, actual: Amount | None) -> Done:
        for scopes, reserved_at, *quantities in self._execute(_TAKE_HOLD, (hold_id,)).fetchall():  # one, or none
            held = Amount(*quantities)
            for scope in _decode_scopes(scopes):
                self._account(scope).settle(held, reserved_at, held if actual is None else actual)
                self._changed.add(scope)
        return _DONE

    def _denied(self, parties: Sequence[_Party], asked: Amount) -> Denied:
        return Denied(tightest(_shortfalls(parties, asked)), self._now, _standings(parties))

    def _brought_up(self, claims: Sequence[Claim]) -> list[_Party]:
        """Return who pays, with all accounts rolled up to one instant: a settle finds the same windows in each."""
        accounts = [self._account_of(claim) for claim in claims]
        instant = max([account.seen_at for account in accounts])
        for account in accounts:
            account.roll(instant)
        return [self._party(account, claim) for account, claim in zip(accounts, claims, strict=True)]

    def _party(self, account: Account, claim: Claim) -> _Party:
        raised = self._raised(claim.scope, account.seen_at)
        return account, claim, raised, counted(account, claim, raised)

    def _account_of(self, claim: Claim) -> Account:
        account = self._account(claim.scope, claim.quota.time_zone)
        account.go_by(claim.quota.time_zone)
        return account

    def _account(self, scope: str, zone: str = DEFAULT_TIME_ZONE) -> Account:
        """Return the account, rolled up to now; `zone` is the one that a new account goes by."""
        account = self._accounts.get(scope)
        if account is None:
            account = self._known.pop(scope, None)  # back once it is written as it is then
            if account is None:
                row = self._execute(_ACCOUNT, (scope,)).fetchone()
                account = Account.opened(self._now, zone) if row is None else _decode_account(row[0])
            account.roll(self._now)
            self._accounts[scope] = account
        return account

    def _raised(self, scope: str, instant: Instant) -> Raised:
        """Return what grants add to the limits of a scope at that instant, as of this transaction."""
        if self._grants is None:
            self._grants = self._execute(GRANTS_IN_FORCE, (self._now,)).fetchall()
        raised: dict[LimitName, int] = {}
        for granted_to, limit, amount, ends_at in self._grants:
            if granted_to == scope and instant < ends_at:
                raised[limit] = raised.get(limit, 0) + amount
        return raised


def _standings(parties: Sequence[_Party], held_since: Amount = _NOTHING) -> tuple[Standing, ...]:
    found: list[Standing] = []
    for party in parties:
        found += told(*party, held_since)
    return tuple(found)


def _shortfalls(parties: Sequence[_Party], amount: Amount) -> list[Shortfall]:
    return [
        shortfall for account, claim, raised, _ in parties for shortfall in shortfalls(account, claim, amount, raised)
    ]


def _open_hold(row: tuple[str, str, str, int, int, int, int]) -> OpenHold:
    hold_id, scopes, worker, reserved_at, *amount = row
    return OpenHold(hold_id, _decode_scopes(scopes), worker, reserved_at, Amount(*amount))
