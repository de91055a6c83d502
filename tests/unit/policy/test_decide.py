from dataclasses import replace
from datetime import date

import pytest

from llmguard.domain.catalog import ParameterRule, Sensitivity
from llmguard.domain.errors import Refusal
from llmguard.policy.decide import check_app, check_content, decide
from tests.support.builders import NOON, a_chat_request, a_model, a_preset, a_provider, an_app

TODAY = date(2026, 11, 23)
TOOL = {"type": "function", "function": {"name": "book_room", "parameters": {"type": "object"}}}


def codes(decision):
    return [objection.code for objection in decision.objections]


def test_request_inside_its_preset_is_allowed():
    decision = decide(an_app(), a_preset(), a_chat_request("Hello"))

    decision.enforce()
    assert decision.as_json() == {"allowed": True, "adjusted": [], "reasons": []}


def test_all_reasons_are_given_at_once_and_the_first_decides_the_code():
    app = an_app(sensitivity=Sensitivity.RESTRICTED)
    preset = a_preset(model=a_model(max_sensitivity=Sensitivity.INTERNAL))

    decision = decide(app, preset, a_chat_request("Hi", parameters={"seed": 1, "tools": [TOOL]}))

    assert codes(decision) == ["sensitivity_not_allowed", "parameter_not_allowed", "parameter_not_allowed"]
    with pytest.raises(Refusal) as refused:
        decision.enforce()
    assert refused.value.code == "sensitivity_not_allowed"
    assert "seed" in refused.value.message
    assert "forbids tools" in refused.value.message


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"status": "draft"}, "app_not_approved", "is draft"),
        ({"status": "retired", "instead": "claims-desk"}, "app_not_approved", "Use instead: claims-desk."),
        ({"status": "suspended"}, "app_suspended", "is suspended"),
        ({"status": "suspended", "contained_at": NOON}, "app_suspended", "stopped on 23 November 2026 at 12:00 UTC"),
        ({"has_owner": False}, "app_ownerless", "Nobody answers"),
        ({"status": "deprecated", "sunset": date(2026, 11, 22), "instead": "x"}, "app_expired", "Use instead: x."),
    ],
    ids=["draft", "retired", "suspended", "contained", "ownerless", "past its sunset"],
)
def test_app_that_may_not_be_used_is_refused_with_a_code_of_its_own(changes, code, words):
    with pytest.raises(Refusal) as refused:
        check_app(an_app(**changes), today=TODAY, origin=None)

    assert refused.value.code == code
    assert words in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("status", ["sandbox", "approved", "deprecated"])
def test_app_in_use_is_let_in(status):
    check_app(an_app(status=status, sunset=TODAY if status == "deprecated" else None), today=TODAY, origin=None)


@pytest.mark.parametrize(
    ("status", "entities", "refused"),
    [
        ("sandbox", {"PERSON": 1, "LOCATION": 2}, True),
        ("sandbox", {"LOCATION": 2, "URL": 1, "EMAIL_ADDRESS": 1}, False),
        ("sandbox", {"EMAIL_ADDRESS": 1, "PERSON": 1}, True),
        ("sandbox", {}, False),
        ("approved", {"PERSON": 1}, False),
    ],
)
def test_app_in_the_sandbox_may_not_send_confidential_data(status, entities, refused):
    app = an_app(status=status)

    if not refused:
        check_content(app, entities, lambda _: {"EMAIL_ADDRESS"})
        return
    with pytest.raises(Refusal) as error:
        check_content(app, entities, lambda _: {"EMAIL_ADDRESS"})
    assert (error.value.code, "PERSON" in error.value.message) == ("content_blocked", True)
    assert "LOCATION" not in error.value.message
    assert "sandbox data" in error.value.hint


@pytest.mark.parametrize(("expires", "refused"), [(date(2026, 11, 22), True), (TODAY, False), (None, False)])
def test_app_is_refused_from_the_day_after_it_expires(expires, refused):
    app = an_app(expires=expires)

    if not refused:
        check_app(app, today=TODAY, origin=None)
        return
    with pytest.raises(Refusal) as error:
        check_app(app, today=TODAY, origin=None)
    assert error.value.code == "app_expired"


def test_web_page_of_a_listed_origin_may_call():
    check_app(an_app(origins=("https://apps.example.com",)), today=TODAY, origin="https://apps.example.com")


@pytest.mark.parametrize("origins", [(), ("https://other.example.com",)])
def test_web_page_of_another_origin_is_refused(origins):
    with pytest.raises(Refusal) as refused:
        check_app(an_app(origins=origins), today=TODAY, origin="https://apps.example.com")

    assert refused.value.code == "origin_not_allowed"


def test_sandbox_app_reaches_echo_only():
    sandbox = an_app(status="sandbox")
    real = a_preset(model=a_model(provider=a_provider(kind="openai")))

    assert codes(decide(sandbox, a_preset(), a_chat_request())) == []
    assert codes(decide(sandbox, real, a_chat_request())) == ["app_not_approved"]


def test_sandbox_app_reaches_cheap_models_that_are_marked_so_and_no_other():
    real = a_model(name="real", provider=a_provider(name="openai", kind="openai"))
    cheap = replace(real, name="cheap", sandbox=True)
    decision = decide(an_app(status="sandbox"), a_preset(model=cheap, fallbacks=(real,)), a_chat_request())

    assert (codes(decision), decision.models) == ([], (cheap,))


def test_sandbox_app_reaches_no_other_target_or_fallback():
    real = a_model(name="real", provider=a_provider(name="openai", kind="openai"))
    echo = a_model()
    preset = a_preset(model=replace(real, siblings=(echo,)), fallbacks=(real,))

    assert decide(an_app(status="sandbox"), preset, a_chat_request()).models == (echo,)
    assert codes(decide(an_app(status="sandbox"), preset, a_chat_request())) == []


def test_every_target_of_a_model_may_answer_and_fallbacks_respect_sensitivity():
    second = a_model(target="echo-2")
    first = a_model(siblings=(second,), max_sensitivity=Sensitivity.CONFIDENTIAL)
    weak = a_model(name="weak", siblings=(a_model(name="weak"),), max_sensitivity=Sensitivity.PUBLIC)
    strong = a_model(name="strong")
    preset = a_preset(model=first, fallbacks=(weak, strong))

    assert decide(an_app(), preset, a_chat_request()).models == (first, second, strong)


def test_fallback_that_may_not_see_the_data_is_left_out():
    weak = a_model(name="weak", max_sensitivity=Sensitivity.PUBLIC)
    strong = a_model(name="strong")

    decision = decide(an_app(), a_preset(fallbacks=(weak, strong)), a_chat_request())

    assert [model.name for model in decision.models] == ["echo-1", "strong"]


@pytest.mark.parametrize(
    ("tools", "parameters", "allowed"),
    [
        ("allowed", {"tools": [TOOL], "tool_choice": "auto"}, True),
        ("forbidden", {"tools": []}, True),
        ("forbidden", {"tool_choice": "none"}, True),
        ("forbidden", {"tool_choice": "auto"}, True),
        ("forbidden", {"tool_choice": "required"}, False),
        ("forbidden", {"tools": [TOOL], "tool_choice": "none"}, False),
        ("forbidden", {"functions": [{"name": "f"}]}, False),
        (("book_room",), {"tools": [TOOL]}, True),
        (("other",), {"tools": [TOOL]}, False),
        (("other",), {"functions": [{"name": "f"}]}, False),
        (("book_room",), {"tools": [{"type": "web_search"}]}, False),
        (("other",), {"tool_choice": {"type": "function", "function": {"name": "f"}}}, False),
        (("other",), {"function_call": {"name": "f"}}, False),
        (("book_room",), {"tools": [{"type": "web_search", "function": {"name": "book_room"}}]}, False),
        (
            ("book_room",),
            {"tools": [{"type": "custom", "function": {"name": "book_room"}, "custom": {"name": "x"}}]},
            False,
        ),
        (("book_room",), {"tools": [{"type": "book_room", "name": "x"}]}, False),
        (("web_search",), {"tools": [{"type": "web_search"}]}, True),
        (
            ("f",),
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"tools": [{"type": "function", "function": {"name": "g"}}]},
                }
            },
            False,
        ),
        ("forbidden", {"parallel_tool_calls": True}, True),
        ("forbidden", {"parallel_tool_calls": False}, True),
    ],
)
def test_tools_follow_the_preset(tools, parameters, allowed):
    decision = decide(an_app(), a_preset(tools=tools), a_chat_request(parameters=parameters))

    assert (decision.objections == ()) is allowed


def test_tool_that_is_no_object_is_refused_and_not_a_crash():
    decision = decide(an_app(), a_preset(tools=("a",)), a_chat_request(parameters={"tools": ["x"]}))

    assert codes(decision) == ["parameter_not_allowed"]


@pytest.mark.parametrize(
    ("part", "images", "allowed"),
    [
        ({"type": "text", "text": "Hi"}, "forbidden", True),
        ({"type": "image_url", "image_url": {"url": "data:"}}, "forbidden", False),
        ({"type": "image_url", "image_url": {"url": "data:"}}, "allowed", True),
        ({"type": "input_audio", "input_audio": {}}, "allowed", False),
        ({"type": "file", "file": {}}, "forbidden", False),
        ({"type": "text", "text": "hi", "image_url": {"url": "x"}}, "forbidden", False),
        ({"type": "text", "text": "hi", "file": {"file_data": "x"}}, "allowed", False),
    ],
)
def test_parts_that_are_not_text_follow_the_preset(part, images, allowed):
    request = a_chat_request(messages=[{"role": "user", "content": [part]}])

    assert (decide(an_app(), a_preset(images=images), request).objections == ()) is allowed


@pytest.mark.parametrize(
    ("preset", "limit"),
    [
        (a_preset(parameters={"max_tokens": ParameterRule(maximum=800, default=400)}), 400),
        (a_preset(parameters={"max_tokens": ParameterRule(maximum=800)}), 800),
        (a_preset(parameters={"max_tokens": ParameterRule()}), 4096),
        (a_preset(model=a_model(max_output_tokens=99)), 99),
        (a_preset(), 4096),
    ],
    ids=["default", "most", "rule without limit", "model", "built in"],
)
def test_output_is_always_limited(preset, limit):
    assert decide(an_app(), preset, a_chat_request()).parameters["max_tokens"] == limit
