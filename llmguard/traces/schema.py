"""The tables of the trace store, in numbered upgrades that open older data folders; and how DuckDB is opened.

An upgrade is never edited once released: a change is the next number. A column that is added must be NULL in older
rows, so that their digests stay valid (`chain.py`).
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import duckdb

from llmguard.traces.errors import TraceStoreError
from llmguard.traces.places import Places

Upgrade = Sequence[str]
Options = dict[str, str | bool | int | float | list[str]]

CREATE_VERSION_TABLE = (
    "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, applied_at TIMESTAMP NOT NULL)"
)
READ_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"
ADD_VERSION = "INSERT INTO schema_version VALUES (?, make_timestamp(epoch_us(now())))"

CREATE_TRACES = """
CREATE TABLE traces (
    seq BIGINT NOT NULL,
    trace_id UUID NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    endpoint VARCHAR NOT NULL,
    app VARCHAR,
    owner VARCHAR,
    cost_center VARCHAR,
    key_id VARCHAR,
    preset VARCHAR,
    preset_version INTEGER,
    registry_digest VARCHAR,
    redaction_digest VARCHAR,
    policy_digest VARCHAR,
    price_version VARCHAR,
    provider VARCHAR,
    model VARCHAR,
    status SMALLINT,
    code VARCHAR,
    decision JSON NOT NULL USING COMPRESSION zstd,
    request JSON USING COMPRESSION zstd,
    response JSON USING COMPRESSION zstd,
    chunks JSON USING COMPRESSION zstd,
    entities MAP(VARCHAR, INTEGER) NOT NULL,
    input_tokens BIGINT,
    output_tokens BIGINT,
    cached_tokens BIGINT,
    reasoning_tokens BIGINT,
    cost_usd DECIMAL(18, 9),
    latency_ms DOUBLE,
    first_token_ms DOUBLE,
    overhead_ms DOUBLE,
    stream BOOLEAN NOT NULL,
    replay_of VARCHAR,
    steps JSON NOT NULL USING COMPRESSION zstd,
    payload_digest VARCHAR NOT NULL USING COMPRESSION zstd,
    prev_digest VARCHAR NOT NULL USING COMPRESSION zstd,
    digest VARCHAR NOT NULL USING COMPRESSION zstd
)
"""
CREATE_SEGMENTS = "CREATE TABLE segments (name VARCHAR NOT NULL, position BIGINT NOT NULL)"
ADD_FINANCE_COLUMNS = tuple(
    f"ALTER TABLE traces ADD COLUMN {column}"
    for column in (
        "team VARCHAR",
        "cache_write_tokens BIGINT",
        "cache_write_1h_tokens BIGINT",
        "audio_input_tokens BIGINT",
        "audio_output_tokens BIGINT",
        "service_tier VARCHAR",
        "price_rate VARCHAR",
        "cost_basis VARCHAR",
    )
)

ADD_SEARCH_COLUMNS = tuple(
    f"ALTER TABLE traces ADD COLUMN {column}"
    for column in ("preset_digest VARCHAR", "request_id VARCHAR", "w3c_trace_id VARCHAR")
)

UPGRADES: tuple[Upgrade, ...] = ((CREATE_TRACES, CREATE_SEGMENTS), ADD_FINANCE_COLUMNS, ADD_SEARCH_COLUMNS)

# Chosen for bounded memory and a quiet disk (STORE.md): a commit is a few MB of log, and a checkpoint, which
# compresses, comes every 256 MB. Nothing is ever fetched: json, icu and parquet are linked into the package.
_OPTIONS: Options = {
    "storage_compatibility_version": "v1.5.0",  # 1.5 and 2.0 both read it
    "memory_limit": "512MB",
    "threads": 1,  # two cost 40 % more CPU a row, measured
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_WRITER_OPTIONS: Options = {"checkpoint_threshold": "256MB", "max_temp_directory_size": "4GB"}


def open_for_writing(places: Places, upgrades: Sequence[Upgrade] = UPGRADES) -> duckdb.DuckDBPyConnection:
    """Open the store of a data folder, create or upgrade its tables, and close all doors to other files.

    The caller holds `ingester.lock`.

    Raises:
        TraceStoreError: another program has the file open, or a newer llmguard made it.
        duckdb.Error: it cannot be opened: no space, a damaged file.
    """
    options = _OPTIONS | _WRITER_OPTIONS | {"temp_directory": str(places.temporary)}
    connection = _connect(str(places.store), options, read_only=False)
    try:
        for path in (places.store, Path(f"{places.store}.wal")):
            with suppress(FileNotFoundError):
                path.chmod(0o600)
        _upgrade(connection, upgrades)
        _lock_down(connection, [str(places.batch)])
    except BaseException:
        connection.close()
        raise
    return connection


def open_in_memory() -> duckdb.DuckDBPyConnection:
    """Open an empty store that leaves no file behind."""
    connection = _connect(":memory:", _OPTIONS, read_only=False)
    _upgrade(connection, UPGRADES)
    _lock_down(connection, [])
    return connection


def open_for_reading(places: Places) -> duckdb.DuckDBPyConnection:
    """Open the store without the right to change it, for a folder that this user may only read.

    Raises:
        TraceStoreError: another program has it open for writing, or it has another schema than this llmguard.
        duckdb.Error: it cannot be opened.
    """
    connection = _connect(str(places.store), _OPTIONS, read_only=True)
    try:
        _require_present_schema(connection)
        _lock_down(connection, [])
    except BaseException:
        connection.close()
        raise
    return connection


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the number of the last upgrade that this store has had."""
    row = connection.execute(READ_VERSION).fetchone()
    return int(row[0]) if row else 0


def _require_present_schema(connection: duckdb.DuckDBPyConnection) -> None:
    version = schema_version(connection)
    if version != len(UPGRADES):
        raise TraceStoreError(f"the trace store has schema {version}; this llmguard reads {len(UPGRADES)}")


def _connect(path: str, options: Options, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        connection = duckdb.connect(path, read_only=read_only, config=options)
    except duckdb.IOException as error:
        if "lock" not in str(error):
            raise
        holder = re.search(r"PID \d+", str(error))
        who = f" ({holder[0]})" if holder else ""
        raise TraceStoreError(
            f"another program{who} has {path} open; DuckDB lets one in at a time. Close it and ask again."
        ) from None
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _upgrade(connection: duckdb.DuckDBPyConnection, upgrades: Sequence[Upgrade]) -> None:
    connection.execute(CREATE_VERSION_TABLE)
    version = schema_version(connection)
    if version > len(upgrades):
        raise TraceStoreError(
            f"the trace store has schema {version}, made by a newer llmguard; this one knows {len(upgrades)}"
        )
    for number, statements in enumerate(upgrades[version:], start=version + 1):
        connection.begin()
        for statement in statements:
            connection.execute(statement)
        connection.execute(ADD_VERSION, [number])
        connection.commit()


def _lock_down(connection: duckdb.DuckDBPyConnection, readable_files: list[str]) -> None:
    """Let no statement touch any file but the store itself, or change a setting; holds for all cursors."""
    quoted = ", ".join("'" + path.replace("'", "''") + "'" for path in readable_files)
    connection.execute(f"SET allowed_paths = [{quoted}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
