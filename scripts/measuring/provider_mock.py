"""A provider that answers at once, for measurements: OpenAI's wire format, always the same answer, whole or streamed.

`python -m scripts.measuring.provider_mock --core 0` prints `{"port": ...}` and serves until its standard input ends.
`GET /count` tells how many requests came, `GET /last` the body of the last one. It reads no JSON and makes none while
it serves, so that it costs a small part of what any gateway does.
"""
# ruff: noqa: SIM905  # a sentence reads better whole

import argparse
import asyncio
import json
import os
import sys

import uvloop

WORDS = (
    "Thank you for the details . The shipment was scanned at the depot on Tuesday and will be brought again on Friday "
    "morning ; the driver needs the delivery note ."
).split()
MODEL = "mock-1"
PROMPT_TOKENS = 200
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nx-request-id: req_mock\r\n"
_STREAM_HEAD = _HEAD % b"text/event-stream; charset=utf-8" + b"transfer-encoding: chunked\r\n\r\n"


class Answers:
    """What is sent, made before the first request; and what came in."""

    def __init__(self, *, chunks: int, delay_seconds: float, chunk_delay_seconds: float) -> None:
        """Answer with so many words, after a delay, in a stream with a delay between two of them."""
        words = [WORDS[number % len(WORDS)] for number in range(chunks)]
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": chunks, "total_tokens": PROMPT_TOKENS + chunks}
        message = {"role": "assistant", "content": " ".join(words), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        whole = _envelope("chat.completion") | {"choices": [choice], "usage": usage}
        self.whole = whole_answer(json.dumps(whole).encode(), b"application/json")
        deltas = [{"role": "assistant", "content": ""}, *({"content": f" {word}"} for word in words)]
        events = [_event([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
        events.append(_event([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        events.append(_event([], usage=usage))
        self.pieces = [_piece(f"data: {event}\n\n") for event in [*events, "[DONE]"]]
        self.pieces[-1] += b"0\r\n\r\n"
        self.delay_seconds = delay_seconds
        self.chunk_delay_seconds = chunk_delay_seconds
        self.count = 0
        self.last = b""


class Connection(asyncio.Protocol):
    """One connection, whose requests come one after the other."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._read = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport  # type: ignore[assignment] # a stream's, by protocol

    def data_received(self, data: bytes) -> None:
        """Answer as soon as a request is complete."""
        self._read += data
        head, end, rest = self._read.partition(b"\r\n\r\n")
        if not end:
            return
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            if not ends(rest):
                return
        else:
            _, named, value = lowered.partition(b"\r\ncontent-length:")
            if named and len(rest) < int(value.partition(b"\r\n")[0]):
                return
        self._read = b""
        if head.startswith(b"GET "):
            self._tell(head)
        else:
            self._answer(rest)

    def _tell(self, head: bytes) -> None:
        answers = self._answers
        said = answers.last if head.startswith(b"GET /last") else str(answers.count).encode()
        self._transport.write(whole_answer(said, b"text/plain"))

    def _answer(self, body: bytes) -> None:
        answers = self._answers
        answers.count += 1
        answers.last = body
        streamed = b'"stream":true' in body or b'"stream": true' in body
        if answers.delay_seconds:
            asyncio.get_running_loop().call_later(answers.delay_seconds, self._send, streamed)
        else:
            self._send(streamed)

    def _send(self, streamed: bool) -> None:  # noqa: FBT001 - called by a timer
        answers = self._answers
        if not streamed:
            self._transport.write(answers.whole)
        elif answers.chunk_delay_seconds:
            self._transport.write(_STREAM_HEAD)
            self._send_piece(0)
        else:
            self._transport.writelines([_STREAM_HEAD, *answers.pieces])

    def _send_piece(self, number: int) -> None:
        answers = self._answers
        if self._transport.is_closing():
            return
        self._transport.write(answers.pieces[number])
        if number + 1 < len(answers.pieces):
            asyncio.get_running_loop().call_later(answers.chunk_delay_seconds, self._send_piece, number + 1)


def ends(chunked: bytes) -> bool:
    """Return whether this is the end of a chunked body."""
    return chunked.endswith(b"\r\n0\r\n\r\n") or chunked == b"0\r\n\r\n"


def whole_answer(body: bytes, kind: bytes) -> bytes:
    """Return a whole answer of one content type."""
    return _HEAD % kind + b"content-length: %d\r\n\r\n" % len(body) + body


def _envelope(kind: str) -> dict:
    return {"id": "chatcmpl-mock", "object": kind, "created": 1_795_000_000, "model": MODEL}


def _event(choices: list, **more: object) -> str:
    return json.dumps(_envelope("chat.completion.chunk") | {"choices": choices} | more)


def _piece(text: str) -> bytes:
    content = text.encode()
    return b"%x\r\n%s\r\n" % (len(content), content)


async def serve(answers: Answers) -> None:
    """Serve until standard input ends: then whoever started this is gone."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int)
    parser.add_argument("--chunks", type=int, default=30)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--chunk-delay-ms", type=float, default=0)
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    answers = Answers(
        chunks=given.chunks, delay_seconds=given.delay_ms / 1000, chunk_delay_seconds=given.chunk_delay_ms / 1000
    )
    uvloop.run(serve(answers))


if __name__ == "__main__":
    main()
