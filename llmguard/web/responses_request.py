"""`POST /v1/responses`, step 0: what a Responses request asks, said as a chat.

Everything that a chat can say is translated; what only OpenAI's own server could do (background work, stored prompts,
built-in tools, items that are ids of stored ones) is refused by name.

Source: OpenAI API reference, "Create a model response" (read 2026-11).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.web.exchange import Arrival
from llmguard.web.wire import check_count, check_objects, check_parameters, invalid, read_flag, read_model, read_object

RESPONSES: Final = "/v1/responses"
# What the endpoint calls a parameter of chat completions.
SPOKEN: Final[Mapping[str, str]] = {
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "reasoning_effort": "reasoning.effort",
    "logprobs": "include",
}
_TRANSLATED: Final = frozenset(
    {"model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "text", "reasoning", "tools"}
    | {"tool_choice", "include", "truncation", "previous_response_id"}
)
_OPENAIS_ALONE: Final = {
    "background": "it answers later from OpenAI's store, and nothing that passes llmguard is stored there",
    "conversation": "it is kept in OpenAI's store, and nothing that passes llmguard is stored there",
    "prompt": "it is a prompt stored at OpenAI; presets take its place here",
    "max_tool_calls": "it counts calls of built-in tools, which are not served",
    "context_management": "it compacts what is stored at OpenAI, and nothing that passes llmguard is stored there",
}
_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
_DROPPED: Final = frozenset({"reasoning"})  # a model's own notes: a chat has no place for them, and goes on without
_INCLUDED: Final = frozenset({"message.output_text.logprobs", "reasoning.encrypted_content"})
_KIND: Final = re.compile(r"[a-z_]{1,40}")


def parse_responses(arrival: Arrival) -> ChatRequest:
    """Return the chat that a Responses request amounts to.

    Raises:
        Refusal: invalid_request, naming the field and what to do instead.
    """
    fields = read_object(arrival.body)
    for name, reason in _OPENAIS_ALONE.items():
        if fields.get(name):
            raise invalid(name, f"`{name}` is not served: {reason}", f"Leave {name} out.")
    check_count(fields, "max_output_tokens")
    if fields.get("truncation") not in (None, "disabled"):
        raise invalid("truncation", "`truncation` must be disabled here", "Leave it out, and shorten the input.")
    known = _TRANSLATED | _OPENAIS_ALONE.keys()
    rest = {name: value for name, value in fields.items() if name not in known and value is not None}
    parameters = rest | _format(fields.get("text")) | _reasoning(fields.get("reasoning")) | _included(fields)
    if fields.get("max_output_tokens") is not None:
        parameters["max_completion_tokens"] = fields["max_output_tokens"]
    parameters |= _tools(fields)
    check_parameters(parameters)
    if fields.get("previous_response_id") is not None:
        parameters["previous_response_id"] = _stored_id(arrival, fields["previous_response_id"])
    return ChatRequest(
        endpoint=RESPONSES,
        model=read_model(fields),
        messages=_messages(fields),
        stream=read_flag(fields, "stream"),
        include_usage=True,  # its last event always tells the usage
        parameters=parameters,
        spoken=SPOKEN,
        body_bytes=len(arrival.body),
    )


def _messages(fields: JsonObject) -> list[JsonObject]:
    messages: list[JsonObject] = []
    instructions = fields.get("instructions")
    if not isinstance(instructions, str | None):
        raise invalid("instructions", "`instructions` must be a string", "Send a text, or nothing.")
    if instructions:
        messages.append({"role": "system", "content": instructions})
    given = fields.get("input")
    if isinstance(given, str) and given:
        return [*messages, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise invalid("input", "`input` must be a text or a list of items", 'Send "input": "…", or a list of messages.')
    for index, item in enumerate(given):
        _add_item(messages, item, f"input[{index}]")
    return messages


def _add_item(messages: list[JsonObject], item: Any, place: str) -> None:  # Any: not checked yet, as everywhere below
    """Add what one item says; the calls of one turn are one message of a chat."""
    kind = item.get("type", "message") if isinstance(item, dict) else None
    match kind:
        case "message":
            messages.append(_message(item, place))
        case "function_call":
            called = {"name": item.get("name"), "arguments": item.get("arguments")}
            _add_call(messages, item, {"type": "function", "function": called}, place)
        case "custom_tool_call":
            _add_call(messages, item, {"type": "custom", "custom": _named(item, "name", "input")}, place)
        case "function_call_output" | "custom_tool_call_output":
            call_id = _text(item, "call_id", place)
            messages.append({"role": "tool", "tool_call_id": call_id, "content": _output(item.get("output"), place)})
        case str() if kind in _DROPPED:
            return
        case _:
            shown = f" of the type {kind}" if isinstance(kind, str) and _KIND.fullmatch(kind) else ""
            words = f"{place} is an item{shown} that llmguard does not serve"
            hint = "Send messages, function calls and their outputs, in full and not as ids."
            if kind == "item_reference":  # how the Vercel AI SDK goes on, unless it is told
                hint += " The Vercel AI SDK does so with openai.chat(…), or providerOptions: {openai: {store: false}}."
            raise invalid(place, words, hint)


def _message(item: JsonObject, place: str) -> JsonObject:
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        words = f"{place} must have a `role`, one of {', '.join(sorted(_ROLES))}"
        raise invalid(place, words, 'Send {"role": "user", "content": "…"}.')
    if isinstance(content, str):
        return {"role": role, "content": content}
    check_objects(f"{place}.content", content)
    if not content:
        raise invalid(f"{place}.content", f"{place}.content must be a text or a list of parts", "Correct the item.")
    return {"role": role, "content": [_part(part, f"{place}.content") for part in content]}


def _part(part: JsonObject, place: str) -> JsonObject:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": _text(part, "text", place)}
        case "refusal":
            return {"type": "refusal", "refusal": _text(part, "refusal", place)}
        case "input_image" if isinstance(part.get("image_url"), str):
            return {"type": "image_url", "image_url": _named({"url": part["image_url"]} | part, "url", "detail")}
        case "input_file" if isinstance(part.get("file_data"), str):
            return {"type": "file", "file": _named(part, "file_data", "filename")}
        case "input_audio" if isinstance(part.get("input_audio"), dict):
            return {"type": "input_audio", "input_audio": part["input_audio"]}
    words = f"{place} holds a part that llmguard does not serve"
    raise invalid(
        place, words, "Send input_text; images and files in the request itself, not as ids or links to files."
    )


def _add_call(messages: list[JsonObject], item: JsonObject, call: JsonObject, place: str) -> None:
    call = {"id": _text(item, "call_id", place), **call}
    for part in ("function", "custom"):
        for name in call.get(part, {}):
            _text(call[part], name, place)
    last = messages[-1] if messages else None
    if last is not None and last["role"] == "assistant":
        last.setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _output(output: Any, place: str) -> Any:
    if isinstance(output, str):
        return output
    if not output:
        raise invalid(f"{place}.output", f"{place}.output must be a text or a list of parts", "Correct the item.")
    check_objects(f"{place}.output", output)
    return [_part(part, f"{place}.output") for part in output]


def _format(text: Any) -> JsonObject:
    """Return `response_format` and `verbosity` of what a text should be like."""
    if text is None:
        return {}
    form = text.get("format") if isinstance(text, dict) else 0
    if not isinstance(form, dict | None):
        raise invalid("text", "`text` must be an object with a `format`", 'Send {"format": {"type": "text"}}.')
    said = {} if text.get("verbosity") is None else {"verbosity": text["verbosity"]}
    if form is None or form.get("type") == "text":
        return said
    if form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type" and value is not None}
        return said | {"response_format": {"type": "json_schema", "json_schema": schema}}
    return said | {"response_format": form}


def _reasoning(reasoning: Any) -> JsonObject:
    """Return `reasoning_effort`; a summary is asked for in vain: a chat has none, or gives it unasked."""
    if not isinstance(reasoning, dict | None):
        raise invalid("reasoning", "`reasoning` must be an object", 'Send {"effort": "low"}, or nothing.')
    effort = (reasoning or {}).get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _included(fields: JsonObject) -> JsonObject:
    included = fields.get("include") or []
    if not isinstance(included, list) or not all(name in _INCLUDED for name in included if isinstance(name, str)):
        known = " or ".join(sorted(_INCLUDED))
        raise invalid("include", f"`include` may hold {known}", "Leave the others out.")
    return {"logprobs": True} if "message.output_text.logprobs" in included or fields.get("top_logprobs") else {}


def _stored_id(arrival: Arrival, value: Any) -> str:
    provider_id = arrival.response_ids.open(arrival.app, value)
    if provider_id is not None:
        return provider_id
    words = "`previous_response_id` is not the id of a response that this app got and the provider keeps"
    raise invalid("previous_response_id", words, "Send the earlier messages in `input`, or the id of such a response.")


def _tools(fields: JsonObject) -> JsonObject:
    given, choice = fields.get("tools"), fields.get("tool_choice")
    check_objects("tools", given)
    tools = {} if given is None else {"tools": [_tool(tool, f"tools[{index}]") for index, tool in enumerate(given)]}
    return tools if choice is None else tools | {"tool_choice": _choice(choice)}


def _tool(tool: JsonObject, place: str) -> JsonObject:
    kind = tool.get("type")
    rest = {name: value for name, value in tool.items() if name != "type" and value is not None}
    if kind in ("function", "custom"):
        return {"type": kind, kind: rest}
    shown = f" {kind}" if isinstance(kind, str) and _KIND.fullmatch(kind) else ""
    words = f"{place} is the built-in tool{shown}, which only OpenAI's own server can run"
    raise invalid(place, words, "Send tools of the type function or custom, and run them in the app.")


def _choice(choice: Any) -> Any:
    """Return a choice of tools, whose parts stand flat here and nested in a chat."""
    if not isinstance(choice, dict):
        return choice
    kind = choice.get("type")
    if kind == "allowed_tools":
        listed = choice.get("tools")
        tools = [_choice(tool) for tool in listed] if isinstance(listed, list) else listed
        return {"type": kind, kind: {"mode": choice.get("mode"), "tools": tools}}
    if kind in ("function", "custom"):
        return {"type": kind, kind: {"name": choice.get("name")}}
    raise invalid("tool_choice", "`tool_choice` names a tool that is not served", "Name a function, or send auto.")


def _text(holder: JsonObject, name: str, place: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        raise invalid(f"{place}.{name}", f"{place} must have a text `{name}`", "Correct the item.")
    return value


def _named(holder: JsonObject, *names: str) -> JsonObject:
    return {name: holder[name] for name in names if holder.get(name) is not None}
