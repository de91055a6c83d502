"""Reads a provider's answer off its connection, and checks it against OpenAI's wire format before anybody sees it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import msgspec

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject
from llmguard.domain.eager import Begun
from llmguard.domain.pieces import Pieces, joined
from llmguard.providers import failures
from llmguard.providers.adapter import AttemptFailed
from llmguard.providers.connections import Response
from llmguard.providers.sse import Event, EventReader, EventTooLarge
from llmguard.providers.stencil import Stencil, stencil_of

_DONE: Final = b"[DONE]"
_DECODER: Final = msgspec.json.Decoder()  # keeps nothing between calls
_LARGEST_INDEX: Final = 1_000_000  # of a choice or a tool call; nobody asks for so many
_LARGE_BYTES: Final = 1024 * 1024  # decoded off the event loop: 10 ms and more
_MOST_STENCILS: Final = 8  # looked for in one stream: some providers send something new in each chunk
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """How much of an answer is taken.

    `end_of_body_seconds` is for what comes after `[DONE]`: a connection whose body has ended can be used again.
    """

    answer_bytes: int = 64 * 1024 * 1024
    event_bytes: int = 4 * 1024 * 1024
    end_of_body_seconds: float = 0.1


class AnswerReader:
    """One answer with status 200; use one of `completion`, `json`, `next_chunks` and `next_objects`."""

    def __init__(self, model: Model, response: Response, limits: AnswerLimits) -> None:
        self._model = model
        self._response = response
        self._limits = limits
        self._received_bytes = 0
        self._reader = EventReader(max_event_bytes=limits.event_bytes)
        self._is_done = False
        self._stencil: Stencil | None = None
        self._stencils_left = _MOST_STENCILS
        self._failure: AttemptFailed | None = None  # of what came right after sound chunks
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    async def completion(self) -> JsonObject:
        """Return the whole body as a chat.completion.

        Raises:
            AttemptFailed: it breaks off, is too large, or is no chat.completion.
        """
        answer = _read_answer(self._model, await self._read_whole())
        return _with_choices(self._model, answer, part="message")

    async def json(self) -> JsonObject:
        """Return the whole body as a JSON object that says of itself that it is no error; nothing else is checked.

        Raises:
            AttemptFailed: it breaks off, is too large, or is no such object.
        """
        content = await self._read_whole()
        if len(content) < _LARGE_BYTES:
            return _read_answer(self._model, content)
        return await asyncio.to_thread(_read_answer, self._model, content)

    async def next_chunks(self) -> list[JsonObject]:
        """Return the chat.completion.chunks that came at once; none after the last.

        A stream is complete with `[DONE]`, or when every choice that began has its finish_reason.

        Raises:
            AttemptFailed: it ends before it is complete, reports an error, or is not a stream of chunks; after all
                chunks that came before that.
        """
        if self._failure is not None:
            raise self._failure
        chunks: list[JsonObject] = []
        while not (chunks or self._is_done):
            piece = await self._next_piece()
            try:
                for chunk in self._chunks_in(piece):
                    chunks.append(chunk)  # noqa: PERF402 - what came before something wrong counts
            except AttemptFailed as failure:
                if not chunks:
                    raise
                self._failure = failure
            if not piece:
                if not (self._begun and self._begun <= self._finished):
                    raise failures.broken_off(self._model)
                break
        if self._is_done and not chunks:  # what came leaves before anything is waited for
            await self.read_to_end()
        return joined(chunks)

    async def next_objects(self) -> Iterator[JsonObject]:
        """Return the JSON objects of the events that came at once, of a stream whose last event says that it is.

        Raises:
            AttemptFailed: here and while iterating: the stream ends, reports an error, or has something else than
                events of JSON objects.
        """
        events: list[Event] = []
        while not events:
            piece = await self._next_piece()
            if not piece:
                raise failures.broken_off(self._model)
            events = self._feed(piece)
        return map(self._read_object, events)

    async def read_to_end(self) -> None:
        """Read what is left of the body, which is nothing; a server that does not end it loses its connection."""
        try:
            reading = Begun(self._skip_rest())
            if not reading.done:
                async with asyncio.timeout(self._limits.end_of_body_seconds):
                    await reading
        except (AttemptFailed, aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            self._response.close()

    async def _skip_rest(self) -> None:
        while await self._read_piece():
            pass

    async def _next_piece(self) -> bytes:
        """Return what came at once of a stream; nothing where the body ends or breaks off."""
        if self._response.content_type != "text/event-stream":
            raise failures.not_understood(self._model)
        try:
            return await self._read_piece()
        except (aiohttp.ClientError, OSError):
            return b""

    def _feed(self, piece: bytes) -> list[Event]:
        try:
            return self._reader.feed(piece)
        except EventTooLarge:
            raise failures.too_large(self._model) from None

    def _chunks_in(self, piece: bytes) -> Iterator[JsonObject]:
        """Yield the chunks that a piece of the body completes; what differs in its text alone is one."""
        for event in self._events_in(piece):
            if isinstance(event, Pieces):
                yield event
            elif event.data == _DONE:
                self._is_done = True
                return
            elif self._stencil is None or event.name or (text := self._stencil.text(event.data)) is None:
                yield self._read_chunk(event)
            else:
                yield Pieces(self._stencil.chunk, [text])

    def _events_in(self, piece: bytes) -> Iterator[Event | Pieces]:
        at = 0
        while self._stencil is None and (end := piece.find(b"\n\n", at)) >= 0:
            yield from self._feed(piece[at : end + 2])  # whoever takes it may find a stencil in it
            at = end + 2
        rest, stencil = piece[at:], self._stencil
        if stencil is None or len(rest) > self._limits.event_bytes:  # the reader looks at the length of each
            yield from self._feed(rest)
        elif self._reader.is_between_events and (text := stencil.only(rest)) is not None:
            yield Pieces(stencil.chunk, [text])
        elif (run := stencil.run(rest)) is None:
            yield from self._feed(rest)
        else:
            before, texts, after = run
            yield from self._feed(before)
            yield Pieces(stencil.chunk, texts)
            yield from self._feed(after)

    async def _read_whole(self) -> bytearray:
        content = bytearray()
        try:
            while piece := await self._read_piece():
                content += piece
        except (aiohttp.ClientError, OSError):
            raise failures.broken_off(self._model) from None
        return content

    async def _read_piece(self) -> bytes:
        piece = await self._response.read()
        self._received_bytes += len(piece)
        if self._received_bytes > self._limits.answer_bytes:
            raise failures.too_large(self._model)
        return piece

    def _read_object(self, event: Event) -> JsonObject:
        if event.data == _DONE:
            raise failures.broken_off(self._model)
        if event.name == "error":
            raise failures.said_error(self._model)
        return _read_answer(self._model, event.data)

    def _read_chunk(self, event: Event) -> JsonObject:
        if event.name == "error":
            raise failures.said_error(self._model)
        chunk = _with_choices(self._model, _read_answer(self._model, event.data), part="delta")
        if self._stencils_left and (stencil := stencil_of(event.data, chunk)) is not None:
            self._stencil, self._stencils_left = stencil, self._stencils_left - 1
        for choice in chunk["choices"]:
            index = choice.get("index", 0)
            self._begun.add(index)
            if choice.get("finish_reason"):
                self._finished.add(index)
        return chunk


def read_error(content: bytes | bytearray) -> JsonObject:
    """Return OpenAI's `error` object out of the body of a failed request; {} if there is none."""
    try:
        body = _DECODER.decode(content)
    except _UNREADABLE:
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _read_answer(model: Model, content: bytes | bytearray) -> JsonObject:
    """Return a JSON object that reports no error."""
    try:
        answer: Any = _DECODER.decode(content)  # Any: not checked yet
    except _UNREADABLE:
        raise failures.not_understood(model) from None
    if not isinstance(answer, dict):
        raise failures.not_understood(model)
    if answer.get("error"):
        raise failures.said_error(model)
    return answer


def _with_choices(model: Model, answer: JsonObject, *, part: str) -> JsonObject:
    """Return a completion or a chunk whose choices are sound; `part` is where they keep their text."""
    choices = answer.get("choices")
    if not isinstance(choices, list):
        raise failures.not_understood(model)
    for choice in choices:
        if not _is_choice(choice, part):
            raise failures.not_understood(model)
    return answer


def _is_choice(choice: Any, part: str) -> bool:  # Any: not checked yet, as everywhere below
    return isinstance(choice, dict) and _is_index(choice.get("index", 0)) and _is_message(choice.get(part))


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_INDEX


def _is_message(message: Any) -> bool:
    """Tell whether a message or delta has OpenAI's shape where somebody after us relies on it; the rest may be odd.

    Source: OpenAI API reference, "chat.completion" and "chat.completion.chunk"; a list of parts as `content` is
    Mistral's and some servers' own.
    """
    if not isinstance(message, dict):
        return False
    if len(message) == 1 and type(message.get("content")) is str:  # as nearly all pieces of a stream are
        return True
    content, calls = message.get("content"), message.get("tool_calls")
    return (
        (_is_text(content) or (isinstance(content, list) and all(isinstance(item, dict) for item in content)))
        and _is_text(message.get("role"))
        and _is_text(message.get("refusal"))
        and _is_text(message.get("reasoning_content"))
        and _is_named(message.get("function_call"), "arguments")
        and (calls is None or (isinstance(calls, list) and all(map(_is_call, calls))))
    )


def _is_call(call: Any) -> bool:
    return (
        isinstance(call, dict)
        and _is_index(call.get("index", 0))
        and _is_text(call.get("id"))
        and _is_text(call.get("type"))
        and _is_named(call.get("function"), "arguments")
        and _is_named(call.get("custom"), "input")
    )


def _is_named(called: Any, given: str) -> bool:
    if called is None:
        return True
    return isinstance(called, dict) and _is_text(called.get("name")) and _is_text(called.get(given))


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)
