"""The smallest instance of a JSON Schema, so that echo's tool calls and structured answers are valid.

Understands what OpenAI's structured outputs allow, and the usual limits: type, properties, required, items, enum,
const, anyOf, oneOf, allOf, local `$ref`, lengths, bounds, multipleOf and the common string formats. Not `pattern`.

Source: OpenAI, "Structured model outputs, supported schemas" (read 2026-11); JSON Schema 2020-12, validation.
"""

import math
from typing import Any, Final

from llmguard.domain.chat import JsonObject

_DEEPEST: Final = 32  # recursive schemas end here
# What an instance may cost: a schema comes from an app, which cannot make echo build for long (10,000 values: 10 ms).
_LARGEST: Final = 1_000_000
_COST_OF_VALUE: Final = 100
_COST_OF_CHARACTER: Final = 1
_FORMATS: Final = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def smallest_instance(schema: JsonObject, text: str) -> Any:  # Any: JSON of the shape that the schema says
    """Return an instance: required properties only (all, if `required` is not given), strings filled with `text`.

    Raises:
        InvalidSchema: it is no schema, or its smallest instance is huge.
    """
    try:
        return _Builder(schema, text).build(schema, 0)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError, ZeroDivisionError):
        raise InvalidSchema from None


class InvalidSchema(Exception):
    """A schema that no instance can be built for."""


class _Builder:
    """Builds instances of the parts of one schema."""

    def __init__(self, root: JsonObject, text: str) -> None:
        self._root = root
        self._text = text
        self._left = _LARGEST

    def build(self, schema: Any, depth: int) -> Any:  # Any: schemas come from apps, unchecked; instances are JSON
        self._spend(_COST_OF_VALUE)
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return None
        schema = self._resolve(schema)
        if "const" in schema or schema.get("enum"):
            value = schema["const"] if "const" in schema else schema["enum"][0]
            self._spend(len(repr(value)) * _COST_OF_CHARACTER)
            return value
        return self._build_typed(schema, depth)

    def _resolve(self, schema: JsonObject) -> JsonObject:
        """Return the schema with references followed and combinations replaced by their first way out."""
        for _ in range(_DEEPEST):
            if isinstance(schema.get("$ref"), str):
                schema = self._target_of(schema["$ref"])
            elif schema.get("anyOf") or schema.get("oneOf"):
                first = (schema.get("anyOf") or schema["oneOf"])[0]
                schema = _merged(schema, first, without=("anyOf", "oneOf"))
            elif schema.get("allOf"):
                parts, schema = schema["allOf"], {**schema, "allOf": None}
                for part in parts:
                    resolved = self._target_of(part["$ref"]) if "$ref" in part else part
                    schema = _merged(schema, resolved, without=())
            else:
                break
        return schema

    def _target_of(self, reference: str) -> JsonObject:
        target: Any = self._root  # Any: walked step by step
        for step in reference.removeprefix("#").split("/")[1:]:
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        return target if isinstance(target, dict) else {}

    def _build_typed(self, schema: JsonObject, depth: int) -> Any:  # Any: JSON of the shape that the schema says
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        match kind or _implied_type(schema):
            case "object":
                return self._build_object(schema, depth)
            case "array":
                items = schema.get("items") or {}
                return [self.build(items, depth + 1) for _ in range(schema.get("minItems") or 0)]
            case "string":
                return self._build_string(schema)
            case "integer" | "number" as number:
                return _build_number(schema, is_whole=number == "integer")
            case "boolean":
                return True
            case _:
                return None

    def _build_object(self, schema: JsonObject, depth: int) -> JsonObject:
        properties = schema.get("properties") or {}
        names = schema.get("required", list(properties))
        return {name: self.build(properties.get(name), depth + 1) for name in names}

    def _build_string(self, schema: JsonObject) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        shortest = schema.get("minLength") or 0
        self._spend(max(len(self._text), shortest) * _COST_OF_CHARACTER)
        return self._text[: schema.get("maxLength")].ljust(shortest, ".")

    def _spend(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise ValueError


def _merged(schema: JsonObject, part: JsonObject, *, without: tuple[str, ...]) -> JsonObject:
    merged = {name: value for name, value in schema.items() if name not in without} | part
    if isinstance(schema.get("properties"), dict) and isinstance(part.get("properties"), dict):
        merged["properties"] = schema["properties"] | part["properties"]
        merged["required"] = [*schema.get("required", []), *part.get("required", [])]
    return merged


def _implied_type(schema: JsonObject) -> str | None:
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else None


def _build_number(schema: JsonObject, *, is_whole: bool) -> int | float:
    """Return zero, or the nearest number that the bounds allow."""
    step = schema.get("multipleOf") or (1 if is_whole else None)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    value: int | float = 0
    if low is not None and value <= low:
        value = math.ceil(low / step) * step if step else low
        if value == schema.get("exclusiveMinimum"):
            value += step or 1
    if high is not None and value >= high:
        value = math.floor(high / step) * step if step else high
        if value == schema.get("exclusiveMaximum"):
            value -= step or 1
    return value
