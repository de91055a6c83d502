"""Whatever JSON stands in whatever place of a request: the app is told what is wrong, and llmguard does not fail."""

import copy
from dataclasses import replace

import httpx
import pytest

from llmguard.domain.catalog import ParameterRule
from tests.support.builders import a_preset
from tests.support.provider_server import ProviderServer
from tests.support.served import Served, a_registry_at

ODD = [None, True, 0, -1, 1.5, 10**30, "", "x", [], {}, [[]], [{}], {"a": []}, [None], [1, "x"], {"type": {}}]
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"q": {}}}},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"q": 1}'}}
CHAT = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "name": "n", "content": [{"type": "text", "text": "t"}]},
        {"role": "assistant", "content": None, "refusal": "r", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "t"},
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "j", "schema": {"type": "object"}}},
    "stream_options": {"include_usage": True},
    "stop": ["x"],
    "logit_bias": {"1": 1},
    "metadata": {"k": "v"},
    "user": "u",
    "temperature": 0.5,
    "max_tokens": 20,
    "n": 1,
    "stream": False,
}
RESPONSES = {
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "t"}]},
    ],
    "instructions": "i",
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "j", "schema": {"type": "object"}}},
    "reasoning": {"effort": "low"},
    "include": ["reasoning.encrypted_content"],
    "metadata": {"k": "v"},
    "max_output_tokens": 20,
    "stream": False,
}
COMPLETIONS = {"prompt": ["p"], "stop": ["x"], "echo": False, "n": 1}
EMBEDDINGS = {"input": ["i", [1, 2]], "dimensions": 8, "encoding_format": "float", "user": "u"}
BODIES = {
    "/chat/completions": CHAT,
    "/responses": RESPONSES,
    "/completions": COMPLETIONS,
    "/embeddings": EMBEDDINGS,
}
NO_PARAMETERS = {"messages", "input", "prompt", "instructions", "tools", "stream"}
WITHIN = ("reasoning_effort",)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    names = {name for body in BODIES.values() for name in body}
    anything = {name: ParameterRule() for name in (*names - NO_PARAMETERS, *WITHIN)}
    facts = {"redaction": "standard", "parameters": anything, "tools": "allowed", "provider_state": "allowed"}
    with ProviderServer() as server:
        server.script("text=%7B%7D")  # an object, as the formats of these bodies want
        registry = a_registry_at(server.base_url, presets=("summarise", "vectors"))
        model = registry.models["remote-1"]
        presets = [
            a_preset(name="summarise", model=model, **facts),
            a_preset(name="vectors", model=replace(model, mode="embedding"), **facts),
        ]
        registry = replace(registry, presets={preset.name: (preset,) for preset in presets})
        with Served(tmp_path_factory.mktemp("odd"), registry=registry) as served:
            yield served


def asked(path, body):
    return {"model": "vectors" if path == "/embeddings" else "summarise"} | body


def places(value, path=()):
    """Yield the way to every value inside of one."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*path, key)
        yield from places(one, (*path, key))


def put(body, path, value):
    changed = copy.deepcopy(body)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


@pytest.mark.parametrize("path", BODIES)
def test_what_is_changed_there_is_taken_as_it_is(served, path):
    answer = httpx.post(
        served.base_url + path,
        json=asked(path, BODIES[path]),
        headers={"authorization": f"Bearer {served.key}"},
    )

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", BODIES)
def test_odd_values_are_refused_or_taken_and_never_a_failure(served, path):
    failed = []
    with httpx.Client(headers={"authorization": f"Bearer {served.key}"}, timeout=30) as client:
        for place in places(BODIES[path]):
            for value in ODD:
                answer = client.post(served.base_url + path, json=asked(path, put(BODIES[path], place, value)))
                if answer.status_code >= 500:
                    failed.append((place, value, answer.json()["error"]["code"]))

    assert failed == [], failed
