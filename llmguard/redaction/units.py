"""What the analyzer reads: units of text, made of slots that know where they stand in the document.

A *field* is one string, number or key of the document. A *unit* is one text for the analyzer: a field as it is, or
the leaves of a JSON value as lines of `label: value`, so that a value is read beside its label, and hundreds of
short leaves cost one analysis. A *slot* is a part of a unit that is a text of the document; labels are in no slot
and never change.

What is left unread of a document is decided here too. The default is to read; *structure* (roles, types, the names of
functions, ids) is unread where it has the shape of structure: `is_token`.
"""

import re
from bisect import bisect_right
from typing import Any, Literal

import msgspec

from llmguard.domain.chat import JsonObject
from llmguard.redaction.jsontext import Leaf, lex, positions, unescape

# Where a field stands: dict keys and list indexes from the root of the document.
Path = tuple[str | int, ...]
DIGITS_OF_DATA = 6  # a key or id with as many may be a phone number or an account
DIGITS_OF_A_NUMBER = 4  # shorter JSON numbers are never read
LARGE_NUMBER = 10**8  # structure counts tokens and seconds; a phone number or card has nine digits or more
_LONGEST_KEY = 64
_WORDS_OF_A_SENTENCE = 4
_IDS = frozenset({"id", "tool_call_id", "tool_use_id", "call_id"})
# Words of the API that nearly every request and answer has: what is decided of them below is known.
_API_WORDS = frozenset(
    {"assistant", "choices", "completion_tokens", "content", "created", "finish_reason", "function", "id", "index"}
    | {"logprobs", "max_tokens", "message", "messages", "model", "object", "prompt_tokens", "refusal", "role", "stop"}
    | {"system", "system_fingerprint", "temperature", "text", "tool", "tool_calls", "total_tokens", "type", "usage"}
    | {"user", "delta", "chat.completion", "chat.completion.chunk", "top_p", "n", "stream"}
)
_TOKEN = re.compile(r"[A-Za-z0-9_.$#/-]{1,64}")
_HARMLESS_KEY = re.compile(r"[A-Za-z_.$#/-]{0,64}")  # most keys: no digit, no space, no @
# Two words with capitals, joined as people join the parts of a name: Anna_Schmidt, Anna.Schmidt, Anna-Maria_Schmidt.
_JOINED_NAME = re.compile(r"[^\W\d_][^\W\d_]+(?:[_.-]+[^\W\d_]+)+")
_JOINTS = re.compile(r"[_.-]")
_SCHEMA_WORDS = frozenset(
    {"type", "required", "$ref", "$dynamicRef", "format", "pattern", "$schema", "$id", "$anchor", "mode", "syntax"}
)
_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_SCHEMAS = frozenset(
    {"function", "custom", "parameters", "json_schema", "schema", "allowed_tools", "tools", "grammar"}
    | {"items", "prefixItems", "contains", "additionalProperties", "propertyNames", "unevaluatedProperties"}
    | {"unevaluatedItems", "anyOf", "oneOf", "allOf", "not", "if", "then", "else"}
)
_SCHEMA_DATA = frozenset({"default", "const", "enum", "example", "examples"})
_LONGEST_TOKEN_ID = 6
_NAMED = frozenset({"function", "custom", "json_schema", "tools", "functions", "function_call"})
_DIALECT = re.compile(r"https?://json-schema\.org/(?:draft-0\d|draft/20\d\d-\d\d)/schema#?")
_MEDIA_DATA = frozenset({"file_data", "file_id", "data", "url"})
_MEDIA_WORDS = frozenset({"detail", "format", "type", "media_type"})
_BASE64 = re.compile(r"(?:data:[A-Za-z0-9/.+-]{0,80};base64,)?[A-Za-z0-9+/_-]{16,}={0,2}")
# What a request may carry unread: base64, also in lines, or an address elsewhere. A text is no medium.
_SENT_MEDIUM = re.compile(
    r"(?:data:[\w/.+;=-]{0,200};base64,)?[A-Za-z0-9+/_\r\n-]+={0,2}[\r\n]*|[a-z][a-z0-9]{1,9}://[^\s]{1,8192}"
)
_BODY = frozenset({"object", "service_tier"})
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGITS_IN_ROW = re.compile(r"\d(?:[\W_]{0,3}\d){5}")
_RELEASE = re.compile(r"-20\d\d-?[01]\d-?[0-3]\d")  # of a model: gpt-4o-2024-08-06
_OPAQUE = re.compile(r"[A-Za-z0-9_.$#/:+=-]{1,128}")
_NUMBERS = frozenset({int, float})
_STRUCTURE = frozenset({"role", "type", "index", "finish_reason"})
Form = Literal["plain", "json", "escaped", "number", "key"]


class Field(msgspec.Struct, eq=False):  # here and below: made far quicker than a dataclass
    """One text of the document.

    Attributes:
        path: where it stands.
        source: what stands there; for a number its literal.
        kind: what kind of node it is; a `key` is the last step of its path.
        pieces: for a text that came in the chunks of a stream: the place and the text of each piece of it.
        also: further places where the very same text stands, as the id of a stream does in each chunk.
    """

    path: Path
    source: str
    kind: Literal["text", "number", "key"] = "text"
    pieces: list[tuple[Path, str]] = []
    also: list[Path] = []


class Slot(msgspec.Struct, eq=False):
    r"""`unit.text[start:end]` is the text of `field.source[raw_start:raw_end]`.

    `json`, `number` and `key` are a string, a number and a key of the JSON text that the field holds, or (number, key)
    the field itself. `plain` is the field as it is, `escaped` as people read it (`\uXXXX` written out,
    the `_` of a name a space), so what is hidden is what the field says. `places`, where there are any, tell for each
    character of the slot and for its end where it is written in the field.
    """

    field: Field
    start: int
    end: int
    form: Form = "plain"
    raw_start: int = 0
    raw_end: int = 0
    places: list[int] | None = None

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """Return where `unit.text[start:end]`, which lies in this slot, is written in the field."""
        if self.places is not None:
            return self.places[start - self.start], self.places[end - self.start]
        if self.raw_end - self.raw_start == self.end - self.start:  # written without escapes
            return self.raw_start + start - self.start, self.raw_start + end - self.start
        places = positions(self.field.source[self.raw_start : self.raw_end])
        return self.raw_start + places[start - self.start], self.raw_start + places[end - self.start]


class Unit(msgspec.Struct, eq=False):
    """One text for the analyzer. `slots` are in order and do not overlap; `where` names the place for people."""

    text: str
    slots: list[Slot]

    def slots_in(self, start: int, end: int) -> list[Slot]:
        """Return the slots that overlap a span."""
        if len(self.slots) == 1:  # as most units have
            return self.slots if self.slots[0].start < end and self.slots[0].end > start else []
        first = max(0, bisect_right(self.slots, start, key=_start) - 1)
        found = []
        for slot in self.slots[first:]:
            if slot.start >= end:
                break
            if slot.end > start:
                found.append(slot)
        return found


class Lines:
    """A unit in the making, of many short texts with their labels."""

    __slots__ = ("_parts", "_slots", "length")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._slots: list[Slot] = []
        self.length = 0

    def add(self, label: str, text: str, slot: Slot) -> None:
        """Add a line `label: text`; the slot's place in the unit is set here."""
        prefix = f"{label}: " if label else ""
        slot.start = self.length + len(prefix)
        slot.end = slot.start + len(text)
        self._slots.append(slot)
        self._parts += prefix, text, "\n"
        self.length = slot.end + 1

    def unit(self) -> list[Unit]:
        """Return the unit, or nothing if there is no line."""
        return [Unit("".join(self._parts), self._slots)] if self._slots else []


def text_units(path: Path, source: str) -> list[Unit]:
    """Return the unit of one text, nothing for an empty one."""
    return whole_unit(Field(path, source))


def whole_unit(one: Field) -> list[Unit]:
    r"""Return the unit of a field that is read as it is, with what is written as `\uXXXX` written out."""
    source = one.source
    length = len(source)
    if "\\u" in source and (unescaped := unescape(source)) is not None:
        text, places = unescaped
        return [Unit(text, [Slot(one, 0, len(text), "escaped", 0, length, places)])]
    return [Unit(source, [Slot(one, 0, length, "plain", 0, length)])] if source and not source.isspace() else []


def json_units(one: Field) -> list[Unit] | None:
    """Return the unit of a field that holds a JSON object or array; None if it holds none."""
    leaves = lex(one.source)
    if leaves is None:
        return None
    lines = Lines()
    _add_leaves(one, leaves, "", lines)
    return lines.unit()


def arguments_units(field: Field) -> list[Unit]:
    """Return what is read of tool-call arguments: the leaves, or the text as it is if it is no JSON object."""
    units = json_units(field)
    return whole_unit(field) if units is None else units


def _add_leaves(one: Field, leaves: list[Leaf], label: str, lines: Lines) -> None:
    for form, own, text, start, end, places in leaves:
        if form != "key" or looks_like_data(text):
            lines.add(own if own or form == "key" else label, text, Slot(one, 0, 0, form, start, end, places))


def add_text(label: str, one: Field, lines: Lines) -> None:
    """Add a text to the lines, as its leaves if it is JSON, with its escapes written out if it is not."""
    text = one.source
    if not text.strip():
        return
    leaves = lex(text) if text.lstrip()[:1] in {"{", "["} else None
    if leaves is not None:
        _add_leaves(one, leaves, label, lines)
    elif "\\u" in text and (unescaped := unescape(text)) is not None:
        lines.add(label, unescaped[0], Slot(one, 0, 0, "escaped", 0, len(text), unescaped[1]))
    else:
        lines.add(label, text, Slot(one, 0, 0, "plain", 0, len(text)))


def read_any(node: Any, path: Path, label: str, lines: Lines) -> None:  # JSON of any shape
    """Read every leaf and key of a value of which nothing is known."""
    if node is None:
        return
    match node:
        case str():
            if not (path[-1] in _IDS and is_token(node)):
                add_text(label, Field(path, node), lines)
        case bool():
            return
        case int() | float():
            _read_number(node, path, label, lines)
        case list():
            for index, item in enumerate(node):
                read_any(item, (*path, index), label, lines)
        case dict():
            for key, value in node.items():
                read_key(key, path, lines)
                read_any(value, (*path, key), key, lines)


def read_structure(node: Any, path: Path, label: str, lines: Lines) -> None:  # JSON of any shape
    """Read what does not have the shape of structure: texts that are no token, large numbers, keys like data."""
    if type(node) in _NUMBERS and -LARGE_NUMBER < node < LARGE_NUMBER:  # as most of it is
        return
    match node:
        case str():
            if not is_token(node):
                add_text(label, Field(path, node), lines)
        case int() | float():
            if abs(node) >= LARGE_NUMBER:
                read_any(node, path, label, lines)
        case list():
            for index, item in enumerate(node):
                read_structure(item, (*path, index), label, lines)
        case dict():
            for key, value in node.items():
                read_key(key, path, lines)
                read_structure(value, (*path, key), key, lines)


def read_name(name: str, role: Any, path: Path, lines: Lines) -> None:  # a role may be anything
    """Read who speaks: the function of a result, or a person: `Anna_Schmidt` is read as `Anna Schmidt`."""
    if role in ("tool", "function"):
        read_structure(name, path, "name", lines)
    elif _JOINED_NAME.fullmatch(name) and _capitals(_JOINTS.split(name)) > 1:
        lines.add("name", _JOINTS.sub(" ", name), Slot(Field(path, name), 0, 0, "escaped", 0, len(name)))
    else:
        add_text("name", Field(path, name), lines)


def read_bias(bias: JsonObject, path: Path, lines: Lines) -> None:
    """Read logit_bias: its keys are ids of tokens, six digits at the most."""
    for key, value in bias.items():
        if not (key.isdecimal() and len(key) <= _LONGEST_TOKEN_ID):
            read_key(key, path, lines)
        read_structure(value, (*path, key), "logit_bias", lines)


def read_media(value: Any, path: Path, label: str, lines: Lines, *, sent: bool) -> None:  # JSON of any shape
    """Read what stands beside the data of a medium, and data that is none: no base64 and, of a request, no address."""
    if isinstance(value, dict):
        for name, member in value.items():
            read_key(name, path, lines)
            if isinstance(member, dict) or name in _MEDIA_DATA:
                read_media(member, (*path, name), name, lines, sent=sent)
            elif name in _MEDIA_WORDS:
                read_structure(member, (*path, name), name, lines)
            else:
                read_any(member, (*path, name), name, lines)
    elif not isinstance(value, str) or not (_SENT_MEDIUM if sent else _BASE64).fullmatch(value):
        read_any(value, path, label, lines)


def read_schema(node: Any, path: Path, label: str, lines: Lines) -> None:  # JSON of any shape
    """Read a tool or JSON Schema: all but its vocabulary, and the names in it that look like names of code."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            read_schema(item, (*path, index), label, lines)
    elif not isinstance(node, dict):
        read_structure(node, path, label, lines)
    else:
        for word, value in node.items():
            read_key(word, path, lines)
            _read_word(word, value, (*path, word), label, lines)


def _read_word(word: str, value: Any, place: Path, label: str, lines: Lines) -> None:  # JSON of any shape
    if word in _SCHEMAS_BY_NAME and isinstance(value, dict):
        for name, schema in value.items():
            read_key(name, place, lines)
            read_schema(schema, (*place, name), name, lines)
    elif word in _SCHEMA_DATA:
        read_any(value, place, label, lines)
    elif word in _SCHEMAS and isinstance(value, dict | list):
        read_schema(value, place, word, lines)
    elif word not in _SCHEMA_WORDS and not (word == "name" and label in _NAMED):
        read_any(value, place, word, lines)
    elif not (word == "$schema" and _DIALECT.fullmatch(str(value))):
        read_structure(value, place, word, lines)


def read_key(key: str, path: Path, lines: Lines) -> None:
    """Read a key of the object at a path, if it looks like data."""
    if key not in _API_WORDS and looks_like_data(key):
        lines.add("", key, Slot(Field((*path, key), key, "key"), 0, 0, "key", 0, len(key)))


def _read_number(number: float, path: Path, label: str, lines: Lines) -> None:
    if isinstance(number, float) and not (number.is_integer() and abs(number) >= LARGE_NUMBER):
        return
    literal = str(int(number))
    if worth_reading(literal):
        lines.add(label, literal, Slot(Field(path, literal, "number"), 0, 0, "number", 0, len(literal)))


def read_other(name: str, value: Any, path: Path, lines: Lines) -> None:  # JSON of any shape
    """Read a member of an object of the API: its key, and its value, as structure if that is expected."""
    read_key(name, path, lines)
    (read_structure if name in _STRUCTURE else read_any)(value, (*path, name), name, lines)


def is_token(text: str) -> bool:
    """Return whether a text where structure is expected is structure: one word of code that does not look like data.

    `Get_Weather` is one. So is `Anna_Schmidt`, since the two cannot be told apart: where a person's name is expected,
    `read_name` reads it.
    """
    return text in _API_WORDS or (_TOKEN.fullmatch(text) is not None and not looks_like_data(text))


def is_body_structure(name: str, text: str) -> bool:
    """Return whether a text around the messages has the shape of what OpenAI puts there.

    Ids of answers are often hexadecimal: only six digits in a row make one look like data, and a UUID never does.
    """
    if name in {"id", "system_fingerprint"}:
        return _OPAQUE.fullmatch(text) is not None and not _DIGITS_IN_ROW.search(_UUID.sub("", text))
    if name == "model":
        return is_token(_RELEASE.sub("", text).replace(":", "-"))
    return name in _BODY and is_token(text)


def looks_like_data(key: str) -> bool:
    """Return whether a key may be personal data itself: an address, a long number, words with capitals, a sentence."""
    if key in _API_WORDS or _HARMLESS_KEY.fullmatch(key):
        return False
    if "@" in key or len(key) > _LONGEST_KEY or sum(map(str.isdigit, key)) >= DIGITS_OF_DATA:
        return True
    words = key.split()
    return _capitals(words) > 1 or len(words) >= _WORDS_OF_A_SENTENCE


def _capitals(words: list[str]) -> int:
    return sum(word[:1].isupper() for word in words)


def worth_reading(number: str) -> bool:
    """Return whether the literal of a JSON number may be personal data: an integer that is long enough."""
    return len(number) >= DIGITS_OF_A_NUMBER and number.lstrip("-").isdigit()


def _start(slot: Slot) -> int:
    return slot.start
