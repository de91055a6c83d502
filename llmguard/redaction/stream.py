"""Step 8, streams: put the values back into chat.completion.chunk bodies, however the provider cuts them.

Text leaves as soon as no placeholder of this vault can still be growing in it; at most LONGEST_MATCH characters of a
field are held back, and nothing at all when nothing was hidden. Each choice and each field of it (content, refusal,
reasoning, the arguments of each tool call) grows by itself. What is still held leaves in a chunk before the one with
the finish_reason.
"""

from typing import Any

from llmguard.domain.chat import JsonObject
from llmguard.domain.pieces import Pieces
from llmguard.redaction.bent import BentPlaceholders
from llmguard.redaction.restore import looks_like_json, restore_tokens, restore_value

# A field of a delta by its place: ("content",), ("tool_calls", 0, "function", "arguments"), ...
FieldKey = tuple[str | int, ...]

_UNTOUCHED = frozenset({"role", "id", "type", "name", "data"})  # data: sound in base64
_HEAD_LENGTH = 64
_CONTENT: FieldKey = ("content",)


class StreamRestorer:
    """Restores one stream. Not shared between streams; not thread-safe."""

    __slots__ = ("_fields", "_json_mode", "_matcher", "_template")

    def __init__(self, matcher: BentPlaceholders | None, *, json_mode: bool) -> None:
        """Start before the first chunk.

        Args:
            matcher: of the vault; None when it is empty.
            json_mode: whether the request asked for JSON.
        """
        self._matcher = matcher
        self._json_mode = json_mode
        self._fields: dict[int, dict[FieldKey, _Field]] = {}
        self._template: JsonObject = {}

    def feed(self, chunks: list[JsonObject]) -> list[JsonObject]:
        """Return the chunks that can go to the app now: usually as many, none if all their text is held back.

        Args:
            chunks: chat.completion.chunk bodies as the provider sent them, which came at once; never changed.
        """
        matcher = self._matcher
        if matcher is None:
            return chunks
        restored: list[JsonObject] = []
        for chunk in chunks:
            if isinstance(chunk, Pieces):
                restored += self._pieces(chunk, matcher)
            else:
                restored += self._restored(chunk, matcher)
        return restored

    def close(self) -> list[JsonObject]:
        """Return what is still held, when the stream has ended or broken off."""
        choices = [choice for index in list(self._fields) for choice in self._flush(index)]
        return [self._chunk(choices)] if choices else []

    def _restored(self, chunk: JsonObject, matcher: BentPlaceholders) -> list[JsonObject]:
        choices = chunk.get("choices")
        if not choices:
            return [chunk]
        self._template = chunk
        if len(choices) == 1 and (text := only_text(choices[0])) is not None:
            return self._text(chunk, choices[0], text, matcher)
        flushed: list[JsonObject] = []
        restored: list[JsonObject] = []
        for choice in choices:
            held, now = self._choice(choice, matcher)
            flushed += held
            restored += now
        chunks = [self._chunk(flushed)] if flushed else []
        if restored or chunk.get("usage"):
            chunks.append(chunk if restored == choices else chunk | {"choices": restored})
        return chunks

    def _pieces(self, pieces: Pieces, matcher: BentPlaceholders) -> list[JsonObject]:
        """Return, as `feed` would of each, many chunks of one text; one by one only if a placeholder is among them."""
        self._template = pieces.like
        texts = self._content(pieces.like["choices"][0], matcher).push_all(pieces.texts)
        if texts is None:
            return [restored for chunk in pieces.each() for restored in self._restored(chunk, matcher)]
        if texts == pieces.texts:
            return [pieces]
        return [Pieces(pieces.like, texts)] if texts else []

    def _content(self, choice: JsonObject, matcher: BentPlaceholders) -> "_Field":
        fields = self._fields.setdefault(choice.get("index", 0), {})
        field = fields.get(_CONTENT)
        if field is None:
            field = fields[_CONTENT] = _Field(matcher, _CONTENT, json_mode=self._json_mode)
        return field

    def _text(self, chunk: JsonObject, choice: JsonObject, text: str, matcher: BentPlaceholders) -> list[JsonObject]:
        """Return, as `feed` would, a chunk that is a piece of one text and nothing else, as nearly all are."""
        new = self._content(choice, matcher).push(text)
        if new == text:
            return [chunk]
        if not new and not chunk.get("usage"):
            return []
        return [chunk | {"choices": [choice | {"delta": {"content": new}}] if new else []}]

    def _choice(self, choice: JsonObject, matcher: BentPlaceholders) -> tuple[list[JsonObject], list[JsonObject]]:
        """Return what was held of this choice if it ends here, and the choice itself unless nothing is left of it."""
        index = choice.get("index", 0)
        delta = choice.get("delta") or {}
        finished = choice.get("finish_reason") is not None
        new_delta = self._delta(delta, self._fields.setdefault(index, {}), matcher)
        logprobs = _restore_logprobs(choice.get("logprobs"), matcher)
        if finished:
            new_delta = self._complete(index, new_delta)
        if new_delta is delta and logprobs is choice.get("logprobs"):
            return (self._flush(index) if finished else []), [choice]
        changed = choice | {"delta": new_delta}
        if logprobs is not None:
            changed["logprobs"] = logprobs
        empty = not finished and logprobs is None and _says_nothing(new_delta)
        return (self._flush(index) if finished else []), ([] if empty else [changed])

    def _delta(self, delta: JsonObject, fields: dict[FieldKey, "_Field"], matcher: BentPlaceholders) -> JsonObject:
        new_delta = delta
        for key, path, text in delta_texts(delta):
            field = fields.get(key)
            if field is None:
                field = fields[key] = _Field(matcher, key, json_mode=self._json_mode)
            new = field.push(text)
            if new != text:
                new_delta = _with(new_delta, path, new)
        for name, value in delta.items():
            if (
                isinstance(value, list)
                and name != "tool_calls"
                and (restored := restore_value(value, matcher)) is not value
            ):
                new_delta = new_delta | {name: restored}
        return new_delta

    def _complete(self, index: int, delta: JsonObject) -> JsonObject:
        """Return the last delta of a choice with what is held of the fields that it has itself."""
        for key, path, text in delta_texts(delta):
            held = self._fields[index][key].flush()
            delta = _with(delta, path, text + held) if held else delta
        return delta

    def _flush(self, index: int) -> list[JsonObject]:
        fields = self._fields.pop(index, {})
        delta: JsonObject = {}
        for key, field in fields.items():
            held = field.flush()
            if held:
                delta = _put(delta, key, held)
        return [{"index": index, "delta": delta, "finish_reason": None}] if delta else []

    def _chunk(self, choices: list[JsonObject]) -> JsonObject:
        return {name: value for name, value in self._template.items() if name != "usage"} | {"choices": choices}


class _Field:
    """One text that grows."""

    __slots__ = ("_head", "_held", "_json", "_json_mode", "_matcher", "_undecided")

    def __init__(self, matcher: BentPlaceholders, key: FieldKey, *, json_mode: bool) -> None:
        self._matcher = matcher
        self._json_mode = json_mode
        self._json = key[-1] == "arguments"
        self._undecided = key == _CONTENT
        self._held = ""
        self._head = ""

    def push(self, text: str) -> str:
        if self._undecided:
            self._head += text
            self._json = looks_like_json(self._head, json_mode=self._json_mode)
            self._undecided = not self._json and len(self._head) < _HEAD_LENGTH
        done, self._held = self._matcher.replace_settled(self._held + text, json=self._json)
        return done

    def push_all(self, texts: list[str]) -> list[str] | None:
        """Return what `push` would, of texts that come at once; None, and nothing is done, if a placeholder is in them.

        Cuts stay, but for what was held and what is.
        """
        whole = "".join(texts)
        head = self._head + whole[:_HEAD_LENGTH] if self._undecided else ""
        is_json = looks_like_json(head, json_mode=self._json_mode) if self._undecided else self._json
        done, held = self._matcher.replace_settled(self._held + whole, json=is_json)
        if done + held != self._held + whole:
            return None
        if self._undecided:
            self._head, self._json = head, is_json
            self._undecided = not is_json and len(head) < _HEAD_LENGTH
        left = [self._held + texts[0], *texts[1:]]
        self._held = held
        return _without_end(left, len(held))

    def flush(self) -> str:
        held, self._held = self._held, ""
        return self._matcher.replace(held, json=self._json) if held else ""


def _without_end(texts: list[str], length: int) -> list[str]:
    """Return texts without so many characters at the end of the last ones; what is left empty by that is left out."""
    while length > 0:
        last = texts.pop()
        if len(last) > length:
            return [*texts, last[:-length]]
        length -= len(last)
    return texts


def delta_texts(delta: JsonObject) -> list[tuple[FieldKey, FieldKey, str]]:
    """Return the texts of a delta that grow over the chunks of a stream: which text, its path in this delta, the piece.

    Tool calls are told apart by their index, which providers may leave out when there is one.
    """
    texts: list[tuple[FieldKey, FieldKey, str]] = []
    for name, value in delta.items():
        if isinstance(value, str):
            if name not in _UNTOUCHED:
                texts.append(((name,), (name,), value))
        elif isinstance(value, dict):
            texts.extend(((name, part), (name, part), text) for part, text in value.items() if _grows(part, text))
        elif name == "tool_calls" and isinstance(value, list):
            for position, call in enumerate(value):
                index = call.get("index", position)
                for kind in ("function", "custom"):
                    for part, text in (call.get(kind) or {}).items():
                        if _grows(part, text):
                            texts.append(((name, index, kind, part), (name, position, kind, part), text))
    return texts


def _with(node: Any, path: FieldKey, text: str) -> Any:  # a delta, or what is in it on the way to its text
    """Return a copy of a delta with another text at a path."""
    if not path:
        return text
    copy = node.copy()
    copy[path[0]] = _with(node[path[0]], path[1:], text)
    return copy


def _put(delta: JsonObject, key: FieldKey, text: str) -> JsonObject:
    """Return a copy of a delta that is being made, with one more text."""
    match key:
        case (str(name), int(index), str(kind), str(part)):
            return delta | {name: [*delta.get(name, []), {"index": index, kind: {part: text}}]}
        case (str(name), str(part)):
            return delta | {name: delta.get(name, {}) | {part: text}}
        case _:
            return delta | {str(key[0]): text}


def only_text(choice: JsonObject) -> str | None:
    """Return the content of a choice that has nothing else, and does not end; else None."""
    delta = choice.get("delta")
    if not isinstance(delta, dict) or len(delta) != 1 or choice.get("finish_reason") is not None:
        return None
    content = delta.get("content")
    return content if isinstance(content, str) and choice.get("logprobs") is None else None


def _grows(name: str, value: Any) -> bool:  # JSON of any shape
    return name not in _UNTOUCHED and isinstance(value, str)


def _says_nothing(delta: JsonObject) -> bool:
    """Return whether a delta holds nothing but texts that are empty."""
    texts = delta_texts(delta)
    if any(text for _, _, text in texts):
        return False
    growing = {key for key, _, _ in texts}
    calls = delta.get("tool_calls") or []
    named = any(set(call) - {"index", "function", "type"} or (call.get("function") or {}).get("name") for call in calls)
    return not named and all((name,) in growing or name == "tool_calls" for name in delta)


def _restore_logprobs(logprobs: Any, matcher: BentPlaceholders) -> Any:  # an object or null
    """Return logprobs with the placeholders restored that stand whole in this chunk; others stay as they are."""
    if not isinstance(logprobs, dict):
        return logprobs
    return {
        name: restore_tokens(tokens, matcher) if isinstance(tokens, list) else tokens
        for name, tokens in logprobs.items()
    }
