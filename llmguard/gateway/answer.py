"""Step 8, restore: how an answer leaves for the app, filtered, whole or as a stream."""

from collections.abc import Iterator
from typing import Protocol

from llmguard.domain.catalog import Preset
from llmguard.domain.chat import JsonObject
from llmguard.domain.pieces import Pieces, cut
from llmguard.redaction.redactor import Redacted, Redactor
from llmguard.redaction.vault import Vault

NO_SECRETS = "no_secrets"


class Answer(Protocol):
    """Brings back what was hidden, as much of it as can leave already."""

    def feed(self, chunks: list[JsonObject]) -> list[JsonObject]:
        """Return what the app can have now, of what came at once and before."""
        ...

    async def close(self) -> list[JsonObject]:
        """Return the rest."""
        ...


class WholeAnswer:
    """A completion that leaves in one piece, when it is settled and traced."""

    def __init__(self, vault: Vault) -> None:
        """Restore with this request's vault."""
        self._vault = vault
        self._completions: list[JsonObject] = []

    def feed(self, chunks: list[JsonObject]) -> list[JsonObject]:
        """Keep the completion; nothing leaves yet."""
        self._completions += chunks
        return []

    async def close(self) -> list[JsonObject]:
        """Return the completion, restored."""
        return [self._vault.restore(completion) for completion in self._completions]


class StreamedAnswer:
    """A stream that leaves chunk by chunk; usage only if the app asked for it."""

    def __init__(self, vault: Vault, *, include_usage: bool) -> None:
        """Restore with this request's vault."""
        self._restorer = vault.stream()
        self._include_usage = include_usage
        self._like: JsonObject = {}  # what the last pieces were like, and what the app is told of that
        self._told_like: JsonObject = {}

    def feed(self, chunks: list[JsonObject]) -> list[JsonObject]:
        """Return what can leave: no text that could still grow into a placeholder."""
        return self._restorer.feed(chunks if self._include_usage else list(self._without_usage(chunks)))

    async def close(self) -> list[JsonObject]:
        """Return what was still held back."""
        return self._restorer.close()

    def _without_usage(self, chunks: list[JsonObject]) -> Iterator[JsonObject]:
        for chunk in chunks:
            if "usage" not in chunk:
                yield chunk
            elif isinstance(chunk, Pieces):
                if chunk.like is not self._like:
                    self._like, self._told_like = chunk.like, _told(chunk.like)
                yield Pieces(self._told_like, chunk.texts)
            elif chunk.get("choices"):
                yield _told(chunk)


class Vectors:
    """Embeddings, in which nothing was hidden that could be brought back."""

    def feed(self, chunks: list[JsonObject]) -> list[JsonObject]:
        """Keep the list; nothing leaves before it is settled and traced."""
        self._lists = chunks
        return []

    async def close(self) -> list[JsonObject]:
        """Return the list."""
        return self._lists


class FilteredAnswer:
    """An answer that is kept until its end: a filter has to see the whole text before any of it may leave.

    A stream then leaves in its own chunks.
    """

    def __init__(self, answer: Answer, redactor: Redactor, redacted: Redacted) -> None:
        """Pass on to `answer` what is let through."""
        self._answer = answer
        self._redactor = redactor
        self._redacted = redacted
        self._held: list[JsonObject] = []

    def feed(self, chunks: list[JsonObject]) -> list[JsonObject]:
        """Keep them; nothing leaves yet."""
        self._held += chunks
        return []

    async def close(self) -> list[JsonObject]:
        """Return all of it, without the secrets that the model wrote.

        Raises:
            Fault: the filter cannot answer; nothing was let through.
        """
        stream = self._redacted.request.stream  # what was asked for: not every provider says in `object` what it sends
        held = cut(self._held) if stream else self._held
        passed = self._answer.feed(await self._redactor.drop_secrets(held, self._redacted.vault, stream=stream))
        return passed + await self._answer.close()


def plain_answer(redacted: Redacted) -> Answer:
    """Return how an answer leaves that may be any text."""
    request = redacted.request
    if request.inputs is not None:
        return Vectors()
    if request.stream:
        return StreamedAnswer(redacted.vault, include_usage=request.include_usage)
    return WholeAnswer(redacted.vault)


def _told(chunk: JsonObject) -> JsonObject:
    return {key: value for key, value in chunk.items() if key != "usage"}


def filtered(answer: Answer, preset: Preset, redactor: Redactor, redacted: Redacted) -> Answer:
    """Return an answer with the filters of its preset before it, if there are any."""
    return FilteredAnswer(answer, redactor, redacted) if NO_SECRETS in preset.response_filters else answer
