"""A real OpenAI-compatible server for tests: records every byte it gets and misbehaves on request. Stdlib only.

In process: `with ProviderServer() as server: ... server.base_url`. Alone: `python provider_server.py --port 9000`
(it prints `{"base_url": ...}`; `GET /_received`, `GET /_reported` and `POST /_script` do what the attributes do).

`POST /v1/embeddings` answers vectors; `POST /v1/responses` answers what `answer=` or `events=` say.

Behaviour is a text of words joined by `+`, taken from the first of: the `model` of the request after its first `+`
(`gpt-4o-mini+chars=1`), the queue of `server.queue(...)`, the standing `server.script(...)`.

| word | what happens |
|---|---|
| (none) | the answer repeats the text of the last user message |
| `text=X` | the answer is X (percent-encoded) |
| `chars=N` / `bytes=N` | a stream with N characters of answer a chunk / whose raw bytes leave N at a time |
| `tools` | calls every tool, each string argument being the answer |
| `prefix=N` | repeats only the first N characters |
| `delay=S` / `pause=S` | waits before the answer / between two chunks |
| `fail=STATUSxN` | the first N requests with one x-request-id get STATUS, the next ones an answer |
| `status=N`, `code=C`, `param=P`, `retry_after=S`, `no_retry` | an error answer, and what is in it |
| `error_text=X` | the error's message (percent-encoded) |
| `garbage` | 200 and no JSON (in a stream: one event that is no JSON, after two good ones) |
| `close=before` / `close=half` | the socket closes instead of an answer / in the middle of it |
| `raw=B` | these bytes (in URL-safe base64) instead of an answer, and the socket closes |
| `never` / `stall` | no answer, ever / stops in the middle and keeps the socket open |
| `type=X` | the content type |
| `huge=N` | an answer of N characters |
| `usage=missing`, `=cached`, `=reasoning`, `=garbage`, `=exact_max` | what is reported |
| `input=N` / `output=N` | the tokens reported (default: words) |
| `no_done` / `no_finish` | a stream without [DONE] / without finish_reason and [DONE] |
| `lingers` | a stream whose body stays open after [DONE] |
| `sse_error`, `sse_error=named` | an error object after two chunks / an event named error |
| `empty` | a stream of nothing but [DONE] |
| `refuses_stream_options` | 400 for any request that has them |
| `answer=J` / `events=J` | the whole answer is this JSON / the stream is the chunks in this list (percent-encoded) |
| `vectors=J` | the `data` of embeddings is this JSON (percent-encoded); else `vector_of` each text |
| `floats` | vectors as lists, whatever was asked for |
| `crlf` / `comments` | other line ends / comments and blank lines between events |
"""

import argparse
import asyncio
import base64
import json
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import unquote


@dataclass
class Received:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    outcome: str = "pending"  # answered, hung_up, closed
    chunks_sent: int = 0
    received_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def request_id(self) -> str | None:
        return self.headers.get("x-request-id")


@dataclass
class Reported:
    """The usage that went out in a whole answer."""

    request_id: str | None
    model: str
    input_tokens: int
    output_tokens: int


class Behaviour(dict):
    """Words of the table above; a word without `=` has the value True."""

    @classmethod
    def parse(cls, text: str) -> "Behaviour":
        words = (word.partition("=") for word in text.split("+") if word)
        return cls({name: unquote(value) if equals else True for name, equals, value in words})

    def number(self, name: str, default: float = 0.0) -> float:
        return float(self.get(name, default))


class HungUp(Exception):
    """The other side closed its connection."""


class ProviderServer:
    """Serves on a thread of its own while it is entered."""

    def __init__(self, *, port: int = 0, behaviour: str = "", wires: dict | None = None) -> None:
        """Serve OpenAI's paths; `wires` maps a part of a path to an answer function for other vendors' formats."""
        self.received: list[Received] = []
        self.reported: list[Reported] = []
        self.raw = bytearray()  # every byte that any client ever sent
        self.connections = 0
        self._wires = wires or {}
        self._port = port
        self._standing = behaviour
        self._queued: deque[str] = deque()
        self._attempts: dict[str | None, int] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def script(self, behaviour: str) -> None:
        """Behave like this from now on."""
        self._standing = behaviour

    def queue(self, *behaviours: str) -> None:
        """Behave like this for the next requests, one each."""
        self._queued.extend(behaviours)

    def wait_for(self, condition, *, seconds: float = 60.0) -> bool:
        """Return whether `condition()` came true in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        try:
            while (request := await self._read_request(reader, connection)) is not None:
                exchange = Exchange(self, request, reader, writer)
                try:
                    keep_open = await exchange.answer()
                except (HungUp, ConnectionError):
                    request.outcome, keep_open = "hung_up", False
                request.ended_at = time.monotonic()
                if not keep_open:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # cancelled: the server ends
        finally:
            writer.close()

    async def _read_request(self, reader: asyncio.StreamReader, connection: int) -> Received | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = await reader.readline()
            self.raw += line
            if not line:
                return None
            head += line
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length") or 0))
        self.raw += body
        method, path, _ = first.split(" ", 2)
        return Received(method, path, headers, body, connection)

    def next_behaviour(self, model: str) -> Behaviour:
        named = model.partition("+")[2]
        if named:
            return Behaviour.parse(named)
        return Behaviour.parse(self._queued.popleft() if self._queued else self._standing)

    def count_attempt(self, request_id: str | None) -> int:
        self._attempts[request_id] = self._attempts.get(request_id, 0) + 1
        return self._attempts[request_id]

    def control(self, request: Received) -> object:
        """Answer one of the paths under `/_`."""
        if request.path == "/_received":
            return [
                {**vars(seen), "body": base64.b64encode(seen.body).decode(), "headers": seen.headers}
                for seen in self.received
            ]
        if request.path == "/_raw":
            return {"base64": base64.b64encode(bytes(self.raw)).decode()}
        if request.path == "/_reported":
            return [vars(report) for report in self.reported]
        if request.path == "/_script":
            asked = request.json
            if "standing" in asked:
                self.script(asked["standing"])
            self.queue(*asked.get("queue", []))
        return {}


class Exchange:
    """One request and its answer."""

    def __init__(self, server, request, reader, writer) -> None:
        self.server, self.request, self.reader, self.writer = server, request, reader, writer
        self.how = Behaviour()

    async def answer(self) -> bool:
        """Answer; return whether the connection stays open."""
        if self.request.path.startswith("/_"):
            await self.send_json(200, self.server.control(self.request))
            return True
        self.server.received.append(self.request)
        for part, wire in self.server._wires.items():
            if part in self.request.path:
                return await wire(self)
        embeds = self.request.path.endswith("/embeddings")
        if not embeds and not self.request.path.endswith(("/chat/completions", "/responses")):
            await self.send_json(404, {"error": {"message": "no such path", "code": "not_found"}})
            return True
        body = self.request.json
        self.how = self.server.next_behaviour(body.get("model") or "")
        await self.pause(self.how.number("delay"))
        if "never" in self.how:
            await self.pause(3600)
        if "raw" in self.how or self.how.get("close") == "before":
            await self.write(base64.urlsafe_b64decode(self.how.get("raw", "")))
            self.request.outcome = "closed"
            return False
        if status := self.failing_status(body):
            await self.send_error(status)
            return True
        answer = self.embed if embeds else self.stream if body.get("stream") else self.complete
        return await answer(body)

    def failing_status(self, body: dict) -> int:
        attempt = self.server.count_attempt(self.request.request_id)
        if "refuses_stream_options" in self.how and "stream_options" in body:
            self.how |= {"param": "stream_options", "error_text": "Unknown parameter: 'stream_options'."}
            return 400
        status, _, times = str(self.how.get("fail", "")).partition("x")
        if status and attempt <= int(times or 1):
            return int(status)
        return int(self.how.get("status", 0))

    async def send_error(self, status: int) -> None:
        headers = []
        if "retry_after" in self.how:
            headers.append(f"retry-after: {self.how['retry_after']}")
        if "no_retry" in self.how:
            headers.append("x-should-retry: false")
        if 300 <= status < 400:
            headers.append(f"location: {self.server.base_url}/elsewhere")
        # As careless as real providers: the text repeats the key and what was asked.
        if "garbage" in self.how:
            await self.send(status, b"<html>" + b"x" * 100_000, headers)
            return
        text = self.how.get("error_text", f"{self.request.headers.get('authorization')} said {self.request.body!r}")
        error = {"message": text, "type": "error", "param": self.how.get("param"), "code": self.how.get("code")}
        await self.send_json(status, {"error": error}, headers)

    async def send_json(self, status: int, body: object, headers: list[str] | None = None) -> None:
        await self.send(status, json.dumps(body).encode(), headers)

    async def send(self, status: int, content: bytes, headers: list[str] | None = None) -> None:
        lines = ["content-type: application/json", f"content-length: {len(content)}", *(headers or [])]
        await self.write(_head(status, lines) + content)
        self.request.outcome = "answered"

    async def complete(self, body: dict) -> bool:
        usage = self.usage(body)
        message = self.message(body)
        reason = "tool_calls" if "tool_calls" in message else "stop"
        choices = [{"index": i, "message": message, "finish_reason": reason} for i in range(body.get("n") or 1)]
        answer = {**_envelope(body, "chat.completion"), "choices": choices} | ({"usage": usage} if usage else {})
        if "answer" in self.how:
            answer, usage = json.loads(self.how["answer"]), None
        content = b"<html>502 Bad Gateway" if "garbage" in self.how else json.dumps(answer).encode()
        kind = self.how.get("type", "application/json")
        head = _head(200, [f"content-type: {kind}", f"content-length: {len(content)}"])
        if "stall" in self.how or self.how.get("close") == "half":
            await self.write(head + content[: len(content) // 2])
            return await self.break_off()
        self.report(body, usage)
        await self.write(head + content)
        return True

    async def embed(self, body: dict) -> bool:
        vectors = [vector_of(text, body.get("dimensions", 3)) for text in body["input"]]
        if body.get("encoding_format") == "base64" and "floats" not in self.how:
            vectors = [base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in vectors]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        if "vectors" in self.how:
            data = json.loads(self.how["vectors"])
        words = sum(len(text.split()) for text in body["input"])
        answer = {"object": "list", "data": data, "model": body["model"]}
        if self.how.get("usage") != "missing":
            answer["usage"] = {"prompt_tokens": words, "total_tokens": words}
            self.server.reported.append(Reported(self.request.request_id, body["model"], words, 0))
        await self.send(200, b"<html>502" if "garbage" in self.how else json.dumps(answer).encode())
        return True

    async def stream(self, body: dict) -> bool:
        kind = self.how.get("type", "text/event-stream")
        await self.write(_head(200, [f"content-type: {kind}", "transfer-encoding: chunked"]))
        usage = self.usage(body)
        events = self.events(body, usage)
        halfway = len(events) // 2
        for number, event in enumerate(events):
            if number == halfway and ("stall" in self.how or self.how.get("close") == "half"):
                return await self.break_off()
            await self.write_event(event)
            self.request.chunks_sent += 1
            await self.pause(self.how.number("pause"))
        self.report(body, usage)
        if "lingers" in self.how:
            await self.pause(3600)
        await self.write(b"0\r\n\r\n")
        return True

    async def write_event(self, event: bytes) -> None:
        if "comments" in self.how:
            event = b": keep-alive\n\n" + event + b"\n\n"
        if "crlf" in self.how:
            event = event.replace(b"\n", b"\r\n")
        size = int(self.how.get("bytes", 0)) or len(event)
        for start in range(0, len(event), size):
            piece = event[start : start + size]
            await self.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if size < len(event):
                await asyncio.sleep(0)

    def events(self, body: dict, usage: dict | None) -> list[bytes]:
        chunks = json.loads(self.how["events"]) if "events" in self.how else self.chunks(body)
        if "events" not in self.how and usage and (body.get("stream_options") or {}).get("include_usage"):
            chunks.append({**_envelope(body, "chat.completion.chunk"), "choices": [], "usage": usage})
        events = [_event_of(chunk) for chunk in chunks]
        if "garbage" in self.how:
            events.insert(2, b"data: {not json\n\n")
        if "sse_error" in self.how:
            name = b"event: error\n" if self.how["sse_error"] == "named" else b""
            said = b"[]" if name else b'{"error": {"message": "overloaded", "code": "server_error"}}'
            events.insert(2, name + b"data: " + said + b"\n\n")
        if "empty" in self.how:
            events.clear()
        if "no_done" not in self.how and not self.request.path.endswith("/responses") and "no_finish" not in self.how:
            events.append(b"data: [DONE]\n\n")
        return events

    def chunks(self, body: dict) -> list[dict]:
        message = self.message(body)
        deltas = [{"role": "assistant", "content": ""}]
        text, size = message.get("content") or "", int(self.how.get("chars", 8))
        deltas += [{"content": text[start : start + size]} for start in range(0, len(text), size)]
        for index, call in enumerate(message.get("tool_calls", [])):
            arguments = call["function"]["arguments"]
            deltas.append({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
            for start in range(0, len(arguments), size):
                piece = {"arguments": arguments[start : start + size]}
                deltas.append({"tool_calls": [{"index": index, "function": piece}]})
        reason = "tool_calls" if "tool_calls" in message else "stop"
        if "no_finish" not in self.how:
            deltas.append({})
        envelope = _envelope(body, "chat.completion.chunk")
        return [
            {**envelope, "choices": [{"index": i, "delta": delta, "finish_reason": None if delta else reason}]}
            for delta in deltas
            for i in range(body.get("n") or 1)
        ]

    def message(self, body: dict) -> dict:
        text = self.how.get("text") or _last_text(body)
        if "huge" in self.how:
            text = "x" * int(self.how["huge"])
        text = text[: int(self.how.get("prefix", len(text)))]
        if "tools" not in self.how:
            return {"role": "assistant", "content": text}
        calls = []
        for index, tool in enumerate(body.get("tools") or []):
            properties = (tool["function"].get("parameters") or {}).get("properties") or {"text": {}}
            arguments = json.dumps(dict.fromkeys(properties, text), ensure_ascii=False)
            function = {"name": tool["function"]["name"], "arguments": arguments}
            calls.append({"id": f"call_{index}", "type": "function", "function": function})
        return {"role": "assistant", "content": None, "tool_calls": calls}

    def usage(self, body: dict) -> dict | None:
        kind = self.how.get("usage")
        if kind == "missing":
            return None
        if kind == "garbage":
            return {"prompt_tokens": -5, "completion_tokens": "many", "total_tokens": None}
        answer = json.dumps(self.message(body), ensure_ascii=False)
        words = len(json.dumps(body.get("messages"), ensure_ascii=False).split())
        read, written = int(self.how.get("input", words)), int(self.how.get("output", max(1, len(answer.split()) - 3)))
        if kind == "exact_max":
            written = body.get("max_tokens") or body.get("max_completion_tokens")
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        if kind == "cached":
            usage["prompt_tokens_details"] = {"cached_tokens": read // 2}
        if kind == "reasoning":
            usage["completion_tokens_details"] = {"reasoning_tokens": written // 2}
        return usage

    def report(self, body: dict, usage: dict | None) -> None:
        """Record what was reported; before the last byte leaves, so that whoever saw the end finds the record."""
        if self.reader.at_eof():
            raise HungUp
        self.request.outcome = "answered"
        if usage and self.how.get("usage") != "garbage":
            figures = (usage["prompt_tokens"], usage["completion_tokens"])
            self.server.reported.append(Reported(self.request.request_id, body.get("model", ""), *figures))

    async def break_off(self) -> bool:
        if "stall" in self.how:
            await self.pause(3600)
        self.request.outcome = "closed"
        return False

    async def write(self, content: bytes) -> None:
        if self.reader.at_eof():
            raise HungUp
        self.writer.write(content)
        await self.writer.drain()

    async def pause(self, seconds: float) -> None:
        """Wait, but notice within 10 ms that the other side went away."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.01))
            if self.reader.at_eof():
                raise HungUp


def _head(status: int, lines: list[str]) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Status", *lines, "", ""]).encode()


def _envelope(body: dict, kind: str) -> dict:
    return {"id": "chatcmpl-test", "object": kind, "created": 1795435200, "model": body.get("model")}


def _event_of(chunk: dict) -> bytes:
    """Return one event; those of the Responses API have a name, their type."""
    name = f"event: {chunk['type']}\n" if "type" in chunk else ""
    return f"{name}data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


def vector_of(text: str, dimensions: int) -> list[float]:
    """Return the numbers that stand for a text: its length and its characters, halved, which 32 bits hold exactly."""
    numbers = [len(text), *map(ord, text)] + [0] * dimensions
    return [number / 2 for number in numbers[:dimensions]]


def _last_text(body: dict) -> str:
    for message in reversed(body.get("messages") or []):
        content = message.get("content")
        if message.get("role") in {"user", "tool"} and content:
            if isinstance(content, str):
                return content
            return "\n".join(part["text"] for part in content if "text" in part)
    return ""


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--behaviour", default="")
    arguments = parser.parse_args()
    with ProviderServer(port=arguments.port, behaviour=arguments.behaviour) as server:
        print(json.dumps({"base_url": server.base_url}), flush=True)  # noqa: T201 - how the caller learns the port
        threading.Event().wait()


if __name__ == "__main__":
    main()
