"""Write side of the trace store: rows and segment positions, in one transaction."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import msgspec

from llmguard.traces.chain import StoredRow, Tip, seal
from llmguard.traces.database import damage_named, open_for_writing
from llmguard.traces.errors import TraceStoreError
from llmguard.traces.line import Line, Sealed
from llmguard.traces.places import Places
from llmguard.traces.schema import UPGRADES, Upgrade

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Measured on 3.7 KB traces, 1 thread (rows/s, compression included): read_json of a file 43,700; one JSON parameter
# 25,000; list parameters 3,000 (80 us an element); numpy arrays 2,400; executemany 387.
_TYPES = {
    "seq": "BIGINT",
    "trace_id": "UUID",
    "started_at": "TIMESTAMPTZ",
    "endpoint": "VARCHAR",
    "app": "VARCHAR",
    "owner": "VARCHAR",
    "cost_center": "VARCHAR",
    "key_id": "VARCHAR",
    "preset": "VARCHAR",
    "preset_version": "INTEGER",
    "registry_digest": "VARCHAR",
    "redaction_digest": "VARCHAR",
    "policy_digest": "VARCHAR",
    "price_version": "VARCHAR",
    "provider": "VARCHAR",
    "model": "VARCHAR",
    "status": "SMALLINT",
    "code": "VARCHAR",
    "decision_json": "VARCHAR",
    "request": "VARCHAR",
    "response": "VARCHAR",
    "chunks": "VARCHAR",
    "entities": "MAP(VARCHAR, INTEGER)",
    "input_tokens": "BIGINT",
    "output_tokens": "BIGINT",
    "cached_tokens": "BIGINT",
    "reasoning_tokens": "BIGINT",
    "cost_nano_usd": "BIGINT",
    "latency_ms": "DOUBLE",
    "first_token_ms": "DOUBLE",
    "overhead_ms": "DOUBLE",
    "stream": "BOOLEAN",
    "replay_of": "VARCHAR",
    "steps_json": "VARCHAR",
    "payload_digest": "VARCHAR",
    "prev_digest": "VARCHAR",
    "digest": "VARCHAR",
    "team": "VARCHAR",
    "cache_write_tokens": "BIGINT",
    "cache_write_1h_tokens": "BIGINT",
    "audio_input_tokens": "BIGINT",
    "audio_output_tokens": "BIGINT",
    "service_tier": "VARCHAR",
    "price_rate": "VARCHAR",
    "cost_basis": "VARCHAR",
    "preset_digest": "VARCHAR",
    "request_id": "VARCHAR",
    "w3c_trace_id": "VARCHAR",
}
_COLUMNS = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in _TYPES.items()) + "}"
_SELECT = """
INSERT INTO traces BY NAME
SELECT
    seq, trace_id, started_at, endpoint, app, owner, cost_center, key_id, preset, preset_version, registry_digest,
    redaction_digest, policy_digest, price_version, provider, model, status, code,
    decision_json::JSON AS decision,
    request::JSON AS request,
    response::JSON AS response,
    chunks::JSON AS chunks,
    coalesce(entities, MAP {}) AS entities,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens,
    CAST(cost_nano_usd::DECIMAL(18, 0) * 0.000000001 AS DECIMAL(18, 9)) AS cost_usd,
    latency_ms, first_token_ms, overhead_ms,
    coalesce(stream, false) AS stream,
    replay_of,
    steps_json::JSON AS steps,
    payload_digest, prev_digest, digest,
    team, cache_write_tokens, cache_write_1h_tokens, audio_input_tokens, audio_output_tokens, service_tier, price_rate,
    cost_basis, preset_digest, request_id, w3c_trace_id
FROM """
INSERT = (
    f"{_SELECT} read_json($path, format = 'newline_delimited', maximum_object_size = $longest, columns = {_COLUMNS})"
)
# Where nothing may lie on disk in plain: one parameter instead of a file.
_SHAPE = json.dumps([_TYPES])
INSERT_FROM_MEMORY = f"{_SELECT} (SELECT r.* FROM (SELECT unnest(from_json($rows, '{_SHAPE}')) AS r))"  # noqa: S608
READ_TIP = "SELECT seq, digest FROM traces ORDER BY seq DESC LIMIT 1"
READ_POSITIONS = "SELECT name, position FROM segments"
ADD_POSITION = "INSERT INTO segments VALUES ($name, $position)"
MOVE_POSITION = "UPDATE segments SET position = $position WHERE name = $name"
DROP_POSITION = "DELETE FROM segments WHERE name = $name"
READ_CHAIN = """
SELECT
    seq, trace_id::VARCHAR, epoch_us(started_at), endpoint, app, owner, cost_center, key_id, preset, preset_version,
    registry_digest, redaction_digest, policy_digest, price_version, provider, model, status, code,
    entities, input_tokens, output_tokens, cached_tokens, reasoning_tokens,
    CAST(cost_usd::DECIMAL(38, 9) * 1000000000 AS BIGINT), latency_ms, first_token_ms, overhead_ms, stream, replay_of,
    team, cache_write_tokens, cache_write_1h_tokens, audio_input_tokens, audio_output_tokens, service_tier, price_rate,
    cost_basis, preset_digest, request_id, w3c_trace_id, payload_digest, prev_digest, decision::VARCHAR, steps::VARCHAR,
    request::VARCHAR, response::VARCHAR, chunks::VARCHAR, digest, erased_by
FROM traces WHERE seq > $after AND seq <= $after + $count ORDER BY seq
"""
READ_NEXT = "SELECT min(seq) FROM traces WHERE seq > $after"
_SEALED_COLUMNS = (
    *("seq", "trace_id", "started_at", "endpoint", "app", "owner", "cost_center", "key_id", "preset", "preset_version"),
    *("registry_digest", "redaction_digest", "policy_digest", "price_version", "provider", "model", "status", "code"),
    *("entities", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_nano_usd"),
    *("latency_ms", "first_token_ms", "overhead_ms", "stream", "replay_of"),
    *("team", "cache_write_tokens", "cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens"),
    *("service_tier", "price_rate", "cost_basis", "preset_digest", "request_id", "w3c_trace_id"),
    *("payload_digest", "prev_digest", "decision_json", "steps_json"),
)
CHAIN_PAGE_ROWS = 500


class TraceStore:
    """The DuckDB file, held open by the one process that owns `ingester.lock`.

    Attributes:
        connection: for cursors; only this class writes.
        positions: how far each segment has been read, in bytes, as committed.
        places: where its files are.
    """

    def __init__(self, places: Places, *, upgrades: Sequence[Upgrade] = UPGRADES) -> None:
        """Open or create it.

        Raises:
            TraceStoreError: another program has it open, or it is too new.
            duckdb.Error: it cannot be opened.
        """
        self.places = places
        self.connection, self._key = open_for_writing(places, upgrades)
        try:
            with damage_named(places):
                self.positions: dict[str, int] = dict(self.connection.execute(READ_POSITIONS).fetchall())
                tip = self.connection.execute(READ_TIP).fetchone()
        except BaseException:
            self.connection.close()
            raise
        self._tip = Tip(*tip) if tip else Tip()

    @property
    def is_kept_as_wanted(self) -> bool:
        """Whether the file is encrypted with the present key, or plain, as the data folder's setting says."""
        return self._key == self.places.at_rest.candidates[0]

    @property
    def tip(self) -> Tip:
        """The end of the chain."""
        return self._tip

    def commit(self, lines: Sequence[Line], positions: Mapping[str, int]) -> None:
        """Add rows and say how far their segments have been read: both or neither.

        Raises:
            duckdb.Error: nothing was changed.
            OSError: nothing was changed.
        """
        records, tip = self._seal(lines)
        self.connection.begin()
        try:
            if lines:
                self._insert(records)
            for name, position in positions.items():
                statement = MOVE_POSITION if name in self.positions else ADD_POSITION
                self.connection.execute(statement, {"name": name, "position": position})
            self.connection.commit()
        except BaseException:
            self._roll_back()
            raise
        self._tip = tip
        self.positions.update(positions)

    def forget(self, name: str) -> None:
        """Drop the position of a segment that no longer exists.

        Raises:
            duckdb.Error: nothing was changed.
        """
        self.connection.execute(DROP_POSITION, {"name": name})
        self.positions.pop(name, None)

    def chain(self, after: Tip | None = None) -> Iterator[StoredRow]:
        """Yield all rows in chain order for verification, in bounded memory."""
        seq = (after or Tip()).seq
        while rows := read_chain(self.connection, seq, CHAIN_PAGE_ROWS):
            yield from rows
            seq = rows[-1].sealed.seq

    def close(self, *, checkpoint: bool = True) -> None:
        """Compress what is in the log into the file, unless told not to, and let the file go."""
        try:
            if checkpoint:
                self.connection.execute("CHECKPOINT")
        finally:
            self.connection.close()
            with suppress(OSError):  # the next one overwrites it
                self.places.batch.unlink()

    def _seal(self, lines: Sequence[Line]) -> tuple[list[bytes], Tip]:
        tip = self._tip
        records = []
        for line in lines:
            record, tip = seal(line, tip)
            records.append(record)
        return records, tip

    def _insert(self, records: Sequence[bytes]) -> None:
        if self.places.at_rest.encrypts:
            rows = b"[%b]" % b",".join(records)
            inserted = self.connection.execute(INSERT_FROM_MEMORY, {"rows": rows.decode()}).fetchone()
        else:
            with os.fdopen(os.open(self.places.batch, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
                file.write(b"".join(records))
            parameters = {"path": str(self.places.batch), "longest": max(1 << 20, max(map(len, records)) + 1)}
            inserted = self.connection.execute(INSERT, parameters).fetchone()
        if inserted is None or inserted[0] != len(records):
            raise TraceStoreError(f"{len(records)} rows were to be stored, not {inserted}")

    def _roll_back(self) -> None:
        with suppress(duckdb.Error):  # DuckDB has done so itself, or the connection is gone: the first error tells
            self.connection.rollback()


def read_chain(connection: duckdb.DuckDBPyConnection, after: int, count: int) -> list[StoredRow]:
    """Return the rows behind `after` in chain order, at most so many.

    Raises:
        duckdb.Error: they cannot be read.
    """
    # A range of numbers, since ORDER BY with LIMIT would read all payloads behind `after` for each page.
    rows = connection.execute(READ_CHAIN, {"after": after, "count": count}).fetchall()
    if not rows:
        following = connection.execute(READ_NEXT, {"after": after}).fetchone()
        if following is not None and following[0] is not None:  # some were taken out
            rows = connection.execute(READ_CHAIN, {"after": following[0] - 1, "count": count}).fetchall()
    return [_stored_row(row) for row in rows]


def _stored_row(row: tuple[Any, ...]) -> StoredRow:  # Any: what DuckDB returns
    values = dict(zip(_SEALED_COLUMNS, row, strict=False))
    values["started_at"] = _EPOCH + timedelta(microseconds=values["started_at"])  # TIMESTAMPTZ itself would need pytz
    sealed = msgspec.convert({name: value for name, value in values.items() if value is not None}, Sealed)
    return StoredRow(sealed, *row[len(_SEALED_COLUMNS) :])
