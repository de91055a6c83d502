"""What narrows a search of traces: each filter by name, with its condition in SQL and its value as DuckDB takes it."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict

from llmguard.domain.chat import JsonObject
from llmguard.traces.errors import TraceQueryError


class TraceFilters(TypedDict, total=False):
    """What narrows a list, a count or an export; all given ones must hold.

    Attributes:
        since: the first instant that counts (ISO 8601); `until` is the first one that does not.
        min_cost_usd: the least cost, exact text or Decimal; with `max_cost_usd` both ends count, as for latencies.
        apps: only of these; of none of them, nothing is found.
        entity: an entity type of which something was hidden, such as `PERSON`.
        text: stands in the redacted request or answer, in any capitals.
        placeholders: how a placeholder begins (`<PERSON_KOFADELIMORU>`); one of them stands in request or answer, or
            whole in one chunk.
        data_of: an app: its own traces, and live replays of them, which hold its data under a responder's name.
        after_seq: only rows behind this one.
    """

    app: str
    apps: list[str]
    owner: str
    cost_center: str
    key_id: str
    endpoint: str
    preset: str
    preset_version: int
    provider: str
    model: str
    status: int
    code: str
    stream: bool
    replay_of: str
    request_id: str
    w3c_trace_id: str
    since: datetime | str
    until: datetime | str
    min_cost_usd: Decimal | str
    max_cost_usd: Decimal | str
    min_latency_ms: float
    max_latency_ms: float
    entity: str
    text: str
    placeholders: list[str]
    data_of: str
    after_seq: int


_EQUAL = (
    *("app", "owner", "cost_center", "key_id", "endpoint", "preset", "preset_version", "provider", "model"),
    *("status", "code", "stream", "replay_of", "request_id", "w3c_trace_id"),
)
DATA_OF = """(app = $data_of OR (replay_of IS NOT NULL AND try_cast(replay_of AS UUID) IN (
    SELECT trace_id FROM store.traces WHERE app = $data_of)))"""
_CONDITIONS = {name: f"{name} = ${name}" for name in _EQUAL} | {
    "since": "started_at >= $since::TIMESTAMPTZ",
    "until": "started_at < $until::TIMESTAMPTZ",
    "min_cost_usd": "cost_usd >= $min_cost_usd::DECIMAL(18, 9)",
    "max_cost_usd": "cost_usd <= $max_cost_usd::DECIMAL(18, 9)",
    "min_latency_ms": "latency_ms >= $min_latency_ms",
    "max_latency_ms": "latency_ms <= $max_latency_ms",
    "entity": "map_contains(entities, $entity)",
    "text": "(contains(lower(request::VARCHAR), $text) OR contains(lower(response::VARCHAR), $text))",
    "placeholders": (
        "(regexp_matches(request::VARCHAR, $placeholders) OR regexp_matches(response::VARCHAR, $placeholders) "
        "OR regexp_matches(chunks::VARCHAR, $placeholders))"
    ),
    "data_of": DATA_OF,
    "after_seq": "seq > $after_seq",
    "apps": "list_contains($apps::VARCHAR[], app)",
}
_PRESET = re.compile(r"(?P<name>[^@]+)(?:@(?P<version>\d{1,9}))?")
_MONEY = ("min_cost_usd", "max_cost_usd")  # exact, and JSON has floats
_BEGINNING = re.compile(r"<[A-Z][A-Z0-9_]*")


def condition_of(filters: TraceFilters) -> tuple[str, dict[str, Any]]:  # Any: values of SQL
    """Return the WHERE clause of these filters (nothing for none) and the values that it names.

    Raises:
        TraceQueryError: a filter is unknown, or its value cannot be looked for.
    """
    unknown = next((name for name in filters if name not in _CONDITIONS), None)
    if unknown is not None:
        raise TraceQueryError(f"traces cannot be filtered by {unknown!r}; there is {', '.join(_CONDITIONS)}")
    values: dict[str, Any] = dict(filters)  # Any: see above
    if "text" in values:  # as it is written within JSON
        values["text"] = json.dumps(str(values["text"]), ensure_ascii=False)[1:-1].lower()
    if "placeholders" in values:
        values["placeholders"] = _one_of(values["placeholders"])
    return (f"WHERE {' AND '.join(_CONDITIONS[name] for name in filters)}" if filters else ""), values


def preset_asked(text: str) -> TraceFilters:
    """Return the filters that `summarise` or `summarise@2` means.

    Raises:
        TraceQueryError: it is no preset.
    """
    match = _PRESET.fullmatch(text)
    if match is None:
        raise TraceQueryError(f"{text!r} is no preset. Write summarise or summarise@2.")
    if match["version"] is None:
        return {"preset": match["name"]}
    return {"preset": match["name"], "preset_version": int(match["version"])}


def w3c_asked(text: str) -> str:
    """Return the trace id of a whole traceparent; anything else as it is."""
    parts = text.strip().lower().split("-")
    return parts[1] if len(parts) > 1 else parts[0]


def _one_of(beginnings: list[str]) -> str:
    """Return a pattern for whole words that begin so: a code, and pairs of letters that may follow it."""
    if not beginnings or not all(_BEGINNING.fullmatch(beginning) for beginning in beginnings):
        raise TraceQueryError("a placeholder begins as <PERSON_KOFADELIMORU does")
    return f"(?:{'|'.join(beginnings)})[A-Z]*>"


def plain_filters(filters: TraceFilters) -> JsonObject:
    """Return filters as JSON has them; None and absent are the same."""
    return {
        name: moment_of(value) if name in ("since", "until") else str(value) if name in _MONEY else value
        for name, value in filters.items()
        if value is not None
    }


def moment_of(value: object) -> str:
    """Return a time as ISO 8601 text with its offset; without one it is taken as UTC."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise TraceQueryError(f"{value!r} is no time such as 2026-11-23T12:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
