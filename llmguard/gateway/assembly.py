"""The chunks of a stream put together to the completion that they add up to.

Providers are not trusted here: whatever JSON they send, putting it together never raises, and nothing that a model
wrote is lost, also in fields that we have never seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

from llmguard.domain.chat import JsonObject
from llmguard.providers.usage import choices_of, index_of

_SAID_ONCE: Final = frozenset({"role", "id", "type", "index"})  # the first counts; everything else grows
_DEEPEST: Final = 32  # what lies deeper is kept as it came: no provider sends it, and recursion has an end


@dataclass(frozen=True, slots=True)
class _AsItCame:
    value: Any  # Any: JSON of any shape, as everywhere below


@dataclass(slots=True)
class _Items:
    """A list that grows: items with an `index` by it (a number that the provider chose), the others in their order."""

    by_index: dict[int, Any] = field(default_factory=dict)
    loose: list[Any] = field(default_factory=list)

    def add(self, item: Any, depth: int) -> None:
        index = index_of(item.get("index")) if isinstance(item, dict) else None
        if index is None:
            self.loose.append(_grown(None, item, "", depth))
        else:
            self.by_index[index] = _grown(self.by_index.get(index), item, "", depth)


_GROWS: Final = (StringIO, dict, _Items, _AsItCame)


def assemble(chunks: Iterable[JsonObject]) -> JsonObject:
    """Return the `chat.completion` that these `chat.completion.chunk` bodies add up to; never raises."""
    head: JsonObject = {}
    usage: Any = None  # the provider's JSON, passed on as it is
    choices: dict[int, JsonObject] = {}
    for chunk in chunks:
        head = head or {key: chunk[key] for key in ("id", "created", "model") if key in chunk}
        usage = chunk.get("usage") or usage
        for index, choice in choices_of(chunk):
            known = choices.setdefault(index, {"index": index, "message": _empty_message(), "finish_reason": None})
            delta, message = choice.get("delta"), known["message"]
            if isinstance(delta, dict):
                if len(delta) == 1 and type(delta.get("content")) is str and type(message["content"]) is StringIO:
                    message["content"].write(delta["content"])  # as nearly all are
                else:
                    known["message"] = _grown(message, delta, "", 0)
            if choice.get("finish_reason") is not None:
                known["finish_reason"] = choice["finish_reason"]
    whole = [choices[index] | {"message": _whole_message(choices[index]["message"])} for index in sorted(choices)]
    completion = head | {"object": "chat.completion", "choices": whole}
    return completion if usage is None else completion | {"usage": usage}


def _empty_message() -> JsonObject:
    return {"role": "assistant", "content": None}


def _whole_message(growing: JsonObject) -> JsonObject:
    message: JsonObject = _finished(growing)
    if isinstance(message.get("tool_calls"), list):
        message["tool_calls"] = [_whole_call(call) for call in message["tool_calls"]]
    return message


def _whole_call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    kind = "custom" if "custom" in call else "function"
    return {"id": None, "type": kind} | {
        name: value for name, value in call.items() if name != "index" or not isinstance(value, int)
    }


def _grown(old: Any, new: Any, name: str, depth: int) -> Any:
    """Return what a field has become: texts are joined, objects and lists merged; what does not fit stands beside."""
    if new is None:
        return old
    if name in _SAID_ONCE and not isinstance(new, dict | list):
        return old or new
    if depth > _DEEPEST:
        grown = _AsItCame(new) if isinstance(new, dict | list) else new
    elif isinstance(new, str):
        grown = old if isinstance(old, StringIO) else StringIO()
        grown.write(new)
    elif isinstance(new, dict):
        grown = old if isinstance(old, dict) else {}
        for member, value in new.items():
            grown[member] = _grown(grown.get(member), value, member, depth + 1)
    elif isinstance(new, list):
        grown = old = old if isinstance(old, _Items) else _Items(loose=[old] if isinstance(old, _GROWS) else [])
        for item in new:
            grown.add(item, depth + 1)
    else:
        grown = new
    return grown if grown is old or not isinstance(old, _GROWS) else _beside(old, grown)


def _beside(old: Any, grown: Any) -> _Items:
    items = old if isinstance(old, _Items) else _Items(loose=[old])
    items.loose.append(grown)
    return items


def _finished(grown: Any) -> Any:
    """Return as JSON what was growing."""
    match grown:
        case StringIO():
            return grown.getvalue()
        case _AsItCame():
            return grown.value
        case dict():
            return {name: _finished(value) for name, value in grown.items()}
        case _Items():
            return [_finished(grown.by_index[index]) for index in sorted(grown.by_index)] + [
                _finished(item) for item in grown.loose
            ]
    return grown
