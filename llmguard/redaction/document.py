"""Which texts of a chat request or answer are read, and how changed texts get back into it.

Everything that goes to a provider is read, also fields that we have never seen; only these are not:

- of a message: `role`; of tool calls: `type` and the function's name; of content parts: `type`, and image, audio,
  video and file data, which the preset forbids or allows;
- of parameters: `STRUCTURAL_PARAMETERS`; of tools and schemas: `type`, `name`, `required`, `$ref`, `format` and the
  like, and property names;
- ids and JSON keys, unless they look like data themselves (an e-mail address, six digits or more, words with
  capitals).

Content that is a JSON object or array is read leaf by leaf, with the key as its label, and so are tool-call
arguments.

Of an answer, the texts are read before a trace keeps it. Those of a stream are read as what they grow to, so that a
name cut in two is found; so are the tokens of the logprobs, which say the answer once more.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.redaction.restore import changed_token, looks_like_json
from llmguard.redaction.spans import Edit, apply, recut
from llmguard.redaction.stream import delta_texts
from llmguard.redaction.units import (
    Field,
    Lines,
    Path,
    Slot,
    Unit,
    json_units,
    looks_like_data,
    text_units,
    whole_unit,
    worth_reading,
)

STRUCTURAL_PARAMETERS = frozenset(
    {"audio", "logit_bias", "max_completion_tokens", "max_tokens", "modalities", "model", "n", "parallel_tool_calls"}
    | {"reasoning_effort", "seed", "service_tier", "store", "stream", "stream_options", "tool_choice", "function_call"}
    | {"temperature", "top_p", "top_logprobs", "verbosity"}
)
_SCHEMA_PARAMETERS = frozenset({"tools", "functions", "response_format"})
_SCHEMA_WORDS = frozenset({"type", "name", "required", "$ref", "format", "pattern", "$schema", "$id", "$anchor"})
_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_SCHEMA_DATA = frozenset({"default", "const", "enum", "example", "examples"})
_MEDIA = frozenset({"image_url", "input_image", "input_audio", "image", "audio", "video_url", "video"})
_MEDIA_DATA = frozenset({"file_data", "file_id", "data", "url"})
_IDS = frozenset({"id", "tool_call_id", "tool_use_id", "call_id"})
_SKIPPED_IN_MESSAGE = frozenset({"role"})


def request_units(request: ChatRequest) -> list[Unit]:
    """Return everything of a request that is read, by its path in `{"messages": …, "parameters": …}`."""
    units: list[Unit] = []
    for index, message in enumerate(request.messages):
        units += message_units(message, ("messages", index))
    rest = Lines()
    for name, value in request.parameters.items():
        path: Path = ("parameters", name)
        if name in STRUCTURAL_PARAMETERS:
            continue
        if name in _SCHEMA_PARAMETERS:
            lines = Lines()
            _read_schema(value, path, name, lines)
            units += lines.unit()
        elif name == "prediction" and isinstance(value, dict):
            units += _content_units(value.get("content"), (*path, "content"))
        else:
            read_any(value, path, name, rest)
    return units + rest.unit()


def message_units(message: JsonObject, path: Path) -> list[Unit]:
    """Return what is read of one message of a request or an answer."""
    units: list[Unit] = []
    rest = Lines()
    for name, value in message.items():
        place = (*path, name)
        if value is None or name in _SKIPPED_IN_MESSAGE:
            continue
        if name == "content":
            units += _content_units(value, place)
        elif name == "tool_calls" and isinstance(value, list):
            for index, call in enumerate(value):
                units += _call_units(call, (*place, index), rest)
        elif name == "function_call" and isinstance(value, dict):
            units += _function_units(value, place, rest)
        elif isinstance(value, str) and name not in _IDS and name != "name":
            units += text_units(place, value)
        else:
            read_any(value, place, name, rest)
    return units + rest.unit()


def arguments_units(field: Field) -> list[Unit]:
    """Return what is read of tool-call arguments: the leaves, or the text as it is if it is no JSON object."""
    units = json_units(field)
    return whole_unit(field) if units is None else units


def content_field_units(field: Field) -> list[Unit]:
    """Return what is read of content: the leaves if it is a JSON object or array, else the text."""
    units = json_units(field) if looks_like_json(field.source, json_mode=False) else None
    return whole_unit(field) if units is None else units


def _content_units(content: Any, path: Path) -> list[Unit]:  # a text, a list of parts, or what no one has seen yet
    if isinstance(content, str):
        return content_field_units(Field(path, content))
    units: list[Unit] = []
    rest = Lines()
    for index, part in enumerate(content if isinstance(content, list) else ()):
        place = (*path, index)
        if not isinstance(part, dict):
            read_any(part, place, "content", rest)
            continue
        for name, value in part.items():
            if name in {"text", "refusal"} and isinstance(value, str):
                units += content_field_units(Field((*place, name), value))
            elif name == "file" and isinstance(value, dict):
                _read_members(value, (*place, name), rest, _MEDIA_DATA)
            elif name != "type" and name not in _MEDIA:
                read_any(value, (*place, name), name, rest)
    if isinstance(content, dict):
        read_any(content, path, "content", rest)
    return units + rest.unit()


def _call_units(call: Any, path: Path, rest: Lines) -> list[Unit]:  # a tool call, checked here
    if not isinstance(call, dict):
        return []
    units: list[Unit] = []
    for name, value in call.items():
        if name == "function" and isinstance(value, dict):
            units += _function_units(value, (*path, name), rest)
        elif name == "custom" and isinstance(value, dict):
            units += text_units((*path, name, "input"), str(value.get("input") or ""))
        elif name not in {"type", "index"}:
            read_any(value, (*path, name), name, rest)
    return units


def _function_units(function: JsonObject, path: Path, rest: Lines) -> list[Unit]:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        units = arguments_units(Field((*path, "arguments"), arguments))
        _read_members(function, path, rest, {"name", "arguments"})
        return units
    _read_members(function, path, rest, {"name"})
    return []


def read_any(node: Any, path: Path, label: str, lines: Lines) -> None:  # JSON of any shape
    """Read every leaf of a value of which nothing is known."""
    match node:
        case str():
            is_id = path[-1] in _IDS
            if node.strip() and (not is_id or looks_like_data(node)):
                lines.add(label, node, Slot(Field(path, node), 0, 0, "key" if is_id else "plain", 0, len(node)))
        case bool() | None:
            return
        case int():
            literal = str(node)
            if worth_reading(literal):
                lines.add(label, literal, Slot(Field(path, literal, "number"), 0, 0, "number", 0, len(literal)))
        case list():
            for index, item in enumerate(node):
                read_any(item, (*path, index), label, lines)
        case dict():
            _read_members(node, path, lines, ())


def _read_members(node: JsonObject, path: Path, lines: Lines, skipped: Iterable[str]) -> None:
    for key, value in node.items():
        if key in skipped:
            continue
        if looks_like_data(key):
            lines.add("", key, Slot(Field((*path, key), key, "key"), 0, 0, "key", 0, len(key)))
        read_any(value, (*path, key), key, lines)


def _read_schema(node: Any, path: Path, label: str, lines: Lines) -> None:  # JSON of any shape
    """Read the texts of a tool or JSON Schema: descriptions, defaults, examples, not its vocabulary."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            _read_schema(item, (*path, index), label, lines)
    elif not isinstance(node, dict):
        read_any(node, path, label, lines)
    else:
        for word, value in node.items():
            place = (*path, word)
            if word in _SCHEMAS_BY_NAME and isinstance(value, dict):
                for name, schema in value.items():
                    _read_schema(schema, (*place, name), name, lines)
            elif word in _SCHEMA_DATA:
                read_any(value, place, label, lines)
            elif word not in _SCHEMA_WORDS or isinstance(value, dict):
                _read_schema(value, place, word, lines)


def rewrite(root: JsonObject, edits: Mapping[Field, list[Edit]]) -> JsonObject:
    """Return a copy of a document with its changed fields; what has not changed is shared.

    Args:
        root: the document that the paths of the fields lead through; never changed.
        edits: by field, sorted and not overlapping.
    """
    copies: dict[Path, Any] = {(): dict(root)}  # containers of any shape
    keys = [field for field in edits if field.kind == "key"]
    for field, changes in edits.items():
        if field.kind == "key":
            continue
        if not field.pieces:
            _put(copies, field.path, apply(field.source, changes))
            continue
        texts = [text for _, text in field.pieces]
        for (path, old), new in zip(field.pieces, recut(texts, changes), strict=True):
            if new != old:
                _put(copies, path, new)
                _forget_token(_own(copies, path[:-1]), new)
    for field in sorted(keys, key=lambda one: len(one.path), reverse=True):
        _rename(copies, field.path, apply(field.source, edits[field]))
    result: JsonObject = copies[()]
    return result


def place_name(field: Field) -> str:
    """Return a field's place for people: `messages[2].content`, `metadata`; keys below that may be personal."""
    steps = field.path[1:2] if field.path[:1] == ("parameters",) else field.path[:3]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _put(copies: dict[Path, Any], path: Path, text: str) -> None:
    _own(copies, path[:-1])[path[-1]] = text


def _forget_token(container: Any, text: str) -> None:  # what holds a text that has changed: a delta, or a logprob token
    """Take out what a logprob token says about its text elsewhere."""
    if isinstance(container, dict) and "token" in container:
        container.update(changed_token(container, text))


def _rename(copies: dict[Path, Any], path: Path, new: str) -> None:
    container = _own(copies, path[:-1])
    members = list(container.items())
    container.clear()
    container.update((new if key == path[-1] else key, value) for key, value in members)


def _own(copies: dict[Path, Any], path: Path) -> Any:  # a dict or list
    """Return the container at a path as a copy that may be changed."""
    known = copies.get(path)
    if known is not None:
        return known
    parent = _own(copies, path[:-1])
    parent[path[-1]] = copies[path] = parent[path[-1]].copy()
    return copies[path]


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
