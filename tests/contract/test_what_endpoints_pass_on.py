"""What an app may not smuggle past quota, redaction and seals, whichever endpoint it takes."""

from dataclasses import replace

import httpx
import pytest

from llmguard.domain.catalog import ParameterRule
from tests.support.builders import a_preset, a_quota
from tests.support.served import Served, a_small_registry

CHAT = ("/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]})
RESPONSES = ("/responses", {"input": "Hi"})
COMPLETIONS = ("/completions", {"prompt": "Hi"})
EMBEDDINGS = ("/embeddings", {"input": "Hi"})
LONG = {"input": "word " * 400}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    rules = {"max_tokens": ParameterRule(maximum=800, default=20), "n": ParameterRule(maximum=4)}
    preset = a_preset(redaction="standard", parameters=rules, tools="allowed", provider_state="allowed")
    registry = replace(a_small_registry(quota=a_quota(tokens_per_day=100)), presets={preset.name: (preset,)})
    with Served(tmp_path_factory.mktemp("smuggled"), registry=registry) as served:
        yield served


def refusal_of(served, endpoint, **changes):
    path, body = endpoint
    headers = {"authorization": f"Bearer {served.key}"}
    body = {"model": "summarise"} | body | changes
    answer = httpx.post(served.base_url + path, json=body, headers=headers, timeout=60)
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize(
    ("endpoint", "changes", "param"),
    [
        (RESPONSES, LONG | {"max_tokens": -390}, "max_tokens"),
        (RESPONSES, {"max_completion_tokens": 7.5}, "max_completion_tokens"),
        (RESPONSES, {"n": 0.5}, "n"),
        (RESPONSES, {"n": -1}, "n"),
        (COMPLETIONS, {"max_completion_tokens": -1}, "max_completion_tokens"),
        (COMPLETIONS, {"n": True}, "n"),
        (EMBEDDINGS, {"max_tokens": -1}, "max_tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_counts_that_quota_is_reckoned_with_are_counts_everywhere(served, endpoint, changes, param):
    status, error = refusal_of(served, endpoint, **changes)

    assert (status, error["code"], error["param"]) == (400, "invalid_request", param)


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, EMBEDDINGS], ids=lambda one: one[0])
def test_kept_response_is_reached_through_its_sealed_id_alone(served, endpoint):
    status, error = refusal_of(served, endpoint, previous_response_id="resp_0a1b2c3d4e5f")

    assert (status, error["code"], error["param"]) == (400, "invalid_request", "previous_response_id")


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, EMBEDDINGS], ids=lambda one: one[0])
def test_choice_of_a_tool_has_no_room_for_a_text(served, endpoint):
    status, error = refusal_of(served, endpoint, tool_choice={"type": "Anna Schmidt"})

    assert (status, error["param"]) == (400, "tool_choice")


def test_type_of_a_part_that_could_be_data_is_not_repeated(served):
    parts = [{"type": "Anna Schmidt anna@example.com"}]
    _, error = refusal_of(served, CHAT, messages=[{"role": "user", "content": parts}])

    assert error["param"] == "messages[0].content"
    assert "Anna" not in str(error)


@pytest.mark.parametrize(
    ("endpoint", "changes"),
    [
        (EMBEDDINGS, {"input": [58040] * 300_001}),
        (EMBEDDINGS, {"input": [58040] * 200_000}),  # of 128 blanks each
        (EMBEDDINGS, {"input": [[1]] * 2049}),
        (COMPLETIONS, {"prompt": [[1]] * 2}),
    ],
    ids=["tokens", "long tokens", "lists of tokens", "prompts"],
)
def test_tokens_are_counted_before_they_become_texts(served, endpoint, changes):
    status, error = refusal_of(served, endpoint, **changes)

    assert (status, error["code"]) == (400, "invalid_request")
    assert "more than" in error["message"]
