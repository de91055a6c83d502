"""Which texts of a chat request or answer are read, and how changed texts get back into it.

The default is to read: everything that goes to a provider, also fields that we have never seen. Unread are only:

- structure with the shape of structure (`units.is_token`; true, false, null; numbers below LARGE_NUMBER): roles, types,
  ids, names of functions and schemas, `STRUCTURAL_PARAMETERS`, and the words of JSON Schema where a schema stands;
- a `seed`, which may be any number;
- the data (base64 or an address) of images, sound, video and files, in parts whose own type says that they are that:
  the preset forbids or allows these;
- keys of objects, unless they look like data (`units.looks_like_data`).

Content that is a JSON object or array is read leaf by leaf, with the key as its label, and so are tool-call
arguments.

Of an answer, the texts are read before a trace keeps it, by the same rule. Those of a stream are read as what they
grow to, so that a name cut in two is found; so are the tokens of the logprobs, which say the answer once more. Of its
parts, media are unread only if they are base64. Alternatives to a token are read if they are longer than tokens are,
or look like data.
"""

from collections.abc import Iterator
from typing import Any

from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.pieces import Pieces, cut
from llmguard.redaction.restore import looks_like_json
from llmguard.redaction.stream import delta_texts, only_text
from llmguard.redaction.units import (
    Field,
    Lines,
    Path,
    Unit,
    add_text,
    arguments_units,
    is_body_structure,
    is_token,
    json_units,
    looks_like_data,
    read_any,
    read_bias,
    read_key,
    read_media,
    read_name,
    read_other,
    read_schema,
    read_structure,
    text_units,
    whole_unit,
)

STRUCTURAL_PARAMETERS = frozenset(
    {"audio", "max_completion_tokens", "max_tokens", "modalities", "model", "n", "parallel_tool_calls"}
    | {"previous_response_id", "reasoning_effort", "seed", "service_tier", "store", "stream", "stream_options"}
    | {"temperature", "top_p", "top_logprobs", "verbosity"}
)
_UNREAD = {("seed", int), ("previous_response_id", str)}  # the door lets only ids through as the latter
_PLAIN = frozenset({"role", "content"})  # what most messages have, and nothing else
_ROLES = ("user", "assistant", "system", "developer", "tool")  # structure, as `is_token` says
_SCHEMA_PARAMETERS = frozenset({"tools", "functions", "response_format", "tool_choice", "function_call"})
_IMAGES = frozenset({"image_url", "image", "source"})
_MEDIA = {  # by the type of a part: where it carries what nobody can read here
    "image_url": _IMAGES,
    "input_image": _IMAGES,
    "image": _IMAGES,
    "input_audio": frozenset({"input_audio"}),
    "audio": frozenset({"audio"}),
    "file": frozenset({"file"}),
    "input_file": frozenset({"file"}),
    "video_url": frozenset({"video_url"}),
    "video": frozenset({"video"}),
}


def request_units(request: ChatRequest) -> list[Unit]:
    """Return everything of a request that is read, by its path in `{"messages": …, "parameters": …, "inputs": …}`."""
    units: list[Unit] = []
    for index, message in enumerate(request.messages):
        if message.keys() == _PLAIN and message["role"] in _ROLES and isinstance(message["content"], str):
            units += content_field_units(Field(("messages", index, "content"), message["content"]))
        else:
            units += message_units(message, ("messages", index))
    for index, text in enumerate(request.inputs or ()):
        units += content_field_units(Field(("inputs", index), text))
    rest = Lines()
    for name, value in request.parameters.items():
        path: Path = ("parameters", name)
        read_key(name, path[:1], rest)
        if name in STRUCTURAL_PARAMETERS:
            if (name, type(value)) not in _UNREAD:
                read_structure(value, path, name, rest)
        elif name in _SCHEMA_PARAMETERS:
            lines = Lines()
            read_schema(value, path, name, lines)
            units += lines.unit()
        elif name == "logit_bias" and isinstance(value, dict):
            read_bias(value, path, rest)
        elif name == "prediction" and isinstance(value, dict):
            units += _prediction_units(value, path, rest)
        else:
            read_any(value, path, name, rest)
    return units + rest.unit()


def message_units(message: JsonObject, path: Path, *, sent: bool = True) -> list[Unit]:
    """Return what is read of one message.

    Args:
        message: of a request or an answer.
        path: its place.
        sent: whether it is one of a request.
    """
    units: list[Unit] = []
    rest = Lines()
    for name, value in message.items():
        place = (*path, name)
        if name == "role":
            read_structure(value, place, name, rest)
            continue
        if name == "content":
            units += _content_units(value, place, sent=sent)
            continue
        read_key(name, path, rest)
        if name == "tool_calls" and isinstance(value, list):
            for index, call in enumerate(value):
                units += _call_units(call, (*place, index), rest)
        elif name == "function_call" and isinstance(value, dict):
            units += _function_units(value, place, rest)
        elif name == "name" and isinstance(value, str):
            read_name(value, message.get("role"), place, rest)
        elif name == "audio" and isinstance(value, dict):
            read_media(value, place, name, rest, sent=False)
        elif isinstance(value, str) and not (name.endswith("id") and is_token(value)):
            units += text_units(place, value)
        else:
            read_any(value, place, name, rest)
    return units + rest.unit()


def content_field_units(field: Field) -> list[Unit]:
    """Return what is read of content: the leaves if it is a JSON object or array, else the text."""
    units = json_units(field) if looks_like_json(field.source, json_mode=False) else None
    return whole_unit(field) if units is None else units


def _content_units(content: Any, path: Path, *, sent: bool) -> list[Unit]:  # a text, parts, or what no one has seen
    if isinstance(content, str):
        return content_field_units(Field(path, content))
    rest = Lines()
    if not isinstance(content, list):
        read_any(content, path, "content", rest)
        return rest.unit()
    units: list[Unit] = []
    for index, part in enumerate(content):
        place = (*path, index)
        if not isinstance(part, dict):
            read_any(part, place, "content", rest)
            continue
        media = _MEDIA.get(str(part.get("type")), frozenset())
        for name, value in part.items():
            if name in {"text", "refusal"} and isinstance(value, str):
                units += content_field_units(Field((*place, name), value))
            elif name in media:
                read_media(value, (*place, name), name, rest, sent=sent)
            else:
                read_other(name, value, place, rest)
    return units + rest.unit()


def _call_units(call: Any, path: Path, rest: Lines) -> list[Unit]:  # JSON of any shape
    if not isinstance(call, dict):
        read_any(call, path, "tool_calls", rest)
        return []
    units: list[Unit] = []
    for name, value in call.items():
        if name in {"function", "custom"} and isinstance(value, dict):
            units += _function_units(value, (*path, name), rest)
        else:
            read_other(name, value, path, rest)
    return units


def _function_units(function: JsonObject, path: Path, rest: Lines) -> list[Unit]:
    units: list[Unit] = []
    for name, value in function.items():
        place = (*path, name)
        if name == "arguments" and isinstance(value, str):
            units += arguments_units(Field(place, value))
        elif name == "input" and isinstance(value, str):
            units += text_units(place, value)
        elif name == "name":
            read_structure(value, place, name, rest)
        else:
            read_other(name, value, path, rest)
    return units


def _prediction_units(prediction: JsonObject, path: Path, rest: Lines) -> list[Unit]:
    units: list[Unit] = []
    for name, value in prediction.items():
        if name == "content":
            units += _content_units(value, (*path, name), sent=True)
        else:
            read_other(name, value, path, rest)
    return units


def place_name(field: Field) -> str:
    """Return a field's place for people: `messages[2].content`, `metadata`; keys below that may be personal."""
    steps = field.path[1:2] if field.path[:1] == ("parameters",) else field.path[:3]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


_SECONDS = range(10**9, 4 * 10**9)  # `created`, from 2001 to 2096
_LONGEST_ALTERNATIVE = 16  # characters of one token of a model
_TOKEN_MEMBERS = frozenset({"token", "logprob", "bytes", "top_logprobs"})
_PLAIN_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs"})
_MOST_CHOICES = 1_000
_NO_CHOICES: JsonObject = {"choices": None}
_READ_BY_ITSELF = frozenset({"message", "delta", "logprobs"})


def answer_units(answer: JsonObject) -> list[Unit]:
    """Return everything of a chat.completion body that is read, by its path in the body."""
    units: list[Unit] = []
    rest = Lines()
    _read_body(answer, (), rest, {})
    _read_choices(answer, (), rest)
    for position, choice in enumerate(answer.get("choices") or ()):
        path: Path = ("choices", position)
        units += message_units(choice.get("message") or {}, (*path, "message"), sent=False)
        growing: dict[object, Field] = {}
        for key, place, text in _tokens(choice, path, rest):
            _grow(growing, key, place, text)
        units += _grown(growing)
    return units + rest.unit()


def chunk_units(chunks: list[JsonObject]) -> list[Unit]:
    """Return everything of the chunks of a stream that is read, by its path in `{"chunks": chunks}`."""
    growing: dict[object, Field] = {}
    rest = Lines()
    repeated: dict[tuple[str, str], Field | None] = {}
    around: JsonObject = {}
    number = 0
    for chunk in chunks:
        last = number + (len(chunk.texts) if isinstance(chunk, Pieces) else 1)
        # What stands around the choices is the same in most chunks: where nothing was read of it, once is enough.
        is_known = bool(around) and chunk | _NO_CHOICES == around
        for at in () if is_known else range(number, last):
            before = rest.length
            _read_body(chunk, ("chunks", at), rest, repeated)
            around = {} if any(repeated.values()) or rest.length > before else chunk | _NO_CHOICES
            if around:
                break
        choices: list[JsonObject] = chunk.get("choices") or []
        if len(choices) == 1 and (text := only_text(choices[0])) is not None and _is_plain(choices[0]):
            texts = chunk.texts if isinstance(chunk, Pieces) else [text]
            key, where = (choices[0].get("index", 0), "content"), ("choices", 0, "delta", "content")
            field = growing.get(key)
            if field is None:
                field = growing[key] = Field(("chunks", number, *where), "")
            field.pieces += [(("chunks", at, *where), text) for at, text in enumerate(texts, number)]
        else:
            for at, one in enumerate(cut([chunk]), number):
                _read_chunk(one, ("chunks", at), growing, rest)
        number = last
    return _grown(growing) + rest.unit()


def _read_chunk(chunk: JsonObject, where: Path, growing: dict[object, Field], rest: Lines) -> None:
    """Read the choices of a chunk."""
    _read_choices(chunk, where, rest)
    for position, choice in enumerate(chunk.get("choices") or ()):
        path: Path = (*where, "choices", position)
        index = choice.get("index", position)
        delta = choice.get("delta") or {}
        grown: set[Path] = set()
        for key, step, text in delta_texts(delta):
            place = (*path, "delta", *step)
            grown.add(place)
            _grow(growing, (index, *key), place, text)
        for key, place, text in _tokens(choice, path, rest):
            _grow(growing, (index, *key), place, text)
        _read_delta(delta, (*path, "delta"), grown, rest)


def _read_body(body: JsonObject, path: Path, rest: Lines, repeated: dict[tuple[str, str], Field | None]) -> None:
    """Read what stands around the messages; what every chunk of a stream repeats, once."""
    for name, value in body.items():
        if name == "choices":
            continue
        read_key(name, path, rest)
        if isinstance(value, str):
            _read_repeated(name, value, (*path, name), rest, repeated)
        elif name == "usage":
            read_structure(value, (*path, name), name, rest)
        elif name != "created" or type(value) is not int or value not in _SECONDS:
            read_any(value, (*path, name), name, rest)


def _read_choices(body: JsonObject, path: Path, rest: Lines) -> None:
    """Read what stands around the messages in the choices."""
    for position, choice in enumerate(body.get("choices") or ()):
        for name, value in choice.items():
            says_nothing = (value is None and name in _PLAIN_CHOICE) or (name == "index" and _is_place(value))
            if says_nothing or name in _READ_BY_ITSELF:
                continue
            read_other(name, value, (*path, "choices", position), rest)


def _is_plain(choice: JsonObject) -> bool:
    """Return whether nothing stands in a choice besides the delta that has to be read."""
    return choice.keys() <= _PLAIN_CHOICE and _is_place(choice.get("index", 0))


def _is_place(index: Any) -> bool:  # JSON of any shape
    """Return whether an index says which choice it is, and is no number of anything else."""
    return type(index) is int and 0 <= index < _MOST_CHOICES


def _read_repeated(
    name: str, text: str, place: Path, rest: Lines, repeated: dict[tuple[str, str], Field | None]
) -> None:
    if (name, text) in repeated:
        if (known := repeated[name, text]) is not None:
            known.also.append(place)
        return
    repeated[name, text] = one = None if is_body_structure(name, text) else Field(place, text)
    if one is not None:
        add_text(name, one, rest)


def _read_delta(node: JsonObject, path: Path, grown: set[Path], rest: Lines) -> None:
    """Read what does not grow in a delta."""
    for name, value in node.items():
        place = (*path, name)
        read_key(name, path, rest)
        if place in grown:
            continue
        if name in {"role", "type", "name"}:
            read_structure(value, place, name, rest)
        elif name == "data":
            read_media(value, place, name, rest, sent=False)
        elif name == "tool_calls" and isinstance(value, list):
            for position, call in enumerate(value):
                _read_delta(call, (*place, position), grown, rest)
        elif isinstance(value, dict):
            _read_delta(value, place, grown, rest)
        else:
            read_any(value, place, name, rest)


def _tokens(choice: JsonObject, path: Path, rest: Lines) -> Iterator[tuple[Path, Path, str]]:
    """Yield the tokens of the logprobs, which grow, and read what stands beside them."""
    logprobs: Any = choice.get("logprobs")  # an object or null
    if not isinstance(logprobs, dict):
        return read_any(logprobs, (*path, "logprobs"), "logprobs", rest)
    for name, tokens in logprobs.items():
        place = (*path, "logprobs", name)
        read_key(name, place[:-1], rest)
        if not isinstance(tokens, list):
            read_any(tokens, place, name, rest)
            continue
        for position, token in enumerate(tokens):
            if not isinstance(token, dict):
                read_any(token, (*place, position), name, rest)
                continue
            yield ("logprobs", name), (*place, position, "token"), str(token.get("token", ""))
            _read_beside(token, (*place, position), rest)


def _read_beside(token: JsonObject, path: Path, rest: Lines) -> None:
    """Read the alternatives to a token, and what nobody knows of it."""
    for name in sorted(token.keys() - _TOKEN_MEMBERS):
        read_other(name, token[name], path, rest)
    for position, other in enumerate(token.get("top_logprobs") or ()):
        place = (*path, "top_logprobs", position)
        if not isinstance(other, dict):
            read_any(other, place, "token", rest)
            continue
        text = str(other.get("token", ""))
        if len(text) > _LONGEST_ALTERNATIVE or looks_like_data(text):
            add_text("token", Field((*place, "token"), text, pieces=[((*place, "token"), text)]), rest)
        _read_beside(other, place, rest)


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
