"""The explanation of every code: said in plain words, with what would pass where a parameter decides it."""

from datetime import date
from urllib.parse import parse_qs, urlsplit

import pytest

from llmguard.catalog.why import explain
from llmguard.domain.errors import CODES
from tests.support.builders import a_model, a_preset, an_app
from tests.support.served import a_small_registry

TODAY = date(2026, 11, 26)
TRACE_ID = "019aafd0-0000-7000-8000-000000000001"
ADDRESS = f"https://llmguard.example.com/why/{TRACE_ID}"
WITH_AN_OWNER = {
    *("parameter_not_allowed", "content_blocked", "context_length_exceeded", "app_expired", "app_not_approved"),
    *("app_suspended", "app_ownerless"),
    *("preset_not_allowed", "sensitivity_not_allowed", "scope_missing", "origin_not_allowed", "policy_denied"),
    *("model_not_found", "preset_retired", "rate_limit_exceeded", "insufficient_quota"),
}


def a_refusal(code, **changes):
    reason = {"code": code, "message": f"It ended with {code}.", "hint": "Do this.", "param": None}
    return {
        "trace_id": TRACE_ID,
        "started_at": "2026-11-26T02:00:00Z",
        "endpoint": "/v1/chat/completions",
        "app": "expense-triage",
        "owner": "dana@example.com",
        "preset": "summarise",
        "preset_version": 1,
        "status": CODES[code].status,
        "code": code,
        "decision": {"allowed": False, "reasons": [reason | changes]},
        "request": {"messages": [{"content": "what was asked"}]},
        "response": {"choices": "what was answered"},
        "registry_digest": "a" * 64,
        "policy_digest": "builtin-2",
        "redaction_digest": "b" * 64,
    }


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained_without_any_text_of_the_request(code):
    why = explain(a_refusal(code), a_small_registry(), today=TODAY, address=ADDRESS)

    assert why["what_happened"] == f"It ended with {code}."
    assert why["what_to_do"] == "Do this."
    assert why["who"]
    assert "what was" not in str(why)
    assert (why["exception"] is not None) == (code in WITH_AN_OWNER)
    assert [rule["owner"] for rule in why["rules"]] == ([why["exception"]["to"]] if code in WITH_AN_OWNER else [])


@pytest.mark.parametrize("code", CODES)
def test_a_code_whose_trace_has_no_reason_is_explained_by_its_own_words(code):
    trace = a_refusal(code) | {"decision": {}, "app": None, "owner": None, "preset": None}

    why = explain(trace, a_small_registry(), today=TODAY)

    assert why["what_happened"].endswith(".")
    assert why["what_to_do"].endswith(".")
    assert (why["rules"], why["change"], why["exception"]) == ([], None, None)


def test_a_letter_to_the_owner_is_ready_to_be_sent():
    why = explain(a_refusal("sensitivity_not_allowed"), a_small_registry(), today=TODAY, address=ADDRESS)

    letter = urlsplit(why["exception"]["mailto"])
    fields = parse_qs(letter.query)
    assert (letter.scheme, letter.path) == ("mailto", "coe@example.com")
    assert fields["subject"] == ["llmguard: exception for expense-triage (sensitivity_not_allowed)"]
    assert ADDRESS in fields["body"][0].split("\r\n")


def test_a_rule_says_what_was_asked_and_its_version():
    reason = {"message": "temperature: it may be up to 0.3, and 0.9 was asked (preset summarise@1).", "param": "top_k"}

    (rule,) = explain(a_refusal("parameter_not_allowed", **reason), a_small_registry(), today=TODAY)["rules"]

    assert (rule["asked"], rule["version"]) == ("0.9", "preset summarise@1, registry aaaaaaaaaaaa, policy builtin-2")


def test_half_a_change_is_not_proposed():
    trace = a_refusal("parameter_not_allowed", param="top_k")
    trace["decision"]["reasons"].append({"code": "parameter_not_allowed", "param": "messages[0].content"})

    assert explain(trace, a_small_registry(), today=TODAY)["change"] is None


def test_an_app_without_any_preset_that_fits_gets_no_other_model():
    app, preset = an_app(), a_preset(model=a_model(mode="embedding"))
    registry = a_small_registry()
    object.__setattr__(registry, "presets", {preset.name: (preset,)})
    object.__setattr__(registry, "apps", {app.name: app})

    assert explain(a_refusal("model_not_found", param="model"), registry, today=TODAY)["change"] is None


def test_an_answered_request_is_said_to_be_fine():
    trace = a_refusal("overloaded") | {"status": 200, "code": None, "decision": {"adjusted": ["temperature"]}}

    why = explain(trace, a_small_registry(), today=TODAY)

    assert (why["fine"], why["adjusted"], why["exception"]) == (True, ["temperature"], None)
