"""Schemas that an app sends, and that take hours to check: the door stays open for everybody else."""

import json
import time
from dataclasses import replace

import httpx
import pytest

from llmguard.domain.catalog import ParameterRule
from tests.support.builders import a_preset
from tests.support.served import Served, a_small_registry

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[0-9]+$"}},
    "required": ["name"],
    "additionalProperties": False,
}


def doubling(steps):
    """A schema of a few kilobytes whose references are followed 2 ** steps times."""
    twice = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(steps)}
    return {"$defs": twice | {f"s{steps}": {}}, "$ref": "#/$defs/s0"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    preset = a_preset(redaction="standard", parameters={"response_format": ParameterRule()})
    registry = replace(a_small_registry(), presets={preset.name: (preset,)})
    with Served(tmp_path_factory.mktemp("schemas"), registry=registry) as served:
        yield served


def asked(served, schema, *, strict=True):
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": strict}}
    body = {"model": "summarise", "messages": [{"role": "user", "content": "Hi"}], "response_format": form}
    headers = {"authorization": f"Bearer {served.key}"}
    return httpx.post(f"{served.base_url}/chat/completions", json=body, headers=headers, timeout=30)


def test_schema_whose_references_double_is_given_up_after_the_answer(served):
    began = time.monotonic()
    answer = asked(served, doubling(60))

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_error")
    assert "in time" in answer.json()["error"]["message"]
    assert time.monotonic() - began < 20


def test_patterns_that_fill_memory_are_refused_before_a_model_is_asked(served):
    schema = {"properties": {f"p{n}": {"pattern": rf"^\p{{L}}{{1,100}}{n}$"} for n in range(2_000)}}
    answer = asked(served, schema)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert "too long to check" in answer.json()["error"]["message"]


def test_costly_schema_that_is_only_a_wish_is_not_checked(served):
    assert asked(served, doubling(60), strict=False).status_code == 200


def test_schema_with_a_pattern_is_checked_as_any_other(served):
    good = asked(served, PERSON | {"properties": {"name": {"enum": ["Anna"]}}})
    assert json.loads(good.json()["choices"][0]["message"]["content"]) == {"name": "Anna"}

    broken = asked(served, PERSON | {"properties": {"name": {"pattern": "("}}})
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_request")
    assert "not valid" in broken.json()["error"]["message"]

    differs = asked(served, PERSON)  # echo does not know patterns
    assert (differs.status_code, differs.json()["error"]["code"]) == (502, "provider_error")
    assert "does not follow" in differs.json()["error"]["message"]
