"""`POST /v1/responses`, step 8: a chat's answer said as a response, whole or as its events.

A response is built from the completion that a stream adds up to, so that both ways of asking end in the same object.

Source: OpenAI API reference, "The response object" and "Streaming events" (read 2026-11).
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.pieces import cut
from llmguard.gateway.assembly import assemble
from llmguard.web.exchange import Arrival
from llmguard.web.responses_request import parse_responses
from llmguard.web.wire import encode_json

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: Final = ("metadata", "safety_identifier", "prompt_cache_key", "service_tier", "user")


class ResponsesExchange:
    """Translates one Responses request and its answer."""

    def __init__(self, arrival: Arrival) -> None:
        """Take what came in; ids of response and items are made of the trace id, so that either leads to the trace."""
        self._arrival = arrival
        self._own_id = arrival.trace_id.replace("-", "")
        self._created = int(time.time())
        self._request: ChatRequest
        self._chunks: list[JsonObject] = []
        self._number = 0
        self._items: list[_Item] = []

    def parse(self) -> ChatRequest:
        """Return the chat of the body."""
        self._request = parse_responses(self._arrival)
        return self._request

    def whole(self, answer: JsonObject) -> JsonObject:
        """Return the response object of a completion."""
        choice = (answer.get("choices") or [{}])[0]
        status = "incomplete" if choice.get("finish_reason") in _INCOMPLETE else "completed"
        items = list(_items(choice, self._own_id))
        return self._response(answer, status, [item.whole(status) for item in items], choice.get("finish_reason"))

    def events(self, chunks: list[JsonObject]) -> bytes:
        """Return the events of these chunks."""
        return b"".join(map(self._events, cut(chunks)))

    def _events(self, chunk: JsonObject) -> bytes:
        said = b"" if self._chunks else self._begin(chunk)
        self._chunks.append(chunk)
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                said += self._grow(choice)
        return said

    def end(self) -> bytes:
        """Return what ends every open item, and the whole response."""
        said = b"" if self._chunks else self._begin({})
        completion = assemble(self._chunks)
        choice = (completion.get("choices") or [{}])[0]
        reason = choice.get("finish_reason")
        status = "incomplete" if reason in _INCOMPLETE else "completed"
        said += b"".join(self._close(item, status) for item in self._items if not item.closed)
        response = self._response(completion, status, [item.whole(status) for item in self._items], reason)
        return said + self._event(f"response.{status}", response=response)

    def broken(self, body: JsonObject) -> bytes:
        """Return an `error` event: the fields of a Responses error, and ours under `error`, at which clients stop."""
        error = body["error"]
        plain = {name: error[name] for name in ("code", "message", "param")}
        return self._event("error", **plain, error=error)

    def _begin(self, chunk: JsonObject) -> bytes:
        response = self._response(chunk, "in_progress", [], None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _grow(self, choice: JsonObject) -> bytes:
        delta = choice.get("delta") or {}
        said = b""
        if text := _plain_text(delta.get("reasoning_content")):
            said += self._grow_item(_Item("reasoning", "reasoning"), text, None)
        for kind in ("content", "refusal"):
            if text := _plain_text(delta.get(kind)):
                said += self._grow_item(_Item("message", kind), text, choice.get("logprobs"))
        for position, call in enumerate(delta.get("tool_calls") or ()):
            said += self._grow_call(call, call.get("index", position))
        return said

    def _grow_call(self, call: JsonObject, index: int) -> bytes:
        kind = "custom" if "custom" in call else "function"
        called = call.get(kind) or {}
        fresh = _Item(kind, ("call", index), call_id=call.get("id") or "", name=called.get("name") or "")
        return self._grow_item(fresh, called.get("input" if kind == "custom" else "arguments") or "", None)

    def _grow_item(self, fresh: "_Item", text: str, logprobs: Any) -> bytes:  # Any: an object or null
        """Return the events of more text for an item, which begins with it if it is not open yet."""
        item = next((item for item in self._items if item.key == fresh.key and not item.closed), None)
        said = b""
        if item is None:
            said += b"".join(self._close(open_, "completed") for open_ in self._items if not open_.closed)
            item = fresh
            item.open(self._own_id, len(self._items))
            self._items.append(item)
            said += self._event("response.output_item.added", output_index=item.index, item=item.begun())
            if (part := item.part("")) is not None:
                said += self._event(f"response.{item.part_word}.added", **item.place(), part=part)
        tokens = (logprobs or {}).get(item.kind_of_text) or []
        item.grow(text, tokens)
        if text:
            extra = {"logprobs": _logprobs(tokens)} if item.key == "content" else {}
            said += self._event(f"response.{item.text_word}.delta", **item.place(), delta=text, **extra)
        return said

    def _close(self, item: "_Item", status: str) -> bytes:
        item.closed = True
        extra: JsonObject = {"logprobs": _logprobs(item.tokens)} if item.key == "content" else {}
        extra |= {"name": item.name} if item.kind == "function" else {}
        said = self._event(f"response.{item.text_word}.done", **item.place(), **{item.text_field: item.text}, **extra)
        if (part := item.part(item.text)) is not None:
            said += self._event(f"response.{item.part_word}.done", **item.place(), part=part)
        return said + self._event("response.output_item.done", output_index=item.index, item=item.whole(status))

    def _event(self, kind: str, **members: Any) -> bytes:  # Any: JSON
        event = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + encode_json(event) + b"\n\n"

    def _response(self, answer: JsonObject, status: str, output: list[JsonObject], reason: str | None) -> JsonObject:
        asked = self._request.parameters
        kept = str(answer.get("id", ""))
        seal = partial(self._arrival.response_ids.seal, self._arrival.app)
        previous = asked.get("previous_response_id")
        incomplete = {"reason": _INCOMPLETE[reason]} if reason in _INCOMPLETE else None
        return {
            "id": seal(kept) if kept.startswith("resp_") else f"resp_{self._own_id}",
            "object": "response",
            "created_at": answer.get("created") or self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": incomplete,
            "instructions": self._instructions(),
            "max_output_tokens": asked.get("max_completion_tokens"),
            "model": answer.get("model") or self._request.model,
            "output": output,
            "previous_response_id": None if previous is None else seal(previous),
            "parallel_tool_calls": asked.get("parallel_tool_calls", True),
            "reasoning": {"effort": asked.get("reasoning_effort"), "summary": None},
            "store": asked.get("store", False),
            "temperature": asked.get("temperature"),
            "text": {"format": _flat_format(asked.get("response_format"))},
            "tool_choice": _flat_choice(asked.get("tool_choice", "auto")),
            "tools": [_flat(tool) for tool in asked.get("tools") or ()],
            "top_p": asked.get("top_p"),
            "truncation": "disabled",
            **_usage(answer.get("usage")),
            **{name: asked[name] for name in _ECHOED if name in asked},
            "metadata": asked.get("metadata") or {},
        }

    def _instructions(self) -> str | None:
        first = self._request.messages[0]
        return first["content"] if first["role"] == "system" and isinstance(first["content"], str) else None


class _Item:
    """One item of the output, growing."""

    def __init__(self, kind: str, key: Any, *, call_id: str = "", name: str = "") -> None:  # Any: text or pair
        self.kind = kind
        self.key = key
        self.call_id = call_id
        self.name = name
        self.text = ""
        self.tokens: list[JsonObject] = []
        self.index = 0
        self.id = ""
        self.closed = False

    @property
    def kind_of_text(self) -> str:
        return "refusal" if self.key == "refusal" else "content"

    @property
    def text_word(self) -> str:
        words = {"content": "output_text", "refusal": "refusal", "reasoning": "reasoning_summary_text"}
        return words.get(self.key) or ("custom_tool_call_input" if self.kind == "custom" else "function_call_arguments")

    @property
    def text_field(self) -> str:
        return {"output_text": "text", "reasoning_summary_text": "text", "refusal": "refusal"}.get(
            self.text_word, "input" if self.kind == "custom" else "arguments"
        )

    @property
    def part_word(self) -> str:
        return "reasoning_summary_part" if self.kind == "reasoning" else "content_part"

    def open(self, own_id: str, index: int) -> None:
        prefix = {"message": "msg", "reasoning": "rs", "function": "fc", "custom": "ctc"}[self.kind]
        self.index, self.id = index, f"{prefix}_{own_id}{index:02x}"

    def grow(self, text: str, tokens: list[JsonObject]) -> None:
        self.text += text
        self.tokens += tokens

    def place(self) -> JsonObject:
        place: JsonObject = {"item_id": self.id, "output_index": self.index}
        if self.kind == "message":
            place["content_index"] = 0
        elif self.kind == "reasoning":
            place["summary_index"] = 0
        return place

    def part(self, text: str) -> JsonObject | None:
        match self.key:
            case "content":
                return {"type": "output_text", "text": text, "annotations": [], "logprobs": _logprobs(self.tokens)}
            case "refusal":
                return {"type": "refusal", "refusal": text}
            case "reasoning":
                return {"type": "summary_text", "text": text}
        return None

    def begun(self) -> JsonObject:
        whole = self.whole("in_progress")
        match self.kind:
            case "message":
                return whole | {"content": []}
            case "reasoning":
                return whole | {"summary": []}
        return whole | {self.text_field: ""}

    def whole(self, status: str) -> JsonObject:
        match self.kind:
            case "message":
                part = self.part(self.text)
                return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": [part]}
            case "reasoning":
                return {"id": self.id, "type": "reasoning", "summary": [self.part(self.text)]}
        kind = "custom_tool_call" if self.kind == "custom" else "function_call"
        called = {"call_id": self.call_id, "name": self.name, self.text_field: self.text}
        return {"id": self.id, "type": kind, "status": status, **called}


def _items(choice: JsonObject, own_id: str) -> Iterator[_Item]:
    """Yield the output of a whole choice, in the order in which a stream would open it."""
    message = choice.get("message") or {}
    texts = [(_Item("reasoning", "reasoning"), _plain_text(message.get("reasoning_content")))]
    texts += [(_Item("message", kind), _plain_text(message.get(kind))) for kind in ("content", "refusal")]
    found = [(item, text) for item, text in texts if text]
    for index, call in enumerate(message.get("tool_calls") or ()):
        kind = "custom" if "custom" in call else "function"
        called = call.get(kind) or {}
        item = _Item(kind, ("call", index), call_id=call.get("id") or "", name=called.get("name") or "")
        found.append((item, called.get("input" if kind == "custom" else "arguments") or ""))
    for index, (item, text) in enumerate(found):
        item.open(own_id, index)
        item.grow(text, ((choice.get("logprobs") or {}).get(item.kind_of_text) or []) if item.kind == "message" else [])
        yield item


def _plain_text(content: Any) -> str:  # Any: a text, parts (as some providers send them), or null
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return content if isinstance(content, str) else ""


def _logprobs(tokens: list[JsonObject]) -> list[JsonObject]:
    return [
        {
            "token": token.get("token", ""),
            "bytes": token.get("bytes") or [],
            "logprob": token.get("logprob", 0),
            "top_logprobs": [
                {"token": other.get("token", ""), "bytes": other.get("bytes") or [], "logprob": other.get("logprob", 0)}
                for other in token.get("top_logprobs") or ()
            ],
        }
        for token in tokens
    ]


def _usage(usage: Any) -> JsonObject:  # Any: as the provider sent it
    if not isinstance(usage, dict):
        return {}
    read, written = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    said = {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": usage.get("total_tokens", read + written),
    }
    return {"usage": said}


def _flat_format(form: Any) -> JsonObject:  # Any: as it was asked
    if not isinstance(form, dict):
        return {"type": "text"}
    schema = form.get("json_schema")
    return {"type": "json_schema", **schema} if isinstance(schema, dict) else form


def _flat(tool: JsonObject) -> JsonObject:
    kind = str(tool.get("type"))
    inner = tool.get(kind)
    flat = {"type": kind, **inner} if isinstance(inner, dict) else tool
    return {"strict": None, "parameters": None} | flat if kind == "function" else flat


def _flat_choice(choice: Any) -> Any:  # Any: as it was asked
    if not isinstance(choice, dict):
        return choice
    inner = choice.get(str(choice.get("type")))
    if not isinstance(inner, dict):
        return choice
    flat = {"type": choice["type"], **inner}
    if isinstance(flat.get("tools"), list):
        flat["tools"] = [_flat_choice(tool) for tool in flat["tools"]]
    return flat
