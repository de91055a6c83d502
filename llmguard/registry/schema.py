"""The JSON Schema of registry.yaml, for editors that complete and check while typing."""

from typing import Any

from llmguard.domain.chat import JsonObject
from llmguard.registry.entries import RegistryFile

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def registry_schema() -> JsonObject:
    """Return the schema, draft 2020-12, with a description on each setting.

    It says what one entry may be. What only shows between entries (references, states, immutability) is said by
    `llmguard check` alone.
    """
    schema = _without_null(RegistryFile.model_json_schema())
    return {"$schema": _DIALECT, **schema, "title": "llmguard registry"}


def _without_null(node: Any) -> Any:  # JSON Schema is any JSON
    """Return the schema with optional settings as what they are when given: nothing may be left empty."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    choices = result.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        given = [choice for choice in choices if choice != {"type": "null"}]
        del result["anyOf"]
        result |= given[0] if len(given) == 1 else {"anyOf": given}
    return result
