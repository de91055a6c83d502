"""Replay without a provider: the stored answer as it was kept, proven by the trace's digest before it is given out.

The answer is the redacted one, and its bytes are the JSON text that the worker wrote and `payload_digest` covers: the
whole answer, or each chunk of a stream as it was cut. Refused requests have no answer; they replay to their outcome.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from llmguard.domain.chat import JsonObject

State = Literal["equal", "changed", "erased"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """One trace, answered again from the store.

    Attributes:
        trace_id: of the trace.
        state: whether what the store holds is what the trace's digest was made of; `erased` if its payload is gone.
        parts: the answer in the order in which it was sent, each its exact bytes; nothing unless `equal`.
        status: as it was answered.
        code: of a refusal or fault.
        stream: whether the parts are chunks.
    """

    trace_id: str
    state: State
    parts: tuple[bytes, ...]
    status: int | None
    code: str | None
    stream: bool


def replay_offline(row: JsonObject) -> Replayed:
    """Return the stored answer of a trace.

    Args:
        row: of `TraceReader.export`: the JSON columns are the exact texts.
    """
    texts = [row["request"], row["response"], row["chunks"]]
    state = _state(texts, row["payload_digest"])
    return Replayed(
        trace_id=row["trace_id"],
        state=state,
        parts=tuple(_parts(row["response"], row["chunks"])) if state == "equal" else (),
        status=row["status"],
        code=row["code"],
        stream=row["chunks"] is not None,
    )


def _state(texts: list[Any], digest: str) -> State:  # Any: text or None
    joined = ",".join("null" if text is None else text for text in texts)
    if hashlib.sha256(f"[{joined}]".encode()).hexdigest() == digest:
        return "equal"
    return "erased" if not any(texts) else "changed"


def _parts(response: str | None, chunks: str | None) -> list[bytes]:
    if chunks is not None:
        return [bytes(chunk) for chunk in msgspec.json.decode(chunks, type=list[msgspec.Raw])]
    return [] if response is None else [response.encode()]
