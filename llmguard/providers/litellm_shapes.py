"""LiteLLM's answers as OpenAI's wire format has them: its own additions taken off, its usage chunk put right.

LiteLLM adds fields of its own and of the vendor (`provider_specific_fields`, `vertex_ai_safety_ratings`, `cost`), null
fields, and a choice in the chunk that carries the usage. Apps expect none of these, and what is not named here was
not thought about by redaction either.
"""

from typing import Any, Final

from llmguard.domain.chat import JsonObject

_TOP: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
_SPOKEN: Final = (
    "role",
    "content",
    "refusal",
    "reasoning_content",
    "tool_calls",
    "function_call",
    "audio",
    "annotations",
)
_ALWAYS: Final = frozenset({"role", "content", "refusal"})  # of a whole message, null or not
_USAGE: Final = ("prompt_tokens", "completion_tokens", "total_tokens")
_DETAILS: Final = ("prompt_tokens_details", "completion_tokens_details")


def plain_completion(answer: JsonObject) -> JsonObject:
    """Return a chat.completion with the fields of OpenAI's, and its usage if there is one."""
    choices = [_plain_choice(choice, "message", always=_ALWAYS) for choice in answer.get("choices") or ()]
    return {**_top(answer), "choices": choices, **_usage(answer)}


def plain_chunk(chunk: JsonObject) -> JsonObject:
    """Return a chat.completion.chunk with the fields of OpenAI's; one that carries usage has no choices."""
    usage = _usage(chunk)
    choices = [_plain_choice(choice, "delta", always=frozenset()) for choice in chunk.get("choices") or ()]
    if usage:
        choices = [choice for choice in choices if choice["delta"] or choice["finish_reason"]]
    return {**_top(chunk), "choices": choices, **usage}


def _top(answer: JsonObject) -> JsonObject:
    return {name: answer[name] for name in _TOP if answer.get(name) is not None}


def _plain_choice(choice: JsonObject, part: str, *, always: frozenset[str]) -> JsonObject:
    spoken = choice.get(part) or {}
    return {
        "index": choice.get("index", 0),
        part: {name: spoken.get(name) for name in _SPOKEN if name in always or spoken.get(name) is not None},
        "logprobs": choice.get("logprobs"),
        "finish_reason": choice.get("finish_reason"),
    }


def _usage(answer: JsonObject) -> JsonObject:
    usage: Any = answer.get("usage")  # Any: checked right here
    if not isinstance(usage, dict):
        return {}
    plain: JsonObject = {name: usage[name] for name in _USAGE if name in usage}
    for name in _DETAILS:
        details = usage.get(name)
        if isinstance(details, dict):
            plain[name] = {detail: value for detail, value in details.items() if value is not None}
    return {"usage": plain}
