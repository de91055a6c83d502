"""Read side of the trace store: named questions and free SELECTs, on a cursor of whoever holds the file.

Every row leaves DuckDB as JSON, so that it can go over a socket. Money in named questions is text with nine places, or
whole nano-dollars; in free SQL it is a JSON number, exact if the caller casts it to VARCHAR.
"""

import inspect
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypedDict

import duckdb

from llmguard.domain.chat import JsonObject
from llmguard.traces.errors import TraceQueryError

Rows = list[JsonObject]
Parameters = dict[str, Any] | list[Any]  # Any: values of SQL, as JSON has them

MAX_ROWS = 100_000
_MAX_BYTES = 256 << 20
_FETCH_ROWS = 100


class TraceFilters(TypedDict, total=False):
    """What narrows a list or a count; all given ones must hold. `since` is included, `until` is not (ISO 8601)."""

    app: str
    owner: str
    cost_center: str
    key_id: str
    preset: str
    preset_version: int
    provider: str
    model: str
    status: int
    code: str
    stream: bool
    replay_of: str
    since: datetime | str
    until: datetime | str


_CONDITIONS = {
    name: f"{name} = ${name}"
    for name in (
        *("app", "owner", "cost_center", "key_id", "preset", "preset_version", "provider", "model"),
        *("status", "code", "stream", "replay_of"),
    )
} | {"since": "started_at >= $since::TIMESTAMPTZ", "until": "started_at < $until::TIMESTAMPTZ"}

_STARTED_AT = "strftime(make_timestamp(epoch_us(started_at)), '%Y-%m-%dT%H:%M:%S.%fZ') AS started_at"
_NARROW = f"""
    trace_id, {_STARTED_AT}, endpoint, app, owner, cost_center, key_id, preset, preset_version, provider, model, status,
    code, entities, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_usd::VARCHAR AS cost_usd,
    latency_ms, first_token_ms, overhead_ms, stream, replay_of
"""
# Ids and times lie in row groups in order of arrival: DuckDB skips the groups whose minimum and maximum rule them out.
LIST = "SELECT {narrow} FROM traces AS t {where} ORDER BY t.started_at DESC, t.seq DESC LIMIT {limit}"
COUNT = "SELECT count(*) AS count FROM traces {where}"
# The inner query reads ids alone; only the rows that it finds are read in full.
SHOW = f"""
SELECT
    seq, {_NARROW}, team, registry_digest, redaction_digest, policy_digest, price_version, price_rate, service_tier,
    cost_basis, cache_write_tokens, cache_write_1h_tokens, audio_input_tokens, audio_output_tokens,
    decision::VARCHAR AS decision,
    request::VARCHAR AS request, response::VARCHAR AS response, chunks::VARCHAR AS chunks, steps::VARCHAR AS steps,
    payload_digest, prev_digest, digest
FROM traces WHERE rowid IN (SELECT rowid FROM traces WHERE trace_id = $trace_id::UUID) LIMIT 1
"""  # noqa: S608 - built from constants of this module
FIND_MANY = """
SELECT
    trace_id, status, code, app, preset, provider, model, input_tokens, output_tokens, cached_tokens,
    reasoning_tokens, CAST(cost_usd::DECIMAL(38, 9) * 1000000000 AS BIGINT) AS cost_nano_usd
FROM traces WHERE trace_id IN (SELECT unnest(from_json($ids, '["UUID"]')))
"""
_JSON_COLUMNS = ("decision", "request", "response", "chunks", "steps")


class TraceQueries:
    """Answers questions on one DuckDB connection; may be asked from several threads at once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, timeout_seconds: float = 30.0) -> None:
        """Use cursors of an open connection, which stays the caller's."""
        self._connection = connection.cursor()  # never busy itself: cursors are made from any thread
        self._lock = threading.Lock()
        self._running: set[duckdb.DuckDBPyConnection] = set()
        self._timeout_seconds = timeout_seconds

    def list(self, *, limit: int, filters: TraceFilters) -> Rows:
        """Return narrow columns, newest first."""
        sql = LIST.format(narrow=_NARROW, where=_where(filters), limit=min(int(limit), MAX_ROWS))
        return self._rows(sql, dict(filters))

    def count(self, *, filters: TraceFilters) -> int:
        """Return how many traces there are."""
        return int(self._rows(COUNT.format(where=_where(filters)), dict(filters))[0]["count"])

    def show(self, *, trace_id: str) -> JsonObject | None:
        """Return all columns of one trace with their JSON decoded."""
        rows = self._rows(SHOW, {"trace_id": trace_id})
        for row in rows:
            row.update({name: json.loads(row[name]) for name in _JSON_COLUMNS if row[name] is not None})
        return rows[0] if rows else None

    def find_many(self, *, ids: Sequence[str]) -> dict[str, JsonObject]:
        """Return how the requests of these ids ended, by id; ids without a trace are left out."""
        rows = self._rows(FIND_MANY, {"ids": json.dumps(ids)})
        return {row["trace_id"]: row for row in rows}

    def query(self, *, sql: str, parameters: Parameters, limit: int) -> Rows:
        """Return what one SELECT gives, at most `limit` rows.

        Raises:
            TraceQueryError: it is not one SELECT, does not parse, takes too long or gives too much.
        """
        try:
            statements = duckdb.extract_statements(sql)
        except duckdb.Error as error:
            raise TraceQueryError(str(error)) from None
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise TraceQueryError("only a single SELECT is answered")
        return self._rows(sql.rstrip().rstrip(";"), parameters, limit=min(limit, MAX_ROWS))

    @property
    def is_busy(self) -> bool:
        """Whether a question is being answered."""
        return bool(self._running)

    def interrupt(self) -> None:
        """Stop all questions that are being answered; each ends with a TraceQueryError."""
        with self._lock:
            for cursor in self._running:
                cursor.interrupt()

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._connection.close()

    def _rows(self, sql: str, parameters: Parameters, *, limit: int = MAX_ROWS) -> Rows:
        wrapped = f"SELECT to_json(q)::VARCHAR FROM (\n{sql}\n) AS q LIMIT {limit}"  # noqa: S608 - one SELECT, checked
        with self._lock:
            cursor = self._connection.cursor()
            self._running.add(cursor)
        timer = threading.Timer(self._timeout_seconds, cursor.interrupt)
        timer.start()
        try:
            return _fetch(cursor, wrapped, parameters)
        except duckdb.InterruptException:
            raise TraceQueryError(f"stopped; an answer may take {self._timeout_seconds:g} seconds") from None
        except (duckdb.IOException, duckdb.FatalException, duckdb.InternalException):
            raise
        except duckdb.Error as error:
            raise TraceQueryError(str(error)) from None
        finally:
            timer.cancel()
            with self._lock:
                self._running.discard(cursor)
            with suppress(duckdb.Error):
                cursor.close()


def _fetch(cursor: duckdb.DuckDBPyConnection, sql: str, parameters: Parameters) -> Rows:
    cursor.execute("BEGIN TRANSACTION READ ONLY")  # ended by closing the cursor
    cursor.execute(sql, parameters)
    rows: Rows = []
    size = 0
    while page := cursor.fetchmany(_FETCH_ROWS):
        size += sum(len(text) for (text,) in page)
        if size > _MAX_BYTES:
            raise TraceQueryError(f"the answer is larger than {_MAX_BYTES >> 20} MB; ask for fewer rows or columns")
        rows += [json.loads(text) for (text,) in page]
    return rows


def _where(filters: TraceFilters) -> str:
    conditions = [_condition(name) for name in filters]
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _condition(name: str) -> str:
    condition = _CONDITIONS.get(name)
    if condition is None:
        raise TraceQueryError(f"traces cannot be filtered by {name!r}; there is {', '.join(_CONDITIONS)}")
    return condition


def answer(queries: TraceQueries, operation: str, arguments: JsonObject) -> Any:  # Any: JSON of that operation
    """Answer a named question.

    Raises:
        TraceQueryError: there is no such question, or it cannot be answered.
    """
    operations: dict[str, Callable[..., Any]] = {  # Any: see above
        "list": queries.list,
        "count": queries.count,
        "show": queries.show,
        "find_many": queries.find_many,
        "query": queries.query,
    }
    if operation not in operations:
        raise TraceQueryError(f"there is no question {operation!r}")
    try:
        bound = inspect.signature(operations[operation]).bind(**arguments)
    except TypeError:
        raise TraceQueryError(f"these are not the arguments of {operation!r}") from None
    return operations[operation](*bound.args, **bound.kwargs)
