"""Erasure: the payloads of some traces go for good, while their rows, figures and the hash chain stay.

In this order, so that a kill at any moment can be told from the audit log: what is about to be erased is written there,
with the digest of the rows' numbers; the spool loses what the store has; the store is copied without the payloads; the
copy takes its place. Rows that name an erasure which the log does not know, or other rows than it says, are a fault.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

import duckdb
import msgspec

from llmguard.audit.log import AuditLog
from llmguard.domain.clock import SystemClock
from llmguard.traces.copying import make_copy
from llmguard.traces.encryption import LineOpener
from llmguard.traces.errors import TraceQueryError
from llmguard.traces.filters import TraceFilters, condition_of
from llmguard.traces.line import BadLineError
from llmguard.traces.segments import blank_out
from llmguard.traces.store import TraceStore

BEGUN: dict[str, str] = {"erasure": "traces.erasure_begun", "retention": "traces.retention_begun"}
DONE: dict[str, str] = {"erasure": "traces.erased", "retention": "traces.retained"}

_HAS_PAYLOAD = "erased_by IS NULL AND (request IS NOT NULL OR response IS NOT NULL OR chunks IS NOT NULL)"
_FIND = "CREATE OR REPLACE TEMP TABLE due AS SELECT seq FROM store.traces AS t {where} ORDER BY seq"
# A live replay holds the data of the app that had asked first.
_OLDER = """
started_at < coalesce(
    map_extract(from_json($ends, '"MAP(VARCHAR, VARCHAR)"'), coalesce(
        (SELECT first.app FROM store.traces AS first WHERE first.trace_id = try_cast(t.replay_of AS UUID)), app, ''
    ))[1], $otherwise)::TIMESTAMPTZ"""
_DUE = "SELECT seq FROM temp.due ORDER BY seq"
_DUE_IDS = """
SELECT trace_id::VARCHAR FROM store.traces
WHERE started_at >= $since::TIMESTAMPTZ AND seq IN (SELECT seq FROM temp.due)"""
_PAGE = 10_000


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be erased, by whom and why.

    Attributes:
        id: names this erasure in rows and in the audit log.
        kind: erasure, on somebody's request; retention, when its time has come.
        who: see the audit log.
        reason: a ticket or a rule; kept for good, so without personal data.
        filters: for an erasure; all must hold.
        ends: for retention: by app, before which instant (ISO 8601) payloads go.
        otherwise: for retention: the same for all other traces.
        dry_run: only count.
    """

    id: str
    kind: Literal["erasure", "retention"]
    who: str
    reason: str
    filters: dict[str, Any] = {}  # Any: `TraceFilters`, which msgspec cannot decode
    ends: dict[str, str] = {}
    otherwise: str | None = None
    dry_run: bool = False


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an order did. `recent` are the ids of traces of the last day: their first answers may still be kept."""

    rows: int
    recent: list[str] = []
    rejected_files: int = 0


def erase(store: TraceStore, order: Order) -> Erased:
    """Find what is due, and make a copy of the store without it unless there is none; the caller puts it in place.

    Everything in the spool must be in the store before. The copy is there if `rows` is not 0.

    Raises:
        TraceQueryError: the order cannot be understood.
        duckdb.Error, OSError, sqlite3.Error, TraceStoreError: the payloads are still there.
    """
    connection, places = store.connection, store.places
    where, values = _condition(order)
    connection.execute(_FIND.format(where=where), values)
    count, digest = _digest_of_due(connection)
    if order.dry_run:
        return Erased(rows=count)
    facts = {
        "reason": order.reason,
        "rows": count,
        "rows_digest": digest,
        "tip_seq": store.tip.seq,
        "tip_digest": store.tip.digest,
    }
    audit = AuditLog(places.state, SystemClock())
    audit.record(who=order.who, what=BEGUN[order.kind], subject=order.id, app=order.filters.get("app"), facts=facts)
    rejected = _drop_rejected(store, order)
    if not count:
        return Erased(rows=0, rejected_files=rejected)
    yesterday = (datetime.now(UTC) - timedelta(days=1, hours=1)).isoformat()
    recent = [trace_id for (trace_id,) in connection.execute(_DUE_IDS, {"since": yesterday}).fetchall()]
    for name, position in store.positions.items():
        blank_out(places.spool / name, position)
    make_copy(connection, places, order.id)
    return Erased(rows=count, recent=recent, rejected_files=rejected)


def confirm(store_state: Path, order: Order, erased: Erased) -> None:
    """Write into the audit log that it is done: the copy is in place.

    Raises:
        sqlite3.Error, OSError: it is not written; the rows name the erasure that was begun, which is enough.
    """
    AuditLog(store_state, SystemClock()).record(
        who=order.who,
        what=DONE[order.kind],
        subject=order.id,
        app=order.filters.get("app"),
        facts={"rows": erased.rows, "rejected_files": erased.rejected_files},
    )


def rows_digest(numbers: Iterator[int]) -> tuple[int, str]:
    """Return how many rows these are, and SHA-256 over their numbers in order, a line each."""
    digest, count = hashlib.sha256(), 0
    for number in numbers:
        digest.update(b"%d\n" % number)
        count += 1
    return count, digest.hexdigest()


def _condition(order: Order) -> tuple[str, dict[str, object]]:
    if order.kind == "retention":
        if order.otherwise is None:
            raise TraceQueryError("retention needs an end for the traces of all other apps")
        values: dict[str, object] = {"ends": json.dumps(order.ends), "otherwise": order.otherwise}
        return f"WHERE {_HAS_PAYLOAD} AND {_OLDER}", values
    if not order.filters.get("app") and not order.filters.get("placeholders"):
        raise TraceQueryError("an erasure is of an app or of a placeholder")
    renamed = {"data_of" if name == "app" else name: value for name, value in order.filters.items()}
    where, values = condition_of(cast("TraceFilters", renamed))  # it checks the names
    return f"{where} AND {_HAS_PAYLOAD}", values


def _digest_of_due(connection: duckdb.DuckDBPyConnection) -> tuple[int, str]:
    found = connection.execute(_DUE)
    return rows_digest(seq for page in iter(lambda: found.fetchmany(_PAGE), []) for (seq,) in page)


def _drop_rejected(store: TraceStore, order: Order) -> int:
    """Remove what was set aside from the spool and holds what is to go; for retention, what is older than all of it."""
    dropped = 0
    for path in _files(store.places.rejected):
        if order.kind == "retention":
            oldest = min([*order.ends.values(), str(order.otherwise)])
            goes = datetime.fromtimestamp(path.stat().st_mtime, UTC) < datetime.fromisoformat(oldest)
        else:
            goes = _may_hold(path, store, cast("TraceFilters", order.filters))  # as above
        if goes:
            path.unlink(missing_ok=True)
            dropped += 1
    return dropped


def _may_hold(path: Path, store: TraceStore, filters: TraceFilters) -> bool:
    """Whether a part of the spool has one of the placeholders, or names the app, or cannot be read at all."""
    wanted = filters.get("placeholders") or [f'"{filters.get("app")}"']
    segment = f"{path.name.rpartition('-')[0]}.jsonl"
    opener = LineOpener(store.places.at_rest, segment)
    for line in path.read_bytes().split(b"\n"):
        try:
            text = opener.plain(line) if line[:2] == b"1:" else line
        except BadLineError:
            return True
        if any(one.encode() in text for one in wanted):
            return True
    return False


def _files(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file()]
    except FileNotFoundError:
        return []
