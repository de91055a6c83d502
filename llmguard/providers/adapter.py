"""What every kind of provider does for the calling step, and how it says that an attempt failed."""

from collections.abc import AsyncGenerator
from typing import Protocol

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import GuardError


class Adapter(Protocol):
    """Speaks to one kind of provider."""

    async def start(self) -> None:
        """Get ready on the running event loop; may be called again."""
        ...

    async def close(self) -> None:
        """Let go of connections; calls that still run break."""
        ...

    def attempt(self, model: Model, body: JsonObject, *, trace_id: str) -> AsyncGenerator[list[JsonObject], None]:
        """Send one request and yield what comes back: one chat.completion, or chat.completion.chunk bodies.

        What came at once is yielded at once, in a list that is never empty. A body that `asks_embeddings` is answered
        by exactly one list of embeddings, as `plain_embeddings` gives it.

        Args:
            model: whom to call.
            body: as `prepare_body` made it for this model; not changed.
            trace_id: goes along as `x-request-id`.

        Raises:
            AttemptFailed: from the first or any later step of the iteration. Closing or cancelling it closes the
                connection, so that the provider stops.
        """
        ...


class AttemptFailed(Exception):
    """One attempt at one model failed; says what to tell the app and what may be tried next."""

    def __init__(
        self,
        error: GuardError,
        *,
        outcome: str,
        reached: bool = True,
        may_have_cost: bool = False,
        retry: bool = False,
        fall_back: bool = True,
    ) -> None:
        """Describe the failure.

        Args:
            error: what the app is told if nothing else works.
            outcome: a word or a status for the trace, such as `429` or `not_connected`; never provider text.
            reached: False only if the provider certainly got no request.
            may_have_cost: whether a model may have worked before it failed.
            retry: whether the same model may be asked again.
            fall_back: whether the next model may be asked.
        """
        super().__init__(outcome)
        self.error = error
        self.outcome = outcome
        self.reached = reached
        self.may_have_cost = may_have_cost
        self.retry = retry
        self.fall_back = fall_back


def asks_embeddings(body: JsonObject) -> bool:
    """Tell whether a body asks for vectors: it has `input`, a list of texts, and no messages."""
    return "input" in body and "messages" not in body


def prepare_body(model: Model, body: JsonObject) -> JsonObject:
    """Return the body as this model's provider gets it; the given one stays as it is.

    `model` becomes the target, the output limit takes the name that the model knows (the smaller one if both are
    given), and streams always ask for their usage. Embeddings have no output limit; they are asked for in base64, a
    quarter of the bytes, where the wire is OpenAI's.
    """
    prepared = {**body, "model": model.target}
    limits = [prepared.pop(name, None) for name in ("max_tokens", "max_completion_tokens")]
    if asks_embeddings(body):
        prepared.pop("encoding_format", None)
        return prepared | ({"encoding_format": "base64"} if model.provider.kind == "openai" else {})
    named = [limit for limit in limits if limit is not None]
    if named:
        prepared[model.max_tokens_field] = min(named)
    if prepared.get("stream"):
        prepared["stream_options"] = {**(prepared.get("stream_options") or {}), "include_usage": True}
    return prepared
