"""Step 8, whole answers: put the values back into a chat.completion body.

Every text of the answer is restored, also fields that we have never seen: a code of the vault stands in no text by
accident. Tool arguments, and content that is JSON, stay valid JSON.
"""

import re
from typing import Any

from llmguard.domain.chat import JsonObject
from llmguard.redaction.bent import BentPlaceholders
from llmguard.redaction.spans import Edit, changed_token, recut

_UNTOUCHED = frozenset(
    {"id", "object", "created", "model", "role", "index", "finish_reason", "usage", "system_fingerprint"}
)
# Bounded, so that a stream can decide from the first 64 characters.
_JSON_BEGINS = re.compile(
    r'\s{0,20}(?:\{\s{0,20}["}]|\[\s{0,20}(?:[{\["\]]|-?[\d.eE+-]{1,12}\s{0,8},|(?:true|false|null)\s{0,8},))'
)
_BRACKET_BEGINS = re.compile(r"\s{0,20}[{\[]")


def looks_like_json(text: str, *, json_mode: bool) -> bool:
    """Return whether a text begins as a JSON object or array does.

    Args:
        text: its beginning is enough.
        json_mode: whether the request asked for JSON; then the bracket alone tells.
    """
    return (_BRACKET_BEGINS if json_mode else _JSON_BEGINS).match(text) is not None


def restore_body(body: JsonObject, matcher: BentPlaceholders, *, json_mode: bool) -> JsonObject:
    """Return the body with the values put back; what holds no placeholder is shared with the body given.

    Args:
        body: a chat.completion as the provider sent it; never changed.
        matcher: of the vault.
        json_mode: whether the request asked for JSON.
    """
    restored: JsonObject = restore_value(body, matcher, json_mode=json_mode)
    return restored


def restore_value(node: Any, matcher: BentPlaceholders, *, json_mode: bool = False) -> Any:  # JSON of any shape
    """Return any JSON value with the values put back, as `restore_body` does."""
    return _Restorer(matcher, json_mode=json_mode).restore(node, "")


class _Restorer:
    __slots__ = ("_json_mode", "_matcher")

    def __init__(self, matcher: BentPlaceholders, *, json_mode: bool) -> None:
        self._matcher = matcher
        self._json_mode = json_mode

    def restore(self, node: Any, key: str) -> Any:  # JSON of any shape
        if isinstance(node, str):
            return self._matcher.replace(node, json=self._is_json(key, node))
        if isinstance(node, list):
            return _changed_list(node, [self.restore(item, key) for item in node])
        if not isinstance(node, dict):
            return node
        if key == "logprobs":
            return {name: self._tokens(tokens) for name, tokens in node.items()}
        changed: JsonObject = {}
        for name, value in node.items():
            if value is None or name in _UNTOUCHED or (name == "name" and key in {"function", "function_call"}):
                continue
            restored = self.restore(value, name)
            if restored is not value:
                changed[name] = restored
        return node | changed if changed else node

    def _is_json(self, key: str, text: str) -> bool:
        if key == "arguments":
            return True
        return key in {"content", "text"} and looks_like_json(text, json_mode=self._json_mode)

    def _tokens(self, tokens: Any) -> Any:  # a list of token objects, or null
        return restore_tokens(tokens, self._matcher) if isinstance(tokens, list) else tokens


def restore_tokens(tokens: list[JsonObject], matcher: BentPlaceholders) -> list[JsonObject]:
    """Return logprob tokens with the values put back, as well as it can be done.

    A value stands in the token where its placeholder began, the rest of the placeholder's tokens become empty; their
    alternatives are taken out, since they were alternatives to letters of a placeholder.
    """
    before = [str(token.get("token", "")) for token in tokens]
    edits = [Edit(match.start, match.end, match.entry.text) for match in matcher.matches("".join(before))]
    if not edits:
        return tokens
    after = recut(before, edits)
    return [
        token if old == new else changed_token(token, new)
        for token, old, new in zip(tokens, before, after, strict=True)
    ]


def _changed_list(old: list[Any], new: list[Any]) -> list[Any]:  # JSON of any shape
    return old if all(a is b for a, b in zip(old, new, strict=True)) else new
