"""A trace as replays read it: what was sent, under which preset, and what was answered."""

from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from llmguard.domain.catalog import Model, Preset, Registry
from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.policy.decide import default_output_tokens
from llmguard.policy.parameters import MAX_TOKENS
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.build import pinned_preset
from llmguard.replay.difference import Answer, answer_of
from llmguard.replay.errors import CannotReplay
from llmguard.replay.offline import replay_offline

EMBEDDINGS: Final = "/v1/embeddings"
_BODY: Final = frozenset({"model", "messages", "input", "stream", "stream_options", "encoding_format"})
_OK: Final = 200
_OUTPUT_LIMITS: Final = (MAX_TOKENS, "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a replay needs of a trace; `sent` is the redacted body as the provider got it, None if it got none."""

    row: JsonObject
    sent: JsonObject | None
    decision: JsonObject
    answer: Answer

    @property
    def trace_id(self) -> str:
        """Of the trace."""
        return str(self.row["trace_id"])

    @property
    def preset_id(self) -> str | None:
        """The preset that decided, as `name@version`; None if it was refused before."""
        return None if self.row["preset"] is None else f"{self.row['preset']}@{self.row['preset_version']}"


def read_stored(row: JsonObject) -> Stored:
    """Return a trace for replaying.

    Args:
        row: of `TraceReader.export`: the JSON columns are the exact texts.

    Raises:
        CannotReplay: its request or answer was changed or erased since it was written.
    """
    state = replay_offline(row).state
    if state != "equal":
        raise CannotReplay(
            f"What the store holds of it was {state} since it was written, so nothing of it is used again.",
            is_final=state == "erased",
        )
    request, response, decision = (_json(row[name]) for name in ("request", "response", "decision"))
    return Stored(row, request, decision or {}, answer_of(row, response))


def require_sent(stored: Stored) -> JsonObject:
    """Return what was sent.

    Raises:
        CannotReplay: nothing was, or it was too large to be kept.
    """
    sent = stored.sent
    if stored.row["replay_of"] is not None:
        raise CannotReplay(f"It is a replay itself; replay {stored.row['replay_of']} instead.", is_final=True)
    if sent is None and stored.row["status"] == _OK:
        raise CannotReplay(f"It asked no model ({stored.row['endpoint']}), so there is nothing to send.", is_final=True)
    if sent is None:
        outcome = f"{stored.row['status']} {stored.row['code'] or ''}".strip()
        raise CannotReplay(
            f"It ended with {outcome} before anything was sent, so there is no request to send again. --offline gives "
            "its outcome; --save-case keeps a refusal that the registry decided as a case.",
            is_final=True,
        )
    if "messages" not in sent and "input" not in sent:
        raise CannotReplay("Its request was too large to be kept.", is_final=True)
    return sent


def preset_then(stored: Stored, registry: Registry, accepted: AcceptedRegistries, model: Model) -> Preset:
    """Return the preset that decided a trace, as it was, on a model of today.

    Versions are immutable, so the one in today's registry is it if its digest is; else it comes from the registry that
    was in force.

    Raises:
        CannotReplay: it is not kept.
    """
    row, preset_id = stored.row, stored.preset_id
    for preset in registry.presets.get(str(row["preset"]), ()):
        if preset.id == preset_id and preset.digest == row["preset_digest"]:
            return replace(preset, model=model, fallbacks=())
    content = accepted.content(str(row["registry_digest"]))
    preset_kept = None
    if preset_id is not None and row["preset_digest"]:
        preset_kept = pinned_preset(content, preset_id, row["preset_digest"], model)
    if preset_kept is None:
        raise CannotReplay(
            f"The preset {preset_id} as it was then is neither in registry.yaml nor kept in the data folder, so what "
            "the app itself had sent cannot be told from what the preset added. --offline still works.",
            is_final=True,
        )
    return preset_kept


def request_then(sent: JsonObject, stored: Stored, preset: Preset) -> ChatRequest:
    """Return the app's redacted request: what was sent without what its preset added; parameters as they were sent."""
    messages = sent.get("messages", [])
    if preset.system is not None and messages[:1] == [{"role": "system", "content": preset.system}]:
        messages = messages[1:]
    parameters = {name: value for name, value in sent.items() if name not in _BODY}
    limits = [parameters.pop(name) for name in _OUTPUT_LIMITS if name in parameters]
    if limits:
        parameters[MAX_TOKENS] = limits[0]
    return ChatRequest(
        endpoint=stored.row["endpoint"],
        model=preset.name,
        messages=messages,
        stream=bool(sent.get("stream")),
        include_usage=True,
        parameters=parameters,
        inputs=sent.get("input"),
    )


def without_defaults(request: ChatRequest, preset: Preset) -> ChatRequest:
    """Return a request without the parameters that its preset fills in: another preset has its own.

    An app that asked for exactly a default is not told from one that asked for nothing.
    """
    filled = {
        name: rule.fixed if rule.fixed is not None else rule.default
        for name, rule in preset.parameters.items()
        if rule.fixed is not None or rule.default is not None
    }
    filled.setdefault(MAX_TOKENS, default_output_tokens(preset))
    left = {name: value for name, value in request.parameters.items() if filled.get(name, _NOTHING) != value}
    return request._replace(parameters=left)


_NOTHING: Final = object()


def _json(text: str | None) -> Any:  # Any: JSON
    return None if text is None else msgspec.json.decode(text)
