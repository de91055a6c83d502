"""Which texts of an answer are read before a trace keeps it: of a whole body, or of the chunks of a stream.

The texts of a stream are read as what they grow to, so that a name cut in two is found. So are the tokens of the
logprobs, which say the answer once more.
"""

from collections.abc import Iterator
from typing import Any

from llmguard.domain.chat import JsonObject
from llmguard.redaction.document import arguments_units, content_field_units, message_units, read_any
from llmguard.redaction.stream import delta_texts
from llmguard.redaction.units import Field, Lines, Path, Unit, whole_unit

_UNREAD = frozenset({"id", "object", "created", "model", "usage", "system_fingerprint", "service_tier", "choices"})
_UNREAD_IN_CHOICE = frozenset({"index", "finish_reason", "message", "delta", "logprobs"})


def answer_units(answer: JsonObject) -> list[Unit]:
    """Return everything of a chat.completion body that is read, by its path in the body."""
    units: list[Unit] = []
    rest = Lines()
    _read_rest(answer, (), rest)
    for position, choice in enumerate(answer.get("choices") or ()):
        path: Path = ("choices", position)
        units += message_units(choice.get("message") or {}, (*path, "message"))
        growing: dict[object, Field] = {}
        for key, place, text in _tokens(choice, path):
            _grow(growing, key, place, text)
        units += _grown(growing)
    return units + rest.unit()


def chunk_units(chunks: list[JsonObject]) -> list[Unit]:
    """Return everything of the chunks of a stream that is read, by its path in `{"chunks": chunks}`."""
    growing: dict[object, Field] = {}
    rest = Lines()
    for number, chunk in enumerate(chunks):
        _read_rest(chunk, ("chunks", number), rest)
        for position, choice in enumerate(chunk.get("choices") or ()):
            path: Path = ("chunks", number, "choices", position)
            index = choice.get("index", position)
            delta = choice.get("delta") or {}
            for key, place, text in delta_texts(delta):
                _grow(growing, (index, *key), (*path, "delta", *place), text)
            for key, place, text in _tokens(choice, path):
                _grow(growing, (index, *key), place, text)
            for name, value in delta.items():
                if isinstance(value, list) and name != "tool_calls":
                    read_any(value, (*path, "delta", name), name, rest)
    return _grown(growing) + rest.unit()


def _read_rest(body: JsonObject, path: Path, rest: Lines) -> None:
    """Read what a provider adds to OpenAI's fields, such as citations."""
    for name, value in body.items():
        if name not in _UNREAD:
            read_any(value, (*path, name), name, rest)
    for position, choice in enumerate(body.get("choices") or ()):
        for name, value in choice.items():
            if name not in _UNREAD_IN_CHOICE:
                read_any(value, (*path, "choices", position, name), name, rest)


def _tokens(choice: JsonObject, path: Path) -> Iterator[tuple[Path, Path, str]]:
    logprobs: Any = choice.get("logprobs")  # an object or null
    for name, tokens in (logprobs or {}).items():
        for position, token in enumerate(tokens or ()):
            yield ("logprobs", name), (*path, "logprobs", name, position, "token"), str(token.get("token", ""))


def _grow(growing: dict[object, Field], key: object, path: Path, text: str) -> None:
    growing.setdefault(key, Field(path, "")).pieces.append((path, text))


def _grown(growing: dict[object, Field]) -> list[Unit]:
    units: list[Unit] = []
    for field in growing.values():
        field.source = "".join(text for _, text in field.pieces)
        name = field.path[-1]
        if name == "arguments":
            units += arguments_units(field)
        else:
            units += content_field_units(field) if name in {"content", "token"} else whole_unit(field)
    return units
