"""Put a streamed answer together again, for counting tokens and for the trace."""

from collections.abc import Iterable
from typing import Any

from llmguard.domain.chat import JsonObject

_TEXT_FIELDS = ("content", "refusal", "reasoning_content", "reasoning")


def assemble(chunks: Iterable[JsonObject]) -> JsonObject:
    """Return the `chat.completion` that these `chat.completion.chunk` bodies add up to."""
    head: JsonObject = {}
    usage: Any = None  # the provider's JSON, passed on as it is
    choices: dict[int, JsonObject] = {}
    for chunk in chunks:
        head = head or {key: chunk[key] for key in ("id", "created", "model") if key in chunk}
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            _add(choices.setdefault(choice.get("index", 0), _empty_choice(choice.get("index", 0))), choice)
    for choice in choices.values():
        if calls := choice["message"].get("tool_calls"):
            choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
    completion = head | {"object": "chat.completion", "choices": [choices[index] for index in sorted(choices)]}
    return completion if usage is None else completion | {"usage": usage}


def _empty_choice(index: int) -> JsonObject:
    return {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}


def _add(choice: JsonObject, delta_choice: JsonObject) -> None:
    message = choice["message"]
    delta = delta_choice.get("delta") or {}
    for field in _TEXT_FIELDS:
        if isinstance(delta.get(field), str):
            message[field] = (message.get(field) or "") + delta[field]
    for call in delta.get("tool_calls") or ():
        _add_tool_call(message.setdefault("tool_calls", {}), call)
    if delta_choice.get("finish_reason") is not None:
        choice["finish_reason"] = delta_choice["finish_reason"]


def _add_tool_call(calls: dict[int, JsonObject], delta: JsonObject) -> None:
    # by index, never a list grown to it: the index is a number that the provider chose
    call = calls.setdefault(
        delta.get("index", 0), {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
    )
    call["id"] = delta.get("id") or call["id"]
    function = delta.get("function") or {}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
