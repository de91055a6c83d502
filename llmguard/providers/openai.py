"""Providers that speak OpenAI's wire format, straight over aiohttp, which has many times httpx's throughput."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import lru_cache
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from llmguard.domain.catalog import Model, ModelApi
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock
from llmguard.providers import failures
from llmguard.providers.adapter import AttemptFailed, asks_embeddings
from llmguard.providers.answer import AnswerLimits, AnswerReader, read_error
from llmguard.providers.connections import Connections, Response
from llmguard.providers.embeddings import plain_embeddings
from llmguard.providers.keys import read_key
from llmguard.providers.responses_answer import ResponseEvents, completion_of
from llmguard.providers.responses_request import responses_request
from llmguard.providers.retry_after import read_retry_after
from llmguard.providers.tokens import TokenCounter

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

_PATHS: Final[dict[ModelApi, str]] = {"chat_completions": "chat/completions", "responses": "responses"}
_OK: Final = 200
_BAD_REQUEST: Final = 400
_LARGEST_ERROR_BYTES: Final = 64 * 1024


class OpenAiAdapter:
    """All OpenAI-compatible providers of a worker."""

    def __init__(
        self,
        environ: Mapping[str, str],
        clock: Clock,
        tokens: TokenCounter,
        *,
        connection_limit: int = 1_000,
        limits: AnswerLimits | None = None,
    ) -> None:
        self._environ = environ
        self._clock = clock
        self._tokens = tokens
        self._connection_limit = connection_limit
        self._limits = limits or AnswerLimits()
        self._connections: Connections | None = None
        # Base URLs seen to answer a stream only without stream_options; grows with the registry at most.
        self._without_stream_options: set[str] = set()

    async def start(self) -> None:
        """Make the pool; connections follow with the first calls."""
        self._open()

    async def close(self) -> None:
        """Close every connection."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()

    async def attempt(self, model: Model, body: JsonObject, *, trace_id: str) -> AsyncGenerator[list[JsonObject], None]:
        """Yield one chat.completion, the chunks of a stream, or one list of embeddings.

        Raises:
            AttemptFailed: before or between chunks.
        """
        path = "embeddings" if asks_embeddings(body) else _PATHS[model.api]
        as_response = path == _PATHS["responses"]
        sent = responses_request(model, body) if as_response else body
        response = await self._post(model, path, sent, self._headers(model, trace_id))
        try:
            answer = AnswerReader(model, response, self._limits)
            if as_response:
                async for translated in _from_response(model, answer, stream=bool(body.get("stream"))):
                    yield translated
            elif asks_embeddings(body):
                yield [await asyncio.to_thread(plain_embeddings, model, body, await answer.json(), self._tokens)]
            elif body.get("stream"):
                while chunks := await answer.next_chunks():
                    yield chunks
            else:
                yield [await answer.completion()]
        finally:
            response.close()  # not awaited; does nothing where the body was read to its end

    def _open(self) -> Connections:
        if self._connections is None:
            self._connections = Connections(self._connection_limit)
        return self._connections

    def _headers(self, model: Model, trace_id: str) -> dict[str, str]:
        headers = {"x-request-id": trace_id}
        key = read_key(model, self._environ)
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        return headers

    async def _post(self, model: Model, path: str, body: JsonObject, headers: Mapping[str, str]) -> Response:
        """Return a response with status 200; asks a second time if the server does not know stream_options."""
        base_url = model.provider.base_url or DEFAULT_BASE_URL
        if base_url in self._without_stream_options:
            body = _without_stream_options(body)
        response = await self._send(model, path, body, headers)
        if response.status == _OK:
            return response
        error = await self._read_error(response)
        if response.status == _BAD_REQUEST and "stream_options" in body and _names_stream_options(error):
            response = await self._send(model, path, _without_stream_options(body), headers)
            if response.status == _OK:
                # Only now is it sure that this was the trouble: the error text alone could repeat an app's words.
                self._without_stream_options.add(base_url)
                return response
            error = await self._read_error(response)
        raise failures.answered_with(
            model,
            response.status,
            error,
            retry_after_seconds=read_retry_after(response.headers, self._clock.now()),
            may_retry=response.headers.get("x-should-retry") != "false",
        )

    async def _send(self, model: Model, path: str, body: JsonObject, headers: Mapping[str, str]) -> Response:
        connect_seconds = model.provider.connect_timeout_seconds
        # First byte and whole answer are timed by the call, which also knows the retries.
        try:
            url, timeout = _destination(model.provider.base_url or DEFAULT_BASE_URL, path, connect_seconds)
        except ValueError:
            raise failures.not_connected(model) from None
        try:
            content = msgspec.json.encode(body)
        except ValueError:  # half of a surrogate pair, which no UTF-8 can carry; the exception would hold the text
            named = "messages" if "messages" in body else "input"
            raise failures.invalid_request(model, None, named, reached=False) from None
        try:
            return await self._open().post(url, content, headers, timeout)
        except aiohttp.ConnectionTimeoutError:
            raise failures.timed_out(model, "connection", connect_seconds, reached=False) from None
        except aiohttp.ClientConnectorError:
            raise failures.not_connected(model) from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise failures.broken_off(model) from None

    async def _read_error(self, response: Response) -> JsonObject:
        content = bytearray()
        try:
            while len(content) < _LARGEST_ERROR_BYTES and (piece := await response.read()):
                content += piece
        except (aiohttp.ClientError, OSError):
            return {}
        finally:
            response.close()  # does nothing where the body was read to its end
        return read_error(content)


@lru_cache(maxsize=1_024)
def _destination(base_url: str, path: str, connect_seconds: float) -> tuple[URL, aiohttp.ClientTimeout]:
    """Return where to send a body and how long to wait for a connection; one for each provider and path."""
    return URL(f"{base_url.rstrip('/')}/{path}"), aiohttp.ClientTimeout(total=None, connect=connect_seconds)


async def _from_response(model: Model, answer: AnswerReader, *, stream: bool) -> AsyncIterator[list[JsonObject]]:
    """Yield what the Responses API answers as a chat.completion, or its chunks."""
    if not stream:
        yield [completion_of(model, await answer.json())]
        return
    events = ResponseEvents(model)
    ended = False
    while not ended:
        chunks: list[JsonObject] = []
        failure: AttemptFailed | None = None
        try:
            for event in await answer.next_objects():
                chunks += events.read(event)
                if events.ended:
                    ended = True
                    await answer.read_to_end()
                    break
        except AttemptFailed as failed:
            failure = failed
        if chunks:  # what came before something wrong leaves before that
            yield chunks
        if failure is not None:
            raise failure


def _without_stream_options(body: JsonObject) -> JsonObject:
    return {name: value for name, value in body.items() if name != "stream_options"}


def _names_stream_options(error: JsonObject) -> bool:
    return any("stream_options" in str(error.get(name) or "") for name in ("param", "message"))
