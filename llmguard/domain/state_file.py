"""How `state.db` is opened: the one SQLite file that keys, ledger and approvals share, each with own tables.

Every context opens its own connections through this function, so that file mode and journal cannot differ between
them. In WAL mode readers never wait for writers, and a commit survives `kill -9` of any process: it lies in the page
cache of the kernel. What a power failure may take depends on `PRAGMA synchronous`, which each context chooses.

Trap: POSIX file locks are dropped when a process closes *any* descriptor of the file. SQLite works around that for
its own descriptors only, so no code may open `state.db` by other means than SQLite while connections are open.
"""

import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_OWNER_ONLY = 0o600  # SQLite gives -wal and -shm the mode of the main file
_WAL_RETRY_SECONDS = 0.01


def open_state(path: Path, *, create: bool = False, busy_timeout_seconds: float = 5.0) -> sqlite3.Connection:
    """Return a connection in autocommit mode (transactions are begun by hand) that any one thread at a time may use.

    Args:
        path: the file; its folder must exist.
        create: make the file if it is missing, and switch it to WAL. Without it a missing file is an error: a process
            that lost its state must notice, not carry on with an empty one.
        busy_timeout_seconds: how long each statement waits for the lock of another connection.

    Raises:
        sqlite3.Error: the file is missing, unreadable, or no database.
        OSError: the file cannot be created.
    """
    if create:
        _create_for_owner_only(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=busy_timeout_seconds,
        check_same_thread=False,
    )
    if create:
        try:
            _switch_to_wal(connection, busy_timeout_seconds)
        except sqlite3.Error:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Change the file in one transaction that begins as a writer; whatever is raised undoes it and is passed on."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def add_columns(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> None:
    """Give a table the columns (each as `name TYPE`) that a file from before does not have yet; NULL in its rows."""
    if not _missing(connection, table, columns):
        return
    with transaction(connection):  # another process may be about to do the same
        for column in _missing(connection, table, columns):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def _missing(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> list[str]:
    there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    return [column for column in columns if column.partition(" ")[0] not in there]


def _create_for_owner_only(path: Path) -> None:
    try:
        # O_EXCL: an existing file is never opened here, because closing it again would drop SQLite's locks.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _OWNER_ONLY))
    except FileExistsError:
        if stat.S_IMODE(path.stat().st_mode) & ~_OWNER_ONLY:
            path.chmod(_OWNER_ONLY)


def _switch_to_wal(connection: sqlite3.Connection, patience_seconds: float) -> None:
    """Set the journal mode, which the file remembers; two processes that do so at once get SQLITE_BUSY untimed."""
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(_WAL_RETRY_SECONDS)
        else:
            return
