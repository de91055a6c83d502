"""The smallest instance of a schema is valid by that schema."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.providers.instances import InvalidSchema, smallest_instance

SCHEMAS = [
    ({"type": "string"}, "text"),
    ({"type": "string", "minLength": 6}, "text.."),
    ({"type": "string", "maxLength": 2}, "te"),
    ({"type": "string", "format": "date"}, "2026-01-01"),
    ({"type": "string", "enum": ["red", "blue"]}, "red"),
    ({"const": {"a": 1}}, {"a": 1}),
    ({"type": "integer"}, 0),
    ({"type": "integer", "minimum": 5}, 5),
    ({"type": "integer", "exclusiveMinimum": 5}, 6),
    ({"type": "integer", "maximum": -5}, -5),
    ({"type": "integer", "exclusiveMaximum": -5}, -6),
    ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
    ({"type": "number", "minimum": 0.5}, 0.5),
    ({"type": "number", "maximum": -0.5}, -0.5),
    ({"type": "number", "minimum": -1, "maximum": 1}, 0),
    ({"type": "boolean"}, True),
    ({"type": "null"}, None),
    ({"type": ["string", "null"]}, "text"),
    ({"type": []}, None),
    ({}, None),
    ({"type": "array", "items": {"type": "integer"}}, []),
    ({"items": {"type": "integer"}, "minItems": 2}, [0, 0]),
    ({"properties": {"a": {"type": "string"}}}, {"a": "text"}),
    ({"type": "object", "properties": {"a": {}, "b": {"type": "null"}}, "required": ["b"]}, {"b": None}),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
    ({"oneOf": [{"type": "integer"}], "minimum": 3}, 3),
    (
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"$ref": "#/$defs/b"}], "type": "object",
         "properties": {}, "$defs": {"b": {"properties": {"b": {"const": 2}}, "required": ["b"]}}},
        {"a": 1, "b": 2},
    ),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}}, True),
    ({"$ref": "#/nowhere/at/all"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "instance"), SCHEMAS)
def test_instance_is_the_smallest(schema, instance):
    assert smallest_instance(schema, "text") == instance


@pytest.mark.parametrize(
    "schema", [schema for schema, _ in SCHEMAS if "nowhere" not in str(schema) and schema.get("type") != []]
)
def test_instance_is_valid_by_its_schema(schema):
    jsonschema.validate(smallest_instance(schema, "text"), schema)


def test_recursive_schema_ends():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}

    assert "next" in smallest_instance({"$ref": "#/$defs/node", "$defs": {"node": node}}, "text")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}}}}},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**12},
        {"type": "array", "minItems": 9_000, "items": {"const": "x" * 1_000}},
        {"type": "integer", "multipleOf": "three", "minimum": 1},
        {"allOf": 5},
        {"anyOf": {}, "oneOf": {"a": 1}},
    ],
    ids=["two ways deeper", "huge array", "huge string", "huge constants", "no number", "no list", "no options"],
)
def test_schema_without_an_end_or_a_sense_is_told(schema):
    with pytest.raises(InvalidSchema):
        smallest_instance(schema, "text")


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-99, 99)
    | st.text(max_size=3)
    | st.sampled_from(["object", "array", "string"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "required", "items", "minItems", "anyOf", "allOf", "$ref", "enum", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "required", "items", "anyOf", "allOf", "$ref"]), ANY))
def test_any_schema_gives_an_instance_or_is_told(schema):
    try:
        smallest_instance(schema, "text")
    except InvalidSchema:
        return
