"""Chunks of a stream that differ in nothing but the piece of text that each adds: said once, and cut again at the end.

A provider may send hundreds of them at once. Whoever does not care where they are cut reads `Pieces` as the one chunk
that they add up to; only what leaves for the app, and what a trace keeps, is cut as it came.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from llmguard.domain.chat import JsonObject


class Pieces(dict[str, Any]):  # JSON, as everywhere
    """A chat.completion.chunk that says at once what several said; never changed.

    Attributes:
        like: one chunk with the same around its text, and the same object for all that are alike. It has one choice,
            whose delta is its `content` and nothing else.
        texts: what each of the chunks said.
    """

    __slots__ = ("like", "texts")

    def __init__(self, like: JsonObject, texts: list[str]) -> None:
        """Say these texts, at least one, in chunks like that one."""
        super().__init__(with_content(like, "".join(texts)))
        self.like = like
        self.texts = texts

    def each(self) -> list[JsonObject]:
        """Return the chunks one by one."""
        return with_contents(self.like, self.texts)


def with_content(chunk: JsonObject, text: str) -> JsonObject:
    """Return a chunk like this one, which has one choice, with another text as all of its delta."""
    return with_contents(chunk, [text])[0]


def with_contents(chunk: JsonObject, texts: Iterable[str]) -> list[JsonObject]:
    """Return chunks like this one, which has one choice, each with another text as all of its delta."""
    choice = chunk["choices"][0]
    return [{**chunk, "choices": [{**choice, "delta": {"content": text}}]} for text in texts]


def cut(chunks: Iterable[JsonObject]) -> list[JsonObject]:
    """Return chunks one by one, as they were sent."""
    each: list[JsonObject] = []
    for chunk in chunks:
        if isinstance(chunk, Pieces):
            each += chunk.each()
        else:
            each.append(chunk)
    return each


def joined(chunks: list[JsonObject]) -> list[JsonObject]:
    """Return chunks with pieces that are alike, and came one after the other, in one."""
    if len(chunks) == 1:
        return chunks
    together: list[JsonObject] = []
    for like, group in groupby(chunks, _like):
        alike = [*group]
        if like is None or len(alike) == 1:
            together += alike
        else:
            together.append(Pieces(like, [text for one in alike if isinstance(one, Pieces) for text in one.texts]))
    return together


def _like(chunk: JsonObject) -> JsonObject | None:
    return chunk.like if isinstance(chunk, Pieces) else None
