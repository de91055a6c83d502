"""The trace: what happened to one request, filled as it goes through the steps. One row in DuckDB."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from llmguard.domain.chat import JsonObject

CostBasis = Literal["reported", "counted", "held"]


@dataclass(slots=True)
class Trace:
    """One request, refused, failed, hung up on or answered. `None` means that the step was not reached.

    Every text in it is redacted before it is put here. `status` 499 with code `client_disconnected` is a hang-up, as
    nginx writes it. `cost_nano_usd` becomes the DECIMAL column `cost_usd`; `cost_basis` says what it goes by: the usage
    that the provider `reported`, what we `counted` ourselves, or the whole amount `held`; `price_rate` says by which
    rates of its price. `request_id` and `w3c_trace_id` are the caller's own ids of it, if they had the shape of ids.
    `steps` maps step names to the microseconds since the start at which the step ended.
    """

    trace_id: str
    started_at: datetime
    endpoint: str
    app: str | None = None
    owner: str | None = None
    cost_center: str | None = None
    key_id: str | None = None
    preset: str | None = None
    preset_version: int | None = None
    registry_digest: str | None = None
    redaction_digest: str | None = None
    policy_digest: str | None = None
    price_version: str | None = None
    provider: str | None = None
    model: str | None = None
    status: int | None = None
    code: str | None = None
    decision: JsonObject = field(default_factory=dict)
    request: JsonObject | None = None
    response: JsonObject | None = None
    chunks: list[Any] | None = None  # JSON objects as they came, redacted
    entities: dict[str, int] = field(default_factory=dict)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_nano_usd: int | None = None
    latency_ms: float | None = None
    first_token_ms: float | None = None
    overhead_ms: float | None = None  # latency less the time spent waiting for the provider
    stream: bool = False
    replay_of: str | None = None
    steps: dict[str, int] = field(default_factory=dict)
    team: str | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    service_tier: str | None = None
    price_rate: str | None = None
    cost_basis: CostBasis | None = None
    preset_digest: str | None = None
    request_id: str | None = None
    w3c_trace_id: str | None = None
