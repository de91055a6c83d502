"""A fresh copy of the store that takes its place: the only way in which bytes really leave a DuckDB file.

DuckDB keeps what was deleted or updated in its file, after checkpoints too. The copy is made while readers
are answered from the old file and workers write into the spool; it is put in place by one rename, so that a kill at any
moment leaves the old file or the new one, whole.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import duckdb

from llmguard.traces.database import attach_fresh
from llmguard.traces.errors import TraceStoreError
from llmguard.traces.places import Places

_SPARE_BYTES = 512 << 20  # workers refuse requests when less than 256 MB are free
NOTHING_DUE = "CREATE OR REPLACE TEMP TABLE due (seq BIGINT)"
_COPY_TRACES = """
INSERT INTO fresh.traces BY NAME
SELECT * EXCLUDE (is_due) REPLACE (
    CASE WHEN is_due THEN NULL ELSE request END AS request,
    CASE WHEN is_due THEN NULL ELSE response END AS response,
    CASE WHEN is_due THEN NULL ELSE chunks END AS chunks,
    CASE WHEN is_due THEN now() ELSE erased_at END AS erased_at,
    CASE WHEN is_due THEN $action ELSE erased_by END AS erased_by
)
FROM (SELECT *, seq IN (SELECT seq FROM temp.due) AS is_due FROM store.traces)
"""
_COPY_POSITIONS = "INSERT INTO fresh.segments SELECT * FROM store.segments"
_COUNTS = "SELECT (SELECT count(*) FROM store.traces), (SELECT count(*) FROM fresh.traces)"


def make_copy(connection: duckdb.DuckDBPyConnection, places: Places, action: str | None = None) -> None:
    """Copy the store, kept as the data folder wants it, without the payloads of the rows in the temporary table `due`.

    Args:
        connection: of the store; nothing may be written to it until the copy has taken its place.
        places: where.
        action: what the erased rows name.

    Raises:
        duckdb.Error: it could not be made; nothing has changed.
        TraceStoreError: there is no room for it, or it does not have all rows; as above.
    """
    drop_copy(places)
    _check_room(places)
    attach_fresh(connection, places)
    try:
        connection.execute(_COPY_TRACES, {"action": action})
        connection.execute(_COPY_POSITIONS)
        connection.execute("CHECKPOINT fresh")
        _check_counts(connection)
    except BaseException:
        with suppress(duckdb.Error):
            connection.execute("DETACH fresh")
        drop_copy(places)
        raise
    connection.execute("DETACH fresh")
    places.fresh_store.chmod(0o600)


def put_in_place(places: Places) -> None:
    """Let the copy take the place of the store, which its caller has closed.

    Raises:
        TraceStoreError: the store's log is still there; nothing has changed.
        OSError: as above.
    """
    if Path(f"{places.store}.wal").exists():
        raise TraceStoreError("the trace store was not closed in order; nothing was changed")
    _sync(places.fresh_store)
    places.fresh_store.replace(places.store)
    _sync(places.data)
    shutil.rmtree(places.temporary, ignore_errors=True)
    places.batch.unlink(missing_ok=True)


def drop_copy(places: Places) -> None:
    """Remove a copy that was not finished."""
    for path in places.data.glob(f"{places.fresh_store.name}*"):
        path.unlink(missing_ok=True)


def _check_room(places: Places) -> None:
    needed = places.store.stat().st_size + _SPARE_BYTES
    free = shutil.disk_usage(places.data).free
    if free < needed:
        raise TraceStoreError(
            f"a copy of the trace store needs {needed >> 20} MB free in {places.data}, and {free >> 20} are"
        )


def _check_counts(connection: duckdb.DuckDBPyConnection) -> None:
    counts = connection.execute(_COUNTS).fetchone()
    if counts is None or counts[0] != counts[1]:
        raise TraceStoreError(f"the copy of the store does not have all rows ({counts}); nothing was changed")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
