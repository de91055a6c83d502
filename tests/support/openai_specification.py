"""Answers checked against the schemas that OpenAI publishes (openai_schemas.json)."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

_SCHEMAS = Path(__file__).with_name("openai_schemas.json")


def objections(name: str, value: Any) -> list[str]:
    """Return what the schema of that name has against a value."""
    return [
        f"{name}{list(error.instance_path)}: {error.message}"[:500] for error in _validator(name).iter_errors(value)
    ]


def event_objections(event: dict) -> list[str]:
    """Return what the schema for its type has against an event of the Responses API."""
    name = _event_schemas().get(event["type"])
    return [f"no event is called {event['type']}"] if name is None else objections(name, event)


@cache
def _schemas() -> dict[str, Any]:
    return {name: _as_json_schema(schema) for name, schema in json.loads(_SCHEMAS.read_text()).items()}


@cache
def _event_schemas() -> dict[str, str]:
    """Return the schema of each type of event."""
    names = (one["$ref"].rpartition("/")[2] for one in _schemas()["ResponseStreamEvent"]["anyOf"])
    return {_schemas()[name]["properties"]["type"]["enum"][0]: name for name in names}


@cache
def _validator(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": {"schemas": _schemas()}})


def _as_json_schema(schema: Any) -> Any:
    """Return a schema that says `nullable` in JSON Schema's words; OpenAI's document mixes both."""
    if isinstance(schema, list):
        return [_as_json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _as_json_schema(value) for name, value in schema.items()}
    if plain.pop("nullable", None) is True:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain
