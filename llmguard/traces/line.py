"""One trace as one line of the spool: JSON in UTF-8, its format version first, its newline last.

A line counts once its newline is there. There is no checksum: what a kill or a full disk cuts off has no newline or is
no JSON, and from the store on the hash chain watches over each byte (`chain.py`).
"""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from llmguard.domain.trace import Trace

FORMAT = 1
MAX_LINE_BYTES = 32 << 20

_PREFIX = b'{"v":%d,' % FORMAT
_NULL = msgspec.Raw(b"null")
_EMPTY = msgspec.Raw(b"{}")

Int16 = Annotated[int, msgspec.Meta(ge=-(2**15), lt=2**15)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
NanoUsd = Annotated[int, msgspec.Meta(gt=-(10**18), lt=10**18)]  # what DECIMAL(18,9) dollars hold


class BadLineError(ValueError):
    """These bytes are no trace of a format that we know."""


class Facts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The narrow columns of a trace. Names and meanings are those of `Trace`."""

    trace_id: uuid.UUID
    started_at: datetime
    endpoint: str
    app: str | None = None
    owner: str | None = None
    cost_center: str | None = None
    key_id: str | None = None
    preset: str | None = None
    preset_version: Int32 | None = None
    registry_digest: str | None = None
    redaction_digest: str | None = None
    policy_digest: str | None = None
    price_version: str | None = None
    provider: str | None = None
    model: str | None = None
    status: Int16 | None = None
    code: str | None = None
    entities: dict[str, Int32] = {}
    input_tokens: Int64 | None = None
    output_tokens: Int64 | None = None
    cached_tokens: Int64 | None = None
    reasoning_tokens: Int64 | None = None
    cost_nano_usd: NanoUsd | None = None
    latency_ms: float | None = None
    first_token_ms: float | None = None
    overhead_ms: float | None = None
    stream: bool = False
    replay_of: str | None = None
    team: str | None = None
    cache_write_tokens: Int64 | None = None
    cache_write_1h_tokens: Int64 | None = None
    audio_input_tokens: Int64 | None = None
    audio_output_tokens: Int64 | None = None
    service_tier: str | None = None
    price_rate: str | None = None
    cost_basis: str | None = None
    preset_digest: str | None = None
    request_id: str | None = None
    w3c_trace_id: str | None = None


class Texts(msgspec.Struct):
    """The JSON columns of a trace, each the exact text that the worker wrote."""

    v: int
    decision: msgspec.Raw = _EMPTY
    steps: msgspec.Raw = _EMPTY
    request: msgspec.Raw = _NULL
    response: msgspec.Raw = _NULL
    chunks: msgspec.Raw = _NULL


class Sealed(Facts, omit_defaults=True, kw_only=True):
    """The columns that a digest covers (`chain.py`); the first five are not in the spool but set when a row is sealed.

    `decision_json` and `steps_json` are the exact texts of the columns `decision` and `steps`.
    """

    seq: int = 0
    prev_digest: str = ""
    payload_digest: str = ""
    decision_json: str = ""
    steps_json: str = ""


class Line(msgspec.Struct):
    """A decoded line: the narrow columns, not sealed yet, and the JSON texts."""

    facts: Sealed
    texts: Texts


def encode_line(trace: Trace, *, limit_bytes: int = MAX_LINE_BYTES) -> bytes:
    """Return a trace as one line.

    A line that would be longer than the limit, or nested too deeply, leaves out request, response and chunks and says
    so in their place, so that status, tokens and cost are kept. Text that is not valid Unicode (half a surrogate pair,
    which JSON can carry) gets a `?` there; values that JSON does not know become the name of their type, NaN and
    infinity null.
    """
    try:
        line = _encode(trace)
    except RecursionError:
        return _encode_without_payload(trace, "it is nested too deeply")
    if len(line) <= limit_bytes:
        return line
    return _encode_without_payload(trace, f"{len(line)} bytes are more than a trace may have ({limit_bytes})")


def decode_line(line: bytes) -> Line:
    """Return what a line holds.

    Raises:
        BadLineError: it is torn, no trace, or of a format that this version does not know.
    """
    try:
        line.decode()  # msgspec does not look into what it leaves raw
        texts = _TEXTS.decode(line)
        facts = _FACTS.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLineError(type(error).__name__) from None  # the error's words would quote the line
    if texts.v != FORMAT:
        raise BadLineError(f"format {texts.v}")
    facts.started_at = _utc(facts.started_at)
    return Line(facts, texts)


def _encode(trace: Trace) -> bytes:
    try:
        body = _ENCODER.encode(trace)
    except UnicodeEncodeError:
        body = _ENCODER.encode(_with_valid_text(msgspec.to_builtins(trace, enc_hook=_type_name)))
    return _PREFIX + body[1:] + b"\n"


def _encode_without_payload(trace: Trace, why: str) -> bytes:
    return _encode(replace(trace, request={"omitted": why}, response=None, chunks=None))


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"


def _with_valid_text(value: Any) -> Any:  # Any: JSON of any shape
    """Return the same JSON with `?` for each half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_with_valid_text(key): _with_valid_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_valid_text(item) for item in value]
    return value


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_ENCODER = msgspec.json.Encoder(enc_hook=_type_name)
_FACTS = msgspec.json.Decoder(Sealed)
_TEXTS = msgspec.json.Decoder(Texts)
