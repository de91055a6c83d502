"""A chat completion body as a request to OpenAI's Responses API, for models with `api: responses`.

What the Responses API does not know (`seed`, `stop`, `n` above 1, ...) is refused and not dropped: an app must not
believe that it was honoured.

Source: OpenAI API reference, "Create a model response" and "Create chat completion"; OpenAI, "Migrate to the Responses
API" (both read 2026-11).
"""

from collections.abc import Iterator
from typing import Any, Final

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject
from llmguard.providers import failures
from llmguard.providers.adapter import AttemptFailed

_AS_THEY_ARE: Final = (
    "model", "stream", "temperature", "top_p", "top_logprobs", "parallel_tool_calls", "user", "metadata",
    "service_tier", "safety_identifier", "prompt_cache_key", "previous_response_id",
)  # fmt: skip
_TRANSLATED: Final = frozenset(
    {
        "messages", "tools", "tool_choice", "response_format", "verbosity", "reasoning_effort", "logprobs", "store",
        "max_tokens", "max_completion_tokens", "stream_options",
    }
)  # fmt: skip
# Values that ask for what happens anyway.
_NEUTRAL: Final[JsonObject] = {
    "n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}, "modalities": ["text"], "stop": [],
}  # fmt: skip


def responses_request(model: Model, body: JsonObject) -> JsonObject:
    """Return the request; the body stays as it is. Nothing is stored at the provider unless the body says so.

    A system prompt at the very beginning becomes `instructions`, which a following response does not inherit: with
    `previous_response_id` it is sent again each time, and counts once.

    Args:
        model: whom the request is for.
        body: as `prepare_body` made it.

    Raises:
        AttemptFailed: something in it has no counterpart.
    """
    for name, value in body.items():
        if name not in _AS_THEY_ARE and name not in _TRANSLATED and not (name in _NEUTRAL and value == _NEUTRAL[name]):
            raise _unsupported(model, name)
    messages = body["messages"]
    request = {name: body[name] for name in _AS_THEY_ARE if name in body} | {"store": bool(body.get("store"))}
    if messages and messages[0].get("role") in {"system", "developer"} and isinstance(messages[0].get("content"), str):
        request["instructions"] = messages[0]["content"]
        messages = messages[1:]
    request["input"] = [item for message in messages for item in _items(model, message)]
    limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if name in body]
    if limits:
        request["max_output_tokens"] = min(limits)
    if body.get("tools"):
        request["tools"] = [_tool(model, tool) for tool in body["tools"]]
    if "tool_choice" in body:
        request["tool_choice"] = _tool_choice(model, body["tool_choice"])
    if "reasoning_effort" in body:
        request["reasoning"] = {"effort": body["reasoning_effort"]}
    if body.get("logprobs"):
        request["include"] = ["message.output_text.logprobs"]
    text = _text(model, body)
    return request | ({"text": text} if text else {})


def _items(model: Model, message: JsonObject) -> Iterator[JsonObject]:
    """Yield what one message is as input items."""
    role, content = message.get("role"), message.get("content")
    match role:
        case "system" | "developer" | "user":
            yield {"role": role, "content": _parts(model, content, _INPUT_PARTS)}
        case "assistant":
            refusal = message.get("refusal")
            if refusal:
                content = [{"type": "refusal", "refusal": refusal}]
            if content:
                yield {"role": role, "content": _parts(model, content, _OUTPUT_PARTS)}
            if message.get("function_call"):
                raise _unsupported(model, "messages")
            for call in message.get("tool_calls") or ():
                yield _call(model, call)
        case "tool":
            kind = "function_call_output"
            yield {"type": kind, "call_id": message.get("tool_call_id"), "output": _parts(model, content, _INPUT_PARTS)}
        case _:
            raise _unsupported(model, "messages")


_INPUT_PARTS: Final = "input_text"
_OUTPUT_PARTS: Final = "output_text"


def _parts(model: Model, content: Any, text_type: str) -> str | list[JsonObject]:  # Any: not checked yet
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise _unsupported(model, "messages")
    return [_part(model, part, text_type) for part in content]


def _part(model: Model, part: Any, text_type: str) -> JsonObject:  # Any: not checked yet
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": text_type, "text": text}
        case {"type": "refusal", "refusal": str(refusal)} if text_type == _OUTPUT_PARTS:
            return {"type": "refusal", "refusal": refusal}
        case {"type": "image_url", "image_url": {"url": str(url)} as image} if text_type == _INPUT_PARTS:
            return {"type": "input_image", "image_url": url, "detail": image.get("detail", "auto")}
        case {"type": "file", "file": dict(file)} if text_type == _INPUT_PARTS:
            return {**file, "type": "input_file"}
        case _:
            raise _unsupported(model, "messages")


def _call(model: Model, call: Any) -> JsonObject:  # Any: not checked yet
    match call:
        case {"id": str(call_id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
        case _:
            raise _unsupported(model, "messages")


def _tool(model: Model, tool: Any) -> JsonObject:  # Any: not checked yet
    match tool:
        case {"type": "function", "function": {"name": str()} as function}:
            # Left out, a chat completion is not strict, and a response is.
            return {"type": "function", "parameters": None, "strict": False, **function}
        case _:
            raise _unsupported(model, "tools")


def _tool_choice(model: Model, choice: Any) -> Any:  # Any: not checked yet
    match choice:
        case str():
            return choice
        case {"type": "function", "function": {"name": str(name)}}:
            return {"type": "function", "name": name}
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list(tools)}}:
            named = [_tool_choice(model, tool) for tool in tools]
            return {"type": "allowed_tools", "mode": mode, "tools": named}
        case _:
            raise _unsupported(model, "tool_choice")


def _text(model: Model, body: JsonObject) -> JsonObject:
    text: JsonObject = {"verbosity": body["verbosity"]} if "verbosity" in body else {}
    match body.get("response_format"):
        case None:
            pass
        case {"type": "json_schema", "json_schema": dict(schema)}:
            text["format"] = {"type": "json_schema", **schema}
        case {"type": "text" | "json_object" as kind}:
            text["format"] = {"type": kind}
        case _:
            raise _unsupported(model, "response_format")
    return text


def _unsupported(model: Model, name: str) -> AttemptFailed:
    return failures.invalid_request(model, "unsupported_parameter", failures.token(name), reached=False)
