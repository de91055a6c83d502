"""The tables of the trace store, in numbered upgrades that open older data folders.

An upgrade is never edited once released: a change is the next number. A column that is added must be NULL in older
rows, so that their digests stay valid (`chain.py`).
"""

from collections.abc import Sequence

import duckdb

from llmguard.traces.errors import TraceStoreError

Upgrade = Sequence[str]

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

# Not sealed: what became of a row's payload after it was sealed. The audit log vouches for them.
ADD_ERASURE_COLUMNS = tuple(
    f"ALTER TABLE traces ADD COLUMN {column}" for column in ("erased_at TIMESTAMPTZ", "erased_by VARCHAR")
)

UPGRADES: tuple[Upgrade, ...] = (
    (CREATE_TRACES, CREATE_SEGMENTS),
    ADD_FINANCE_COLUMNS,
    ADD_SEARCH_COLUMNS,
    ADD_ERASURE_COLUMNS,
)


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the number of the last upgrade that this store has had."""
    row = connection.execute(READ_VERSION).fetchone()
    return int(row[0]) if row else 0


def require_present_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse a store that cannot be upgraded by whoever only reads.

    Raises:
        TraceStoreError: it has another schema.
    """
    version = schema_version(connection)
    if version != len(UPGRADES):
        raise TraceStoreError(f"the trace store has schema {version}; this llmguard reads {len(UPGRADES)}")


def upgrade(connection: duckdb.DuckDBPyConnection, upgrades: Sequence[Upgrade]) -> None:
    """Create the tables, or bring those of an older llmguard up to date, in the database that is in use.

    Raises:
        TraceStoreError: a newer llmguard made them.
    """
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
