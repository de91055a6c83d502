"""What OpenAI's Responses API answers, as a chat completion or its chunks; whatever else comes back is an error.

Source: OpenAI API reference, "The response object" and "Streaming events" of Responses (read 2026-11).
"""

from collections.abc import Iterator
from typing import Any, Final

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject
from llmguard.providers import failures

_PARAGRAPH: Final = "\n\n"  # between two parts of a reasoning summary
_INCOMPLETE: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
_LAST_EVENTS: Final = frozenset({"response.completed", "response.incomplete"})
_FAILURES: Final = frozenset({"response.failed", "error"})


def completion_of(model: Model, response: JsonObject) -> JsonObject:
    """Return a whole response as a chat.completion; its id stays, for a `previous_response_id`.

    Raises:
        AttemptFailed: the response failed, is not finished, or has something that no chat completion has.
    """
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None}
    logprobs: list[Any] = []  # Any: passed on
    calls: list[JsonObject] = []
    for item in _list(model, response.get("output")):
        match item:
            case {"type": "message", "content": list(parts)}:
                for name, text, probabilities in _spoken(model, parts):
                    message[name] = (message[name] or "") + text
                    logprobs += probabilities
            case {"type": "function_call"}:
                calls.append(_call(model, item))
            case {"type": "reasoning"}:
                _think(model, message, item)
            case _:
                raise failures.not_understood(model)
    if calls:
        message["tool_calls"] = calls
    choice = {
        "index": 0,
        "message": message,
        "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
        "finish_reason": _finish_reason(model, response, calls=bool(calls)),
    }
    return {**_head(model, response, "chat.completion"), "choices": [choice], **_usage(response)}


class ResponseEvents:
    """Turns the events of one streamed response into chunks. `ended` once the last event was there."""

    def __init__(self, model: Model) -> None:
        """Begin a stream."""
        self.ended = False
        self._model = model
        self._head: JsonObject = {}
        self._begun = False
        self._calls: dict[int, int] = {}  # index of the call by index of its output item
        self._sent: dict[tuple[str, int, int], str] = {}  # by kind, output item and part: what left already

    def read(self, event: JsonObject) -> list[JsonObject]:
        """Return the chunks that an event stands for; the first one comes with the first word.

        Raises:
            AttemptFailed: the event reports an error, or is none of a response.
        """
        kind = event.get("type")
        if kind in _FAILURES:
            raise failures.said_error(self._model)
        if not isinstance(kind, str):
            raise failures.not_understood(self._model)
        if kind == "response.created":
            self._head = _head(self._model, _object(self._model, event.get("response")), "chat.completion.chunk")
        if kind in _LAST_EVENTS:
            return self._end(_object(self._model, event.get("response")))
        deltas = [delta for delta in self._deltas(kind, event) if delta]
        if not deltas:
            return []
        return [*self._begin(), *(self._chunk(delta, event.get("logprobs")) for delta in deltas)]

    def _deltas(self, kind: str, event: JsonObject) -> Iterator[JsonObject]:
        match kind:
            case "response.output_text.delta" | "response.refusal.delta" | "response.reasoning_text.delta":
                yield self._say(kind.removesuffix(".delta"), event, "delta")
            case "response.output_text.done" | "response.reasoning_text.done":
                yield self._say(kind.removesuffix(".done"), event, "text")
            case "response.refusal.done":
                yield self._say("response.refusal", event, "refusal")
            case "response.reasoning_summary_part.added" if event.get("summary_index"):
                yield {"reasoning_content": _PARAGRAPH}
            case "response.reasoning_summary_text.delta":
                yield self._say("response.reasoning_summary_text", event, "delta")
            case "response.reasoning_summary_text.done":
                yield self._say("response.reasoning_summary_text", event, "text")
            case "response.output_item.added":
                yield self._add(_object(self._model, event.get("item")), _index(self._model, event, "output_index"))
            case "response.function_call_arguments.delta":
                yield self._argue(event, "delta")
            case "response.function_call_arguments.done":
                yield self._argue(event, "arguments")
            case _:
                pass  # begins and ends of what has its own events, and events that say nothing

    def _say(self, kind: str, event: JsonObject, given: str) -> JsonObject:
        part = event.get("summary_index", event.get("content_index", 0))
        text = self._new((kind, _index(self._model, event, "output_index"), _whole(self._model, part)), event, given)
        return {_FIELDS[kind]: text} if text else {}

    def _add(self, item: JsonObject, position: int) -> JsonObject:
        match item.get("type"):
            case "function_call":
                call = _call(self._model, item | {"arguments": ""})
                index = self._calls.setdefault(position, len(self._calls))
                return {"tool_calls": [{"index": index, **call}]}
            case "message" | "reasoning":
                return {}
            case _:
                raise failures.not_understood(self._model)

    def _argue(self, event: JsonObject, given: str) -> JsonObject:
        position = _index(self._model, event, "output_index")
        if position not in self._calls:
            raise failures.not_understood(self._model)
        text = self._new(("arguments", position, 0), event, given)
        return {"tool_calls": [{"index": self._calls[position], "function": {"arguments": text}}]} if text else {}

    def _new(self, key: tuple[str, int, int], event: JsonObject, given: str) -> str:
        """Return what of a text has not left yet: all of a delta, and the rest where the whole is said at its end."""
        text = event.get(given)
        sent = self._sent.get(key, "")
        if not isinstance(text, str) or (given != "delta" and not text.startswith(sent)):
            raise failures.not_understood(self._model)
        new = text if given == "delta" else text[len(sent) :]
        self._sent[key] = sent + new
        return new

    def _begin(self) -> list[JsonObject]:
        if self._begun:
            return []
        if not self._head:
            raise failures.not_understood(self._model)
        self._begun = True
        return [self._chunk({"role": "assistant", "content": ""}, None)]

    def _end(self, response: JsonObject) -> list[JsonObject]:
        self.ended = True
        self._head = self._head or _head(self._model, response, "chat.completion.chunk")
        reason = _finish_reason(self._model, response, calls=bool(self._calls))
        last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
        usage = _usage(response)
        counted = [{**self._head, "choices": [], **usage}] if usage else []
        return [*self._begin(), {**self._head, "choices": [last]}, *counted]

    def _chunk(self, delta: JsonObject, logprobs: Any) -> JsonObject:  # Any: not checked yet
        probabilities = {"content": logprobs, "refusal": None} if isinstance(logprobs, list) and logprobs else None
        choice = {"index": 0, "delta": delta, "logprobs": probabilities, "finish_reason": None}
        return {**self._head, "choices": [choice]}


_FIELDS: Final = {
    "response.output_text": "content",
    "response.refusal": "refusal",
    "response.reasoning_text": "reasoning_content",
    "response.reasoning_summary_text": "reasoning_content",
}


def _spoken(model: Model, parts: list[Any]) -> Iterator[tuple[str, str, list[Any]]]:  # Any: not checked yet
    """Yield each part of a message: the field it belongs to, its text, and its log probabilities."""
    for part in parts:
        match part:
            case {"type": "output_text", "text": str(text)}:
                yield "content", text, _list(model, part.get("logprobs") or [])
            case {"type": "refusal", "refusal": str(text)}:
                yield "refusal", text, []
            case _:
                raise failures.not_understood(model)


def _think(model: Model, message: JsonObject, item: JsonObject) -> None:
    """Add what a reasoning item tells to the message; most tell nothing."""
    parts = [*_list(model, item.get("summary") or []), *_list(model, item.get("content") or [])]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    said = [text for text in texts if isinstance(text, str)]
    if len(said) != len(texts):
        raise failures.not_understood(model)
    if said:
        before = [message["reasoning_content"]] if "reasoning_content" in message else []
        message["reasoning_content"] = _PARAGRAPH.join([*before, *said])


def _call(model: Model, item: JsonObject) -> JsonObject:
    match item:
        case {"call_id": str(call_id), "name": str(name), "arguments": str(arguments)} if call_id and name:
            return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        case _:
            raise failures.not_understood(model)


def _finish_reason(model: Model, response: JsonObject, *, calls: bool) -> str:
    match response:
        case {"status": "completed"}:
            return "tool_calls" if calls else "stop"
        case {"status": "incomplete", "incomplete_details": {"reason": str(reason)}} if reason in _INCOMPLETE:
            return _INCOMPLETE[reason]
        case {"status": "failed"}:
            raise failures.said_error(model)
        case _:
            raise failures.not_understood(model)


def _head(model: Model, response: JsonObject, kind: str) -> JsonObject:
    match response:
        case {"id": str(response_id), "created_at": int() | float() as created} if response_id:
            pass
        case _:
            raise failures.not_understood(model)
    name, tier = response.get("model"), response.get("service_tier")
    head = {"id": response_id, "object": kind, "created": int(created), "model": name or model.target}
    return head | ({"service_tier": tier} if isinstance(tier, str) else {})


def _usage(response: JsonObject) -> JsonObject:
    """Return the usage by the names of chat completions; its figures are read with distrust by those who need them."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return {}
    plain: JsonObject = {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "total_tokens": usage.get("total_tokens"),
    }
    for ours, theirs in (("prompt", "input"), ("completion", "output")):
        details = usage.get(f"{theirs}_tokens_details")
        if isinstance(details, dict):
            plain[f"{ours}_tokens_details"] = details
    return {"usage": plain}


def _list(model: Model, value: Any) -> list[Any]:  # Any: not checked yet, as everywhere below
    if not isinstance(value, list):
        raise failures.not_understood(model)
    return value


def _object(model: Model, value: Any) -> JsonObject:
    if not isinstance(value, dict):
        raise failures.not_understood(model)
    return value


def _index(model: Model, event: JsonObject, name: str) -> int:
    return _whole(model, event.get(name))


def _whole(model: Model, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise failures.not_understood(model)
    return value
