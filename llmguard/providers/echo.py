"""The embedded provider: answers by rules, so that demos and tests need nothing else.

`max_tokens` truncates (`finish_reason: length`), `n` repeats, streams come in words, and usage is counted with the
counter that reserves, so the two are equal. The same request gets the same answer; only ids and `created` differ.

The rules, in order, where TEXT is the text of the last user or tool message:

1. A tool is called if `tool_choice` forces it (a named one; `required`: what rule 2 finds, or else the first tool), or
2. if the last message is a user's and says `call NAME` of a tool in `tools` (several: parallel calls). Arguments are
   the smallest instance of the tool's schema, its strings filled with TEXT.
3. `response_format` of type `json_object` answers `{"echo": TEXT}`; `json_schema` the smallest instance of the schema.
4. Else the answer is `Echo: TEXT`, cut before the first of the `stop` sequences.

Embeddings are unit vectors drawn from a hash of model and text: equal texts have equal vectors, and that is all they
say. `dimensions` is honoured.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final

import numpy as np

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock
from llmguard.providers import failures
from llmguard.providers.adapter import asks_embeddings
from llmguard.providers.embeddings import embeddings_list, encode_vector
from llmguard.providers.instances import InvalidSchema, smallest_instance
from llmguard.providers.tokens import TokenCounter

_WORDS: Final = re.compile(r"\S+\s*|\s+")
_ARGUMENT_CHARACTERS: Final = 12  # of a tool call's arguments in one chunk
_MOST_CHOICES: Final = 128  # as OpenAI's `n`
_FINGERPRINT: Final = "fp_echo"
_DIMENSIONS: Final = 256
_MOST_DIMENSIONS: Final = 8_192


class EchoAdapter:
    """Answers without a network."""

    def __init__(self, clock: Clock, tokens: TokenCounter) -> None:
        self._clock = clock
        self._tokens = tokens

    async def start(self) -> None:
        """Load the encoding off the event loop."""
        await asyncio.to_thread(self._tokens.load)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    async def attempt(self, model: Model, body: JsonObject, *, trace_id: str) -> AsyncGenerator[list[JsonObject], None]:
        """Yield the answer that the rules give.

        Raises:
            AttemptFailed: the input exceeds the model's context, or the rules cannot answer it.
        """
        if asks_embeddings(body):
            yield [self._embeddings(model, body)]
            return
        input_tokens = self._tokens.count_request(body, model.target)
        if model.context_tokens is not None and input_tokens > model.context_tokens:
            raise failures.too_long(model)
        message, finish_reason, count = self._answer(model, body, trace_id)
        usage = _usage(input_tokens, count * self._tokens.count_answer(message, model.target))
        head = {
            "id": f"chatcmpl-{trace_id}",
            "object": "chat.completion.chunk" if body.get("stream") else "chat.completion",
            "created": int(self._clock.now().timestamp()),
            "model": model.target,
            "system_fingerprint": _FINGERPRINT,
        }
        if not body.get("stream"):
            choices = [_choice(index, {"message": message}, finish_reason) for index in range(count)]
            yield [{**head, "choices": choices, "usage": usage}]
            return
        for delta in _deltas(message):
            for index in range(count):
                yield [{**head, "choices": [_choice(index, {"delta": delta}, None if delta else finish_reason)]}]
                await asyncio.sleep(0)  # others get their turn, as with a provider that is far away
        if (body.get("stream_options") or {}).get("include_usage"):
            yield [{**head, "choices": [], "usage": usage}]

    def _embeddings(self, model: Model, body: JsonObject) -> JsonObject:
        texts, dimensions = body["input"], body.get("dimensions", _DIMENSIONS)
        if not texts or not all(isinstance(text, str) for text in texts):
            raise failures.invalid_request(model, None, "input")
        if not isinstance(dimensions, int) or not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise failures.invalid_request(model, None, "dimensions")
        longest = max(self._tokens.count_tokens(text, model.target) for text in texts)
        if model.context_tokens is not None and longest > model.context_tokens:
            raise failures.too_long(model)
        vectors = [_unit_vector(model.target, text, dimensions) for text in texts]
        return embeddings_list(model.target, vectors, self._tokens.count_request(body, model.target))

    def _answer(self, model: Model, body: JsonObject, trace_id: str) -> tuple[JsonObject, str, int]:
        """Return a choice's message and finish_reason, and how many choices there are."""
        count = body.get("n") or 1
        if not isinstance(count, int) or not 1 <= count <= _MOST_CHOICES:
            raise failures.invalid_request(model, None, "n")
        try:
            message = answer_to(body, trace_id)
        except Unanswerable as error:
            raise failures.invalid_request(model, None, error.param) from None
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        calls = message.get("tool_calls")
        if calls:
            kept = calls if limit is None else self._cut_calls(calls, model.target, limit)
            return {**message, "tool_calls": kept}, "tool_calls" if kept == calls else "length", count
        whole = message["content"]
        text = whole if limit is None else self._tokens.truncate(whole, model.target, max_tokens=limit)
        return {**message, "content": text}, "stop" if text == whole else "length", count

    def _cut_calls(self, calls: list[JsonObject], target: str, left: int) -> list[JsonObject]:
        """Return the calls as far as they fit: the last may end inside its arguments, as with real models."""
        fitting: list[JsonObject] = []
        for call in calls:
            name, whole = call["function"]["name"], call["function"]["arguments"]
            left -= self._tokens.count_tokens(name, target)
            if left < 0:
                break
            kept = self._tokens.truncate(whole, target, max_tokens=left)
            left -= self._tokens.count_tokens(kept, target)
            fitting.append({**call, "function": {"name": name, "arguments": kept}})
            if kept != whole:
                break
        return fitting


def _choice(index: int, said: JsonObject, finish_reason: str | None) -> JsonObject:
    return {"index": index, **said, "logprobs": None, "finish_reason": finish_reason}


def _deltas(message: JsonObject) -> Iterator[JsonObject]:
    """Yield a message as OpenAI streams it: the role; words; each tool call's head and arguments; {} at the end."""
    calls = message.get("tool_calls") or []
    yield {"role": "assistant", "content": None if calls else "", "refusal": None}
    for word in _WORDS.findall(message["content"] or ""):
        yield {"content": word}
    for index, call in enumerate(calls):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]}
        arguments = function["arguments"]
        for start in range(0, len(arguments), _ARGUMENT_CHARACTERS):
            piece = arguments[start : start + _ARGUMENT_CHARACTERS]
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
    yield {}


def _unit_vector(target: str, text: str, dimensions: int) -> str:
    """Return a vector of length 1, the same for the same model and text on every machine."""
    seed = f"{target}\0{text}".encode("utf-8", "surrogatepass")
    drawn = np.frombuffer(hashlib.shake_256(seed).digest(4 * dimensions), dtype="<u4")
    centred = drawn.astype(np.float64) - 2.0**31 + 0.5  # never 0
    return encode_vector(centred / np.linalg.norm(centred))


def _usage(input_tokens: int, output_tokens: int) -> JsonObject:
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


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
