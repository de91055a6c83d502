"""One request and its answer in the words of one endpoint; inside, everything is a chat (or texts to embed).

The pipeline knows one request, `ChatRequest`, and one answer, OpenAI's chat completion, whole or in chunks. An exchange
translates what came in, and back what goes out, so that every endpoint passes through the same nine steps.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.providers.tokens import TokenCounter
from llmguard.web.response_ids import ResponseIds


class Arrival(msgspec.Struct, frozen=True):
    """What a request brings: its body, its trace, whose it is, and what reads tokens and ids in it."""

    body: bytes
    trace_id: str
    app: str
    tokens: TokenCounter
    response_ids: ResponseIds


class Exchange(Protocol):
    """Translates one request. Made with its arrival; `parse` comes first, and only for known callers."""

    def parse(self) -> ChatRequest:
        """Return the request of the body (step 0).

        Raises:
            Refusal: invalid_request, naming the field in the endpoint's own words.
        """
        ...

    def whole(self, answer: JsonObject) -> JsonObject:
        """Return the body for a whole answer, restored already."""
        ...

    def events(self, chunks: list[JsonObject]) -> bytes:
        """Return the server-sent events that restored chunks amount to; nothing, if they say nothing new."""
        ...

    def end(self) -> bytes:
        """Return the last events of a stream that ended well."""
        ...

    def broken(self, body: JsonObject) -> bytes:
        """Return the last events of a stream that failed; `body` is the error body of the contract."""
        ...


OpenExchange = Callable[[Arrival], Exchange]
