"""`/why` through a real server: what it proposes passes, and its page loads nothing but our own style."""

import http.client
import json
from dataclasses import replace

import pytest

from llmguard.domain.catalog import ParameterRule, Sensitivity
from tests.support.builders import a_model, a_preset, an_app
from tests.support.served import Served, a_small_registry

PARAMETERS = {
    "temperature": ParameterRule(minimum=0, maximum=0.3, default=0.1),
    "max_tokens": ParameterRule(maximum=800),
    "seed": ParameterRule(fixed=7),
    "reasoning_effort": ParameterRule(allowed=("low", "medium")),
}
MESSAGES = [{"role": "user", "content": "The secret plan of Lisbon"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def a_registry():
    public = a_model(name="public-1", max_sensitivity=Sensitivity.PUBLIC)
    presets = [
        a_preset(redaction="standard", parameters=PARAMETERS),
        a_preset(name="old", status="retired", successor="summarise@1", redaction="standard"),
        a_preset(name="open", model=public, redaction="standard"),
        a_preset(name="others", redaction="standard"),
    ]
    app = an_app(presets=("summarise", "old", "open"))
    return replace(a_small_registry(), presets={p.name: (p,) for p in presets}, apps={app.name: app})


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("data"), registry=a_registry()) as served:
        yield served


def ask(served, path, body=None, **headers):
    host = served.base_url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(host, timeout=60)
    given = {"authorization": f"Bearer {served.key}", "content-type": "application/json"} | headers
    connection.request("GET" if body is None else "POST", path, body and json.dumps(body), given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def explained(served, trace_id):
    """Return the explanation; a store that is busy says so, and is asked again."""
    for _ in range(5):
        status, _, text = ask(served, f"/why/{trace_id}")
        if status != 503:
            break
    return json.loads(text)


def patched(body, operations):
    """Apply RFC 6902 operations on members of objects."""
    changed = json.loads(json.dumps(body))
    for step in operations:
        *path, name = step["path"].removeprefix("/").split("/")
        place = changed
        for part in path:
            place = place[part]
        assert name in place  # both operations need it
        if step["op"] == "remove":
            del place[name]
        else:
            assert step["op"] == "replace"
            place[name] = step["value"]
    return changed


FIXABLE = {
    "a value out of range": ("parameter_not_allowed", {"temperature": 0.9}),
    "a fixed value": ("parameter_not_allowed", {"seed": 8}),
    "a value that is not listed": ("parameter_not_allowed", {"reasoning_effort": "high"}),
    "a parameter that is not named": ("parameter_not_allowed", {"logit_bias": {"1": 1}}),
    "several at once": ("parameter_not_allowed", {"temperature": 2, "n": 3, "tools": [TOOL], "tool_choice": "auto"}),
    "a model": ("model_not_found", {"model": "echo-1"}),
    "a typing error": ("model_not_found", {"model": "sumarise"}),
    "a preset of others": ("preset_not_allowed", {"model": "others"}),
    "a retired preset": ("preset_retired", {"model": "old"}),
    "a model for public data": ("sensitivity_not_allowed", {"model": "open"}),
}


@pytest.mark.parametrize(("code", "asked"), FIXABLE.values(), ids=FIXABLE)
def test_the_change_that_is_proposed_passes(served, code, asked):
    body = {"model": "summarise", "messages": MESSAGES} | asked
    status, _, refused = ask(served, "/v1/chat/completions", body)
    error = json.loads(refused)["error"]

    why = explained(served, error["trace_id"])

    assert (error["code"], why["code"], why["status"]) == (code, code, status)
    assert ask(served, "/v1/chat/completions", patched(body, why["change"]))[0] == 200


def test_a_sandbox_app_is_told_a_preset_that_answers_there(tmp_path):
    remote = a_model(name="remote", provider=replace(a_model().provider, name="r", kind="openai", base_url="http://x"))
    presets = [a_preset(redaction="standard"), a_preset(name="real", model=remote, redaction="standard")]
    app = an_app(presets=("summarise", "real"), status="sandbox")
    registry = replace(a_small_registry(), presets={p.name: (p,) for p in presets}, apps={app.name: app})
    with Served(tmp_path, registry=registry) as served:
        body = {"model": "real", "messages": MESSAGES}
        error = json.loads(ask(served, "/v1/chat/completions", body)[2])["error"]

        why = explained(served, error["trace_id"])

        assert error["code"] == "app_not_approved"
        assert ask(served, "/v1/chat/completions", patched(body, why["change"]))[0] == 200


@pytest.fixture(scope="module")
def refusal(served):
    body = {"model": "summarise", "messages": MESSAGES, "temperature": 0.9}
    return json.loads(ask(served, "/v1/chat/completions", body)[2])["error"]["trace_id"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
        ("text/html;q=0", "application/json"),
        ("text/html;q=often", "application/json"),
    ],
)
def test_a_browser_gets_a_page_and_a_program_json(served, refusal, accept, kind):
    status, headers, _ = ask(served, f"/why/{refusal}", accept=accept)

    assert (status, headers["content-type"], headers["vary"]) == (200, kind, "Accept")


def test_the_page_says_all_of_it_and_nothing_of_the_request(served, refusal):
    _, headers, page = ask(served, f"/why/{refusal}", accept="text/html")

    for words in (
        "0.9",
        "from 0 to 0.3",
        "coe@example.com",
        "Set <code>temperature</code> to <code>0.1</code>",
        refusal,
    ):
        assert words in page
    assert "mailto:coe@example.com?subject=" in page
    assert "Lisbon" not in page
    assert "<script" not in page
    assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("trace_id", ["019aafd0-0000-7000-8000-0000000000ff", "none"])
def test_an_unknown_id_is_said_to_be_one(served, trace_id):
    assert ask(served, f"/why/{trace_id}")[0] == 404
    status, _, page = ask(served, f"/why/{trace_id}", accept="text/html")
    assert status == 404
    assert "There is no trace with this id." in page
