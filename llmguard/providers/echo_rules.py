"""What echo answers, before any limit is applied.

The rules, in order, where TEXT is the text of the last user or tool message:

1. A tool is called if `tool_choice` forces it (a named one; `required`: what rule 2 finds, or else the first tool), or
2. if the last message is a user's and says `call NAME` of a tool in `tools` (several: parallel calls). Arguments are
   the smallest instance of the tool's schema, its strings filled with TEXT.
3. `response_format` of type `json_object` answers `{"echo": TEXT}`; `json_schema` the smallest instance of the schema.
4. Else the answer is `Echo: TEXT`, cut before the first of the `stop` sequences.
"""

import json
import re
from typing import Any

from llmguard.domain.chat import JsonObject
from llmguard.providers.instances import InvalidSchema, smallest_instance


class Unanswerable(Exception):
    """The request contradicts itself, as a real provider would also say; `param` is what is wrong."""

    def __init__(self, param: str) -> None:
        super().__init__(param)
        self.param = param


def answer_to(body: JsonObject, trace_id: str) -> JsonObject:
    """Return the assistant's message; `trace_id` becomes part of the ids of tool calls.

    Raises:
        Unanswerable: `tool_choice` names no tool, or a schema is none.
    """
    text = _last_text(body)
    calls = [
        {
            "id": f"call_{trace_id.replace('-', '')}{index}",
            "type": "function",
            "function": {"name": tool["name"], "arguments": _instance(tool.get("parameters") or {}, text, "tools")},
        }
        for index, tool in enumerate(_tools_to_call(body, text))
    ]
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None}
    if calls:
        return {**message, "tool_calls": calls}
    return {**message, "content": _cut_at_stops(_words_for(body, text), body.get("stop"))}


def _last_text(body: JsonObject) -> str:
    for message in reversed(body.get("messages") or []):
        if message.get("role") in {"user", "tool"}:
            content = message.get("content")
            if isinstance(content, list):
                texts = [part.get("text") for part in content if isinstance(part, dict)]
                return "\n".join(text for text in texts if isinstance(text, str))
            return content if isinstance(content, str) else ""
    return ""


def _tools_to_call(body: JsonObject, text: str) -> list[JsonObject]:
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or () if _is_function(tool)}
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        if name not in tools:
            raise Unanswerable("tool_choice")
        return [tools[name]]
    if choice == "none" or not tools:
        return []
    # The longest name first: `call look` must not be found in `call lookup`.
    names = "|".join(re.escape(name) for name in sorted(tools, key=len, reverse=True))
    asked = re.findall(rf"\bcall ({names})(?![\w-])", text) if _is_users_turn(body) else []
    if choice == "required" and not asked:
        asked = [next(iter(tools))]
    return [tools[name] for name in dict.fromkeys(asked)]


def _is_function(tool: JsonObject) -> bool:
    function = tool.get("function")
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _is_users_turn(body: JsonObject) -> bool:
    messages = body.get("messages") or []
    return bool(messages) and messages[-1].get("role") == "user"


def _words_for(body: JsonObject, text: str) -> str:
    match body.get("response_format"):
        case {"type": "json_object"}:
            return json.dumps({"echo": text}, ensure_ascii=False)
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return _instance(schema, text, "response_format")
        case _:
            return f"Echo: {text}"


def _instance(schema: Any, text: str, param: str) -> str:  # Any: what an app sent as a schema
    try:
        return json.dumps(smallest_instance(schema, text), ensure_ascii=False)
    except InvalidSchema:
        raise Unanswerable(param) from None


def _cut_at_stops(answer: str, stop: Any) -> str:  # Any: a string, a list of them, or nothing
    sequences = [stop] if isinstance(stop, str) else stop or []
    cuts = [answer.find(sequence) for sequence in sequences if isinstance(sequence, str) and sequence]
    return answer[: min((cut for cut in cuts if cut >= 0), default=len(answer))]
