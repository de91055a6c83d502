"""What CLI, console and crash recovery read traces with, whether the ingester runs or not.

While it runs it is asked, since DuckDB lets no second process in. While it does not, this process takes its lock for a
moment, brings what is left in the spool into the store, and reads. A folder that this user may only read is opened
read-only; what is still in its spool is then not seen.
"""

import http.client
import json
import logging
import os
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Unpack

import duckdb
import msgspec

from llmguard.domain.at_rest import PLAIN, AtRest
from llmguard.domain.chat import JsonObject
from llmguard.traces.chain import GENESIS
from llmguard.traces.copying import drop_copy, put_in_place
from llmguard.traces.database import open_for_reading, open_in_memory
from llmguard.traces.door import Address
from llmguard.traces.drain import Drain
from llmguard.traces.encryption import LineOpener
from llmguard.traces.erasing import Erased, Order, confirm, erase
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.traces.filters import TraceFilters, moment_of, plain_filters
from llmguard.traces.line import MAX_LINE_BYTES, BadLineError, Facts, decode_line
from llmguard.traces.lock import ingester_lock
from llmguard.traces.orders import Progress
from llmguard.traces.places import Places
from llmguard.traces.queries import Parameters, TraceQueries, answer
from llmguard.traces.rows import Rows
from llmguard.traces.segments import open_segment, segment_paths, whole_lines
from llmguard.traces.slices import FIRST_HOURS, Found
from llmguard.traces.store import TraceStore

_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_IDS_AT_ONCE = 10_000
_SPAN = """
SELECT min(seq) AS first, max(seq) AS last FROM traces
WHERE started_at >= $since::TIMESTAMPTZ AND started_at < $until::TIMESTAMPTZ AND ($app::VARCHAR IS NULL OR app = $app)
"""
_LOG = logging.getLogger(__name__)
_FOUND = ("status", "code", "app", "preset", "provider", "model", "input_tokens", "output_tokens", "cached_tokens")


class TraceReader:
    """Traces of one data folder, without holding anything open between calls."""

    def __init__(self, data: Path, at_rest: AtRest = PLAIN, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        """Read from a data folder.

        Args:
            data: the data folder.
            at_rest: the keys of an encrypted one; while the ingester runs, none is needed.
            patience_seconds: how long to wait for an ingester that is just starting or stopping.
        """
        self._places = Places(data, at_rest)
        self._patience_seconds = patience_seconds
        self._held: tuple[duckdb.DuckDBPyConnection, bool] | None = None

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the store open between questions, for whoever asks many; where an ingester has it, it is open anyway.

        Raises as `list` does.
        """
        if not self._places.data.is_dir() or not os.access(self._places.data, os.W_OK):
            yield
            return
        with ingester_lock(self._places) as is_ours:
            if not is_ours:
                yield
                return
            self._places.address.unlink(missing_ok=True)
            with self._drained_store() as held:
                self._held = held
                try:
                    yield
                finally:
                    self._held = None

    def list(self, *, limit: int = 50, **filters: Unpack[TraceFilters]) -> Rows:
        """Return the narrow columns of the newest traces that pass all filters, newest first.

        `started_at` is ISO 8601 text in UTC, `cost_usd` exact text, `entities` counts by type.

        Raises:
            TraceStoreError: the store cannot be read now.
            TraceQueryError: a filter is unknown or its value impossible.
        """
        result: Rows = self._ask("list", {"limit": limit, "filters": plain_filters(filters)})
        return result

    def search(
        self,
        *,
        limit: int,
        before: datetime,
        seconds: float,
        hours: float = FIRST_HOURS,
        **filters: Unpack[TraceFilters],
    ) -> Found:
        """Return the newest rows of `list`, and how far back it came: see `search_newest`. Raises as `list` does."""
        asked = {"limit": limit, "before": before.isoformat(), "seconds": seconds, "hours": hours}
        result: Found = self._ask("search", asked | {"filters": plain_filters(filters)})
        return result

    def count(self, **filters: Unpack[TraceFilters]) -> int:
        """Return how many traces pass all filters. Raises as `list` does."""
        return int(self._ask("count", {"filters": plain_filters(filters)}))

    def show(self, trace_id: str) -> JsonObject | None:
        """Return all columns of a trace with their JSON decoded, or None. Raises as `list` does."""
        result: JsonObject | None = self._ask("show", {"trace_id": trace_id})
        return result

    def export(self, *, limit: int | None = None, **filters: Unpack[TraceFilters]) -> Iterator[JsonObject]:
        """Yield all columns of the traces that pass all filters, oldest first, in bounded memory.

        `decision`, `request`, `response`, `chunks` and `steps` are the exact JSON texts that the digests cover. Raises
        as `list` does.
        """
        left, after = limit, filters.get("after_seq", 0)
        while left is None or left > 0:
            arguments = {"filters": plain_filters(filters), "after": after, "limit": 1_000 if left is None else left}
            rows: Rows = self._ask("export", arguments)
            if not rows:
                return
            yield from rows
            after = rows[-1]["seq"]
            left = None if left is None else left - len(rows)

    def verify(self) -> Iterator[JsonObject]:
        """Yield pages of the chain: `seq` of the last row that holds, and the `fault` of the first that does not.

        `erased` has the numbers of the page's rows without their payload, by the erasure that they name. Raises as
        `list` does.
        """
        page: JsonObject = {"seq": 0, "digest": GENESIS, "fault": None, "more": True}
        while page["more"]:
            page = self._ask("verify", {"after": page["seq"], "digest": page["digest"]})
            yield page

    def span(self, *, since: datetime, until: datetime, app: str | None) -> tuple[int | None, int | None]:
        """Return the numbers of the first and the last row of a time, and of an app if one is named."""
        parameters = {"since": moment_of(since), "until": moment_of(until), "app": app}
        [row] = self.query(_SPAN, parameters)
        return row["first"], row["last"]

    def sealed(
        self, first: int, last: int, *, since: datetime, until: datetime, app: str | None
    ) -> Iterator[JsonObject]:
        """Yield the chain from its row `first` to its row `last`, in pages as `TraceQueries.sealed` gives them."""
        while first <= last:
            arguments = {
                "after": first - 1,
                "last": last,
                "since": moment_of(since),
                "until": moment_of(until),
                "app": app,
            }
            page = self._ask("sealed", arguments)
            if not page["digests"]:
                return
            yield page
            first = page["digests"][-1][0] + 1

    def erase(self, order: Order) -> Erased:
        """Erase payloads for good, or count them for a dry run; returns when no byte of them is left in the store.

        While the ingester runs it does it, and goes on with traces afterwards; a large store takes minutes.

        Raises:
            TraceStoreError: it is not known to be done; the audit log tells whether it was begun.
            TraceQueryError: the order cannot be understood, or another one is under way.
        """
        give_up = time.monotonic() + self._patience_seconds
        while time.monotonic() < give_up:
            with ingester_lock(self._places) as is_ours:
                if is_ours:
                    return self._erase_here(order)
            if self._ask_ingester("erase", msgspec.to_builtins(order)) is not None:
                return self._await(order)
            time.sleep(_POLL_SECONDS)
        raise TraceStoreError("the ingester holds the trace store and does not answer; its log says more")

    def _erase_here(self, order: Order) -> Erased:
        self._places.address.unlink(missing_ok=True)
        drop_copy(self._places)
        store = TraceStore(self._places)
        is_copied = False
        try:
            Drain(self._places.spool, store).run()
            erased = erase(store, order)
            is_copied = erased.rows > 0 and not order.dry_run
        except (duckdb.Error, OSError, sqlite3.Error) as error:
            raise TraceStoreError(f"nothing was erased ({type(error).__name__})") from None
        finally:
            store.close(checkpoint=is_copied)
        if is_copied:
            put_in_place(self._places)
            confirm(self._places.state, order, erased)
        return erased

    def _await(self, order: Order) -> Erased:
        """Wait for the ingester, whose door is closed for a moment while the copy takes its place."""
        give_up = time.monotonic() + self._patience_seconds
        while time.monotonic() < give_up:
            time.sleep(_POLL_SECONDS)
            reply = self._ask_ingester("erasure", {"id": order.id})
            if reply is None:
                continue
            give_up = time.monotonic() + self._patience_seconds
            if reply[0] is None:
                break
            progress = msgspec.convert(reply[0], Progress)
            if progress.state == "failed":
                raise TraceStoreError(f"nothing was erased: {progress.why}")
            if progress.erased is not None:
                return progress.erased
        raise TraceStoreError(
            "the ingester ended before it was done. `llmguard traces verify` tells what was erased; do it again for "
            "the rest"
        )

    def extent(self, app: str) -> JsonObject:
        """Return `entity_types` hidden for an app, and the seconds of its `first` and `last` trace, or None."""
        result: JsonObject = self._ask("extent", {"app": app})
        return result

    def query(self, sql: str, parameters: Parameters | None = None, *, limit: int = 10_000) -> Rows:
        """Return the rows of one SELECT over the table `traces`. Raises as `list` does."""
        result: Rows = self._ask("query", {"sql": sql, "parameters": parameters or [], "limit": limit})
        return result

    def find_many(self, ids: Collection[str]) -> dict[str, JsonObject]:
        """Return how requests ended, by trace id: status, code, models, tokens and `cost_nano_usd`.

        For crash recovery: it sees traces that are still in the spool even when the store takes nothing, and an id
        that is absent from the answer has no trace for certain.

        Raises:
            TraceStoreError: some ids are not in the spool, and whether they are in the store cannot be seen now.
        """
        wanted = sorted(ids)
        parts = [wanted[start : start + _IDS_AT_ONCE] for start in range(0, len(wanted), _IDS_AT_ONCE)]
        return {trace_id: row for part in parts for trace_id, row in self._find_some(part).items()}

    def _find_some(self, ids: Collection[str]) -> dict[str, JsonObject]:
        arguments = {"ids": ids}
        spooled: dict[str, JsonObject] = {}
        try:
            found: dict[str, JsonObject]
            found, is_fresh = self._ask_freshly("find_many", arguments)
        except TraceStoreError:
            spooled = self._find_in_spool(ids)
            if set(ids) - set(spooled):
                raise
            return spooled
        if not is_fresh:  # the spool first: what leaves it meanwhile is in the store when that is asked again
            spooled = self._find_in_spool(ids)
            found, _ = self._ask_freshly("find_many", arguments)
        return spooled | found

    def _ask(self, operation: str, arguments: JsonObject) -> Any:  # Any: JSON of that operation
        result, is_fresh = self._ask_freshly(operation, arguments)
        if not is_fresh:
            _LOG.warning("the newest traces are still in the spool and not shown")
        return result

    def _ask_freshly(self, operation: str, arguments: JsonObject) -> tuple[Any, bool]:  # Any: see above
        if not self._places.data.is_dir():
            raise TraceStoreError(f"there is no data folder {self._places.data}")
        if self._held is not None:
            connection, is_fresh = self._held
            return _answer_once(connection, operation, arguments), is_fresh
        give_up = time.monotonic() + self._patience_seconds
        while True:
            reply = self._ask_here(operation, arguments) or self._ask_ingester(operation, arguments)
            if reply is not None:
                return reply
            if time.monotonic() > give_up:
                raise TraceStoreError("the ingester holds the trace store and does not answer; its log says more")
            time.sleep(_POLL_SECONDS)

    def _ask_here(self, operation: str, arguments: JsonObject) -> tuple[Any, bool] | None:  # Any: see above
        """Answer in this process; None while another one has the lock."""
        try:
            lock = ingester_lock(self._places)
            with lock as is_ours:
                if not is_ours:
                    return None
                self._places.address.unlink(missing_ok=True)
                with self._drained_store() as (connection, is_fresh):
                    return _answer_once(connection, operation, arguments), is_fresh
        except PermissionError:
            return self._ask_read_only(operation, arguments)

    def _ask_read_only(self, operation: str, arguments: JsonObject) -> tuple[Any, bool]:  # Any: see above
        connection = open_for_reading(self._places) if self._places.store.exists() else open_in_memory()
        try:
            return _answer_once(connection, operation, arguments), not segment_paths(self._places.spool)
        finally:
            connection.close()

    @contextmanager
    def _drained_store(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, bool]]:
        if not self._places.store.exists() and not segment_paths(self._places.spool):
            yield open_in_memory(), True  # a reader leaves no empty store behind
            return
        existed = self._places.store.exists()
        store = TraceStore(self._places)
        try:
            yield store.connection, _drain(self._places, store)
        finally:
            store.close(checkpoint=False)
            if not existed and not store.tip.seq:  # a wrong secret must not make a store that the right one cannot open
                self._places.store.unlink(missing_ok=True)
                Path(f"{self._places.store}.wal").unlink(missing_ok=True)

    def _ask_ingester(self, operation: str, arguments: JsonObject) -> tuple[Any, bool] | None:  # Any: see above
        """Ask the process that has the lock; None if it does not answer (yet)."""
        try:
            address = msgspec.json.decode(self._places.address.read_bytes(), type=Address)
        except (OSError, msgspec.DecodeError):
            return None
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=_ANSWER_SECONDS)
        body = json.dumps({"operation": operation, "arguments": arguments})
        try:
            connection.request("POST", "/read", body, {"authorization": f"Bearer {address.key}"})
            response = connection.getresponse()
            content = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        if response.status == http.HTTPStatus.BAD_REQUEST:
            raise TraceQueryError(content["error"])
        if response.status != http.HTTPStatus.OK:
            return None
        return content["result"], content["fresh"]

    def _find_in_spool(self, ids: Collection[str]) -> dict[str, JsonObject]:
        found = {}
        for path in segment_paths(self._places.spool):
            for facts in _facts_of(path, self._places.at_rest):
                trace_id = str(facts.trace_id)
                if trace_id in ids:
                    found[trace_id] = {"trace_id": trace_id} | {
                        name: getattr(facts, name) for name in (*_FOUND, "reasoning_tokens", "cost_nano_usd")
                    }
        return found


def _facts_of(path: Path, at_rest: AtRest) -> Iterator[Facts]:
    opener = LineOpener(at_rest, path.name)
    try:
        with open_segment(path) as file:
            for line, _ in whole_lines(file, 0, limit_bytes=2 * MAX_LINE_BYTES):
                try:
                    yield decode_line(opener.plain(line or b"")).facts
                except BadLineError:
                    continue
    except FileNotFoundError:
        return  # the ingester has finished it: its traces are in the store


def _answer_once(connection: duckdb.DuckDBPyConnection, operation: str, arguments: JsonObject) -> Any:  # Any: JSON
    queries = TraceQueries(connection)
    try:
        return answer(queries, operation, arguments)
    finally:
        queries.close()


def _drain(places: Places, store: TraceStore) -> bool:
    """Bring the spool into the store; False, with a word in the log, when it takes nothing."""
    try:
        Drain(places.spool, store).run()
    except (OSError, duckdb.Error, TraceStoreError) as error:
        _LOG.warning("the spool cannot be moved into the trace store: %s", type(error).__name__)
        return False
    return True
