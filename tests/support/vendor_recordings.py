"""What vendors' servers send, byte for byte in the shape that their documentation shows, and a wire that replays it.

Source: Anthropic API reference, "Messages" and "Streaming messages"; Gemini API reference, "Generating content" and
"Function calling"; Ollama API reference, "Generate a chat completion" (all read 2026-11).
"""

import json
from dataclasses import dataclass

from tests.support.provider_server import Exchange, _head


@dataclass(frozen=True)
class Recording:
    """One HTTP answer. A list is a stream: server-sent events, or lines of JSON."""

    content: dict | list
    status: int = 200
    lines: bool = False
    retry_after: int | None = None

    @property
    def body(self) -> bytes:
        if isinstance(self.content, dict):
            return json.dumps(self.content, ensure_ascii=False).encode()
        if self.lines:
            return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in self.content)
        return b"".join(map(_event, self.content))

    @property
    def kind(self) -> str:
        if isinstance(self.content, dict):
            return "application/json"
        return "application/x-ndjson" if self.lines else "text/event-stream"


class Replay:
    """A wire for `ProviderServer(wires={"/": Replay()})` that answers each request with the recording at hand."""

    recording: Recording

    async def __call__(self, exchange: Exchange) -> bool:
        recording = self.recording
        head = [f"content-type: {recording.kind}", f"content-length: {len(recording.body)}"]
        if recording.retry_after is not None:
            head.append(f"retry-after: {recording.retry_after}")
        await exchange.write(_head(recording.status, head))
        for start in range(0, len(recording.body), 50):  # cut anywhere
            await exchange.write(recording.body[start : start + 50])
        exchange.request.outcome = "answered"
        return True


def _event(data: dict) -> bytes:
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


# Anthropic. Cached tokens are beside `input_tokens` there, and part of the input here.

_CLAUDE = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929"}
_CLAUDE_USAGE = {"input_tokens": 20, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4}


def claude_answer(*blocks, stop="end_turn"):
    usage = {**_CLAUDE_USAGE, "output_tokens": 9, "service_tier": "standard"}
    return Recording({**_CLAUDE, "content": list(blocks), "stop_reason": stop, "stop_sequence": None, "usage": usage})


def claude_text(text):
    return {"type": "text", "text": text}


def claude_call(number, query):
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "lookup", "input": {"query": query}}


def claude_stream(*blocks, stop="end_turn", broken=False):
    usage = {**_CLAUDE_USAGE, "output_tokens": 1}
    begun = {**_CLAUDE, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    events = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            start, deltas = claude_text(""), [{"type": "text_delta", "text": one} for one in _pieces(block["text"])]
        else:
            text = json.dumps(block["input"], ensure_ascii=False)
            start = block | {"input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": one} for one in ["", *_pieces(text)]]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    if broken:
        return Recording([*events, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}])
    end = {"stop_reason": stop, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": 9}})
    return Recording([*events, {"type": "message_stop"}])


def claude_error(status, kind, message, *, retry_after=None):
    error = {"type": kind, "message": message}
    return Recording({"type": "error", "error": error, "request_id": "req_011"}, status, retry_after=retry_after)


# Gemini. Function calls come whole, also in streams; thoughts are beside the candidates' tokens.

_GEMINI_USAGE = {
    "promptTokenCount": 27,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 2,
    "totalTokenCount": 36,
}


def gemini_answer(*parts, finish="STOP"):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    candidate |= {"finishReason": finish} if finish else {}
    facts = {"modelVersion": "gemini-2.5-flash", "responseId": "r1"}
    return Recording({"candidates": [candidate], "usageMetadata": _GEMINI_USAGE, **facts})


def gemini_stream(*parts, finish="STOP"):
    last = len(parts) - 1
    return Recording(
        [gemini_answer(part, finish=finish if i == last else None).content for i, part in enumerate(parts)]
    )


def gemini_call(query):
    return {"functionCall": {"name": "lookup", "args": {"query": query}}}


def gemini_error(status, kind, message):
    return Recording({"error": {"code": status, "message": message, "status": kind}}, status)


# Ollama. Streams are lines of JSON; arguments are objects.


def ollama_answer(text="", *, calls=()):
    return Recording(_ollama_line(text, calls) | _OLLAMA_END)


def ollama_stream(text="", *, calls=()):
    lines = [_ollama_line("", calls)] if calls else [_ollama_line(piece) for piece in _pieces(text)]
    return Recording([*lines, _ollama_line("") | _OLLAMA_END], lines=True)


def ollama_error(status, message):
    return Recording({"error": message}, status)


_OLLAMA_END = {"done": True, "done_reason": "stop", "total_duration": 5, "prompt_eval_count": 27, "eval_count": 9}


def _ollama_line(text, calls=()):
    message = {"role": "assistant", "content": text}
    if calls:
        called = [{"function": {"name": "lookup", "arguments": {"query": query}}} for query in calls]
        message["tool_calls"] = called
    return {"model": "llama3.2", "created_at": "2026-11-23T12:00:00Z", "message": message, "done": False}


def _pieces(text, size=4):
    return [text[start : start + size] for start in range(0, len(text), size)]
