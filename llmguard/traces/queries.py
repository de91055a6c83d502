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
from typing import Any

import duckdb

from llmguard.domain.chat import JsonObject
from llmguard.traces.chain import Tip, canonical, first_bad_row
from llmguard.traces.database import cursor_of
from llmguard.traces.errors import TraceQueryError
from llmguard.traces.filters import DATA_OF, TraceFilters, condition_of
from llmguard.traces.rows import MAX_ROWS, Rows
from llmguard.traces.slices import Found, search_newest
from llmguard.traces.store import CHAIN_PAGE_ROWS, read_chain

Parameters = dict[str, Any] | list[Any]  # Any: values of SQL, as JSON has them

_MAX_BYTES = 256 << 20
_FETCH_ROWS = 20
_EXPORT_ROWS = 1_000
_EVIDENCE_ROWS = 500
_EXPORT_BYTES = 16 << 20


_STARTED_AT = "strftime(make_timestamp(epoch_us(started_at)), '%Y-%m-%dT%H:%M:%S.%fZ') AS started_at"
_ERASED_AT = "strftime(make_timestamp(epoch_us(erased_at)), '%Y-%m-%dT%H:%M:%S.%fZ') AS erased_at"
_NARROW = f"""
    trace_id, {_STARTED_AT}, endpoint, app, owner, cost_center, key_id, preset, preset_version, provider, model, status,
    code, entities, input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost_usd::VARCHAR AS cost_usd,
    latency_ms, first_token_ms, overhead_ms, stream, replay_of, request_id, w3c_trace_id
"""
# Ids and times lie in row groups in order of arrival: DuckDB skips the groups whose minimum and maximum rule them out.
LIST = "SELECT seq, {narrow} FROM traces AS t {where} ORDER BY t.started_at DESC, t.seq DESC LIMIT {limit}"
COUNT = "SELECT count(*) AS count FROM traces {where}"
# The inner query reads ids alone; only the rows that it finds are read in full.
_WIDE = f"""
    seq, {_NARROW}, team, preset_digest, registry_digest, redaction_digest, policy_digest, price_version, price_rate,
    service_tier, cost_basis, cache_write_tokens, cache_write_1h_tokens, audio_input_tokens, audio_output_tokens,
    decision::VARCHAR AS decision, request::VARCHAR AS request, response::VARCHAR AS response,
    chunks::VARCHAR AS chunks, steps::VARCHAR AS steps, payload_digest, prev_digest, digest,
    {_ERASED_AT}, erased_by
"""
SHOW = f"""
SELECT {_WIDE} FROM traces WHERE rowid IN (SELECT rowid FROM traces WHERE trace_id = $trace_id::UUID) LIMIT 1
"""  # noqa: S608 - built from constants of this module
# Only the rows of the page are read in full: sorting whole rows would read every payload behind `after` for each page.
EXPORT = """
SELECT {wide} FROM traces
WHERE rowid IN (SELECT t.rowid FROM traces AS t {where} ORDER BY t.seq LIMIT {limit}) ORDER BY seq
"""
ENTITY_TYPES = f"SELECT DISTINCT unnest(map_keys(entities)) AS entity FROM traces WHERE {DATA_OF}"  # noqa: S608 - as above
SPAN = f"""
SELECT min(epoch_us(started_at)) // 1000000 AS first, max(epoch_us(started_at)) // 1000000 AS last
FROM traces WHERE {DATA_OF}
"""  # noqa: S608 - as above
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
        self._connection = cursor_of(connection)  # never busy itself: cursors are made from any thread
        self._lock = threading.Lock()
        self._running: set[duckdb.DuckDBPyConnection] = set()
        self._timeout_seconds = timeout_seconds

    def list(self, *, limit: int, filters: TraceFilters) -> Rows:
        """Return narrow columns, newest first."""
        where, values = condition_of(filters)
        return self._rows(LIST.format(narrow=_NARROW, where=where, limit=min(int(limit), MAX_ROWS)), values)

    def search(self, *, limit: int, before: str, seconds: float, hours: float, filters: TraceFilters) -> Found:
        """Return the newest of the rows that `list` gives, as far back as it came in some seconds."""
        return search_newest(
            lambda part, most: self.list(limit=most, filters=part),
            filters,
            limit=min(int(limit), MAX_ROWS),
            before=before,
            seconds=seconds,
            hours=hours,
        )

    def count(self, *, filters: TraceFilters) -> int:
        """Return how many traces there are."""
        where, values = condition_of(filters)
        return int(self._rows(COUNT.format(where=where), values)[0]["count"])

    def export(self, *, filters: TraceFilters, after: int, limit: int) -> Rows:
        """Return all columns of traces in order of `seq`, from the one behind `after` on: some of them, at least one.

        The JSON columns are the exact texts that the digests cover. Ask again behind the last `seq`
        until nothing comes.
        """
        where, values = condition_of({**filters, "after_seq": after})
        sql = EXPORT.format(wide=_WIDE, where=where, limit=min(int(limit), _EXPORT_ROWS))
        return self._rows(sql, values, enough_bytes=_EXPORT_BYTES)

    def verify(self, *, after: int, digest: str) -> JsonObject:
        """Check some rows of the chain behind one with this number and digest.

        Returns:
            `seq` and `digest` of the last row that holds, `fault` of the first that does not, whether there is `more`
            to check, and the numbers of rows whose payload was `erased`, by erasure.
        """
        with self._lock:
            cursor = cursor_of(self._connection)
        try:
            rows = read_chain(cursor, after, CHAIN_PAGE_ROWS)
            fault = first_bad_row(rows, Tip(after, digest))
        except duckdb.Error as error:  # DuckDB's own checksums: a block of the file is not what was written
            return {"seq": after, "digest": digest, "fault": _damage(cursor, after, error), "more": False, "erased": {}}
        finally:
            cursor.close()
        if fault is not None or not rows:
            return {"seq": after, "digest": digest, "fault": fault, "more": False, "erased": {}}
        erased: dict[str, list[int]] = {}
        for row in rows:
            if row.erased_by is not None:
                erased.setdefault(row.erased_by, []).append(row.sealed.seq)
        last = rows[-1]
        return {"seq": last.sealed.seq, "digest": last.digest, "fault": None, "more": True, "erased": erased}

    def sealed(self, *, after: int, last: int, since: str, until: str, app: str | None) -> JsonObject:
        """Return some rows of the chain behind one, none behind `last`: for evidence.

        Returns:
            `digests`: number and digest of each row; `rows`: what the digests of those in the time and of the app
            cover; `prev_digest` of the first row.
        """
        start, end = datetime.fromisoformat(since), datetime.fromisoformat(until)
        with self._lock:
            cursor = cursor_of(self._connection)
        try:
            found = [row for row in read_chain(cursor, after, _EVIDENCE_ROWS) if row.sealed.seq <= last]
        finally:
            cursor.close()
        ours = (row for row in found if start <= row.sealed.started_at < end and app in (None, row.sealed.app))
        return {
            "prev_digest": found[0].sealed.prev_digest if found else None,
            "digests": [(row.sealed.seq, row.digest) for row in found],
            "rows": [
                {
                    "sealed": canonical(row.sealed),
                    "digest": row.digest,
                    "request": row.request,
                    "response": row.response,
                    "chunks": row.chunks,
                    "erased_by": row.erased_by,
                }
                for row in ours
            ],
        }

    def extent(self, *, app: str) -> JsonObject:
        """Return the entity types that were hidden for an app, and the first and last second of its data, or None."""
        types = [row["entity"] for row in self._rows(ENTITY_TYPES, {"data_of": app})]
        return {"entity_types": types, **self._rows(SPAN, {"data_of": app})[0]}

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

    def _rows(
        self, sql: str, parameters: Parameters, *, limit: int = MAX_ROWS, enough_bytes: int | None = None
    ) -> Rows:
        wrapped = f"SELECT to_json(q)::VARCHAR FROM (\n{sql}\n) AS q LIMIT {limit}"  # noqa: S608 - one SELECT, checked
        with self._lock:
            cursor = cursor_of(self._connection)
            self._running.add(cursor)
        timer = threading.Timer(self._timeout_seconds, cursor.interrupt)
        timer.start()
        try:
            return _fetch(cursor, wrapped, parameters, enough_bytes)
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


def _fetch(
    cursor: duckdb.DuckDBPyConnection, sql: str, parameters: Parameters, enough_bytes: int | None = None
) -> Rows:
    cursor.execute("BEGIN TRANSACTION READ ONLY")  # ended by closing the cursor
    cursor.execute(sql, parameters)
    rows: Rows = []
    size = 0
    while (enough_bytes is None or size < enough_bytes) and (page := cursor.fetchmany(_FETCH_ROWS)):
        size += sum(len(text) for (text,) in page)
        if size > _MAX_BYTES:
            raise TraceQueryError(f"the answer is larger than {_MAX_BYTES >> 20} MB; ask for fewer rows or columns")
        rows += [json.loads(text) for (text,) in page]
    return rows


def _damage(cursor: duckdb.DuckDBPyConnection, after: int, error: duckdb.Error) -> str:
    """Return which row is the first that cannot be read."""
    for seq in range(after, after + CHAIN_PAGE_ROWS):
        try:
            read_chain(cursor, seq, 1)
        except duckdb.Error:
            return f"row {seq + 1}: it cannot be read, the file is damaged ({type(error).__name__})"
    return f"a row behind {after} cannot be read, the file is damaged ({type(error).__name__})"


def answer(queries: TraceQueries, operation: str, arguments: JsonObject) -> Any:  # Any: JSON of that operation
    """Answer a named question.

    Raises:
        TraceQueryError: there is no such question, or it cannot be answered.
    """
    operations: dict[str, Callable[..., Any]] = {  # Any: see above
        "list": queries.list,
        "search": queries.search,
        "count": queries.count,
        "show": queries.show,
        "export": queries.export,
        "extent": queries.extent,
        "sealed": queries.sealed,
        "verify": queries.verify,
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
