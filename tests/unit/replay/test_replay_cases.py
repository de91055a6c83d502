"""Cases: the same bytes each time, read back as they were, and decided by whatever registry there is."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.domain.catalog import ParameterRule, Registry, Sensitivity
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.replay.cases import (
    Case,
    CaseInvalid,
    CaseRequest,
    Expected,
    answer_problems,
    case_of,
    judge,
    read_cases,
    write_case,
)
from llmguard.replay.difference import ToolCall, answer_of
from llmguard.replay.errors import CannotReplay
from llmguard.replay.stored import Stored
from tests.support.builders import a_model, a_preset, an_app

TODAY = date(2026, 11, 26)
LIMITED = {"temperature": ParameterRule(maximum=0.3, default=0.1)}
PRESET = a_preset(system="Be short.", digest="p" * 64, parameters=LIMITED)
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"b": 1, "a": 2}'}}
RESPONSE = {"choices": [{"index": 0, "message": {"content": "Yes.", "tool_calls": [CALL]}}]}


def a_registry(*presets, app=None):
    app = app or an_app()
    by_name = {}
    for preset in presets or (PRESET,):
        by_name[preset.name] = (*by_name.get(preset.name, ()), preset)
    return Registry("r" * 64, {}, {"echo-1": a_model()}, by_name, {app.name: app})


def a_stored(sent=None, decision=None, response=None, **changes):
    row = {
        "trace_id": "019aafd0-0000-7000-8000-00000000000a",
        "app": "expense-triage",
        "endpoint": "/v1/chat/completions",
        "preset": "summarise",
        "preset_version": 1,
        "preset_digest": "p" * 64,
        "registry_digest": "r" * 64,
        "model": "echo-1",
        "status": 200,
        "code": None,
        "input_tokens": 1,
        "output_tokens": 1,
        "cost_usd": "0.1",
        "latency_ms": 1.0,
        "replay_of": None,
    } | changes
    return Stored(row, sent, decision or {}, answer_of(row, response))


def answered(**parameters):
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Who is <PERSON_KOFADE>?"}]
    return a_stored({"model": "echo-1", "messages": messages} | parameters, response=RESPONSE)


def refused(code, *params, asked=None, status=400, **changes):
    reasons = [{"code": code, "message": "No.", "param": param} for param in params or (None,)]
    decision = {"reasons": reasons} | ({} if asked is None else {"asked": asked})
    return a_stored(None, decision, status=status, code=code, **changes)


@pytest.fixture
def make(tmp_path):
    return lambda stored, registry=None: case_of(
        stored, registry or a_registry(), AcceptedRegistries(tmp_path / "registry")
    )


def test_an_answered_trace_becomes_the_apps_own_request_with_what_was_answered(make):
    case = make(answered(temperature=0.1, seed=7, max_tokens=4096, stream=True, stream_options={}))

    [message] = case.request.messages
    assert message == {"role": "user", "content": "Who is <PERSON_KOFADE>?"}
    assert (case.request.model, case.request.parameters, case.request.stream) == ("summarise", {"seed": 7}, True)
    assert case.expect == Expected(200, None, ["Yes."], [{"choice": 0, "name": "find", "arguments": '{"a":2,"b":1}'}])


def test_a_trace_that_failed_at_its_provider_expects_to_be_let_through(make):
    case = make(replace(answered(), row=answered().row | {"status": 502, "code": "provider_error"}))

    assert case.expect == Expected(200)


def test_the_same_trace_gives_the_same_bytes(make, tmp_path):
    first = write_case(tmp_path / "a", make(answered(temperature=0.2)))
    second = write_case(tmp_path / "b", make(answered(temperature=0.2)))

    assert first.read_bytes() == second.read_bytes()
    assert first.name == "019aafd0-0000-7000-8000-00000000000a.yaml"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(content=TEXTS, value=JSON)
def test_whatever_is_in_a_case_is_read_back_as_it_was(tmp_path_factory, content, value):
    folder = tmp_path_factory.mktemp("cases")
    request = CaseRequest("chat", {"extra": value}, messages=[{"role": "user", "content": content}])
    case = Case(1, "t", "app", "/v1/chat/completions", None, request, Expected(200, text=[content]))

    write_case(folder, case)

    assert [read for _, read in read_cases(folder)] == [case]


@pytest.mark.parametrize("text", ["case: [", "case: 1\n", "text\n"], ids=["no yaml", "fields missing", "no mapping"])
def test_a_file_that_is_no_case_is_named(tmp_path, text):
    (tmp_path / "broken.yaml").write_text(text)

    with pytest.raises(CaseInvalid, match=r"broken\.yaml is no case: "):
        list(read_cases(tmp_path))


def test_a_case_holds_while_the_registry_decides_as_it_did(make):
    judged = judge(make(answered(temperature=0.2)), a_registry(), TODAY)

    assert (judged.problems, judged.status, judged.preset) == ((), 200, PRESET)


def test_a_newer_preset_that_refuses_what_the_app_asks_is_found(make):
    case = make(answered(temperature=0.2))
    newer = a_preset(version=2, parameters={"temperature": ParameterRule(maximum=0.1)})

    judged = judge(case, a_registry(PRESET, newer), TODAY)

    assert judged.preset == newer
    [problem] = judged.problems
    assert problem.startswith("it is decided 400 parameter_not_allowed, and 200 is expected: temperature: it may be")


@pytest.mark.parametrize(
    "registry",
    [
        a_registry(app=an_app(status="suspended")),
        a_registry(app=an_app(name="another")),
        a_registry(app=an_app(presets=())),
        a_registry(replace(PRESET, status="retired")),
        a_registry(replace(PRESET, model=a_model(max_sensitivity=Sensitivity.PUBLIC))),
    ],
    ids=["suspended", "gone", "not listed", "retired", "too sensitive"],
)
def test_whatever_would_refuse_the_app_is_found(make, registry):
    assert judge(make(answered()), registry, TODAY).problems


@pytest.mark.parametrize(
    ("stored", "registry", "loosened"),
    [
        (
            refused("parameter_not_allowed", "temperature", asked={"parameters": {"temperature": 0.9}}),
            a_registry(),
            a_registry(a_preset(parameters={"temperature": ParameterRule()})),
        ),
        (
            refused("preset_not_allowed", "model", asked={"model": "summarise@1"}, status=403, preset=None),
            a_registry(app=an_app(presets=())),
            a_registry(),
        ),
        (
            refused("preset_retired", "model", asked={"model": "summarise"}, status=410, preset=None),
            a_registry(replace(PRESET, status="retired")),
            a_registry(),
        ),
        (
            refused("app_expired", status=403, preset=None),
            a_registry(app=an_app(expires=date(2026, 1, 1))),
            a_registry(),
        ),
        (
            refused("sensitivity_not_allowed", "model", status=403),
            a_registry(replace(PRESET, model=a_model(max_sensitivity=Sensitivity.PUBLIC))),
            a_registry(),
        ),
    ],
    ids=["parameter", "not listed", "retired", "expired", "too sensitive"],
)
def test_a_refusal_that_the_registry_decided_is_a_case_too(make, stored, registry, loosened):
    case = make(stored, registry)

    assert judge(case, registry, TODAY).problems == ()
    [problem] = judge(case, loosened, TODAY).problems
    assert problem == f"it is decided 200, and {stored.row['status']} {stored.row['code']} is expected"


@pytest.mark.parametrize(
    "stored",
    [
        refused("content_blocked"),
        refused("insufficient_quota", status=429),
        refused("invalid_api_key", status=401, preset=None),
        refused("parameter_not_allowed", "tools", asked={"parameters": {"temperature": 0.9}}),
        refused("parameter_not_allowed", "temperature"),
        refused("model_not_found", "model", status=404, preset=None),
    ],
    ids=["text", "quota", "key", "tools", "value not kept", "model not kept"],
)
def test_a_refusal_for_something_that_is_not_kept_makes_no_case(make, stored):
    with pytest.raises(CannotReplay, match="its trace does not keep"):
        make(stored)


def test_an_answer_is_compared_with_what_is_left_in_the_case():
    call = {"choice": 0, "name": "find", "arguments": "{}"}
    case = Case(1, "t", "a", "/", None, CaseRequest("chat"), Expected(200, text=["Yes."], tool_calls=[call]))

    assert list(answer_problems(case, ("Yes.",), (ToolCall(0, "find", "{}"),))) == []
    assert len(list(answer_problems(case, ("No.",), ()))) == 2
    loose = Case(1, "t", "a", "/", None, CaseRequest("chat"), Expected(200))
    assert list(answer_problems(loose, ("No.",), ())) == []
