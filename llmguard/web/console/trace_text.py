"""What was said in a trace, redacted, in pieces: so a page can colour each placeholder by its type."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmguard.domain.chat import JsonObject
from llmguard.redaction.placeholders import placeholders_in

_COLOURS: Final = 6
_MOST_CHARACTERS: Final = 24_000  # on one page; the file has all
_PREFIX: Final = ("messages", "input", "model")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text; `kind` is the entity type of a placeholder, and `colour` which of six it has."""

    text: str
    kind: str | None = None
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """Who said something, and what; `is_cut`: not all of it."""

    who: str
    pieces: tuple[Piece, ...]
    is_cut: bool = False


@dataclass(slots=True)
class Teller:
    """Cuts texts into pieces until a page is full.

    Attributes:
        kinds: entity types of the trace: placeholders without a code are known by them.
        left: how many characters the page still takes.
    """

    kinds: Sequence[str]
    left: int = _MOST_CHARACTERS

    def said(self, who: str, text: str) -> Said:
        """Return a text in pieces."""
        shown = text[: self.left]
        self.left -= len(shown)
        return Said(who, tuple(self.pieces(shown)), len(shown) < len(text))

    def pieces(self, text: str) -> Iterator[Piece]:
        """Yield a text in pieces, placeholders apart."""
        at = 0
        for start, end, kind in placeholders_in(text, self.kinds):
            if start > at:
                yield Piece(text[at:start])
            yield Piece(text[start:end], kind, colour_of(kind))
            at = end
        if at < len(text):
            yield Piece(text[at:])


def colour_of(kind: str) -> int:
    """Return the colour of an entity type: the same on every page."""
    return sum(kind.encode()) % _COLOURS


def asked_in(request: JsonObject | None, teller: Teller) -> list[Said]:
    """Return what was asked, message by message, and the settings last."""
    if not request:
        return []
    said = [
        teller.said(str(message.get("role", "?")), _message(message))
        for message in request.get("messages") or ()
        if isinstance(message, dict)
    ]
    given = request.get("input")
    texts = given if isinstance(given, list) else [] if given is None else [given]
    said += [teller.said(f"text {number}", _plain(text)) for number, text in enumerate(texts, 1)]
    settings = {name: value for name, value in request.items() if name not in _PREFIX}
    return [*said, teller.said("settings", _pretty(settings))] if settings else said


def answered_in(response: JsonObject | None, teller: Teller) -> list[Said]:
    """Return what was answered, choice by choice."""
    if not response:
        return []
    choices = response.get("choices")
    if not isinstance(choices, list):
        data = response.get("data")
        if isinstance(data, list):
            return [teller.said("vectors", f"{len(data)} of them; the file has their figures.")]
        return [teller.said("answer", _pretty(response))]
    messages = [choice.get("message") or {} for choice in choices if isinstance(choice, dict)]
    return [teller.said(str(message.get("role", "assistant")), _message(message)) for message in messages]


def _message(message: JsonObject) -> str:
    """Return the text of a message; parts that are no text, and calls of tools, as JSON."""
    parts = [_plain(message.get("content")), _plain(message.get("refusal"))]
    more = {name: message[name] for name in ("tool_calls", "function_call") if message.get(name)}
    return "\n".join(part for part in (*parts, _pretty(more) if more else "") if part)


def _plain(content: Any) -> str:  # Any: JSON of a provider
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return _pretty(content)


def _part(part: Any) -> str:  # Any: as above
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else _pretty(part)


def _pretty(value: Any) -> str:  # Any: as above
    return json.dumps(value, indent=2, ensure_ascii=False)
