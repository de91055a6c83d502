"""The nine steps of a trace: how long each took, and where a request ended that got no answer."""

import pytest

from llmguard.catalog.steps import steps_of

UP_TO = {"authenticate": 100, "resolve": 200, "decide": 300, "redact": 2_000, "reserve": 2_500}


def a_trace_with(*names, status, code, provider=None):
    steps = {name: UP_TO[name] for name in names} | {"settle": 9_000, "trace": 9_100}
    return {"steps": steps, "status": status, "code": code, "provider": provider}


@pytest.mark.parametrize(
    ("trace", "end"),
    [
        (a_trace_with(status=401, code="invalid_api_key"), "authenticate"),
        (a_trace_with("authenticate", status=404, code="model_not_found"), "resolve"),
        (a_trace_with("authenticate", "resolve", "decide", status=400, code="parameter_not_allowed"), "decide"),
        (a_trace_with("authenticate", "resolve", "decide", status=400, code="content_blocked"), "redact"),
        (a_trace_with(*list(UP_TO)[:4], status=403, code="policy_denied"), "decide"),
        (a_trace_with(*list(UP_TO)[:4], status=429, code="insufficient_quota"), "reserve"),
        (a_trace_with(*UP_TO, status=504, code="provider_timeout", provider="echo"), "call"),
        (a_trace_with(*UP_TO, status=499, code="client_disconnected", provider="echo"), "call"),
        (a_trace_with("authenticate", status=200, code=None), None),
        ({"steps": {}, "status": 502, "code": "interrupted"}, None),
    ],
    ids=["key", "preset", "parameter", "content", "policy", "quota", "provider", "hang-up", "repeated", "unknown"],
)
def test_step_at_which_a_request_ended_is_told(trace, end):
    assert [step.name for step in steps_of(trace) if step.is_end] == ([] if end is None else [end])


def test_time_until_a_provider_failed_is_that_of_the_call():
    steps = {step.name: step for step in steps_of(a_trace_with(*UP_TO, status=502, code="x", provider="echo"))}

    assert steps["call"].took_ms == 6.5
    assert steps["settle"].took_ms == 0
    assert not steps["restore"].is_within_call
