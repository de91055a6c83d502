import math

import pytest

from llmguard.domain.catalog import ParameterRule
from llmguard.policy.parameters import keepable, settle_parameters
from tests.support.builders import a_preset

RANGE = ParameterRule(minimum=0, maximum=0.3, default=0.1)
TOKENS = ParameterRule(maximum=800, default=400)


def a_locked_preset(**changes):
    rules = {"temperature": RANGE, "max_tokens": TOKENS, "top_p": ParameterRule(fixed=1)}
    return a_preset(**({"parameters": rules} | changes))


def test_defaults_and_fixed_values_are_filled_in_when_nothing_is_asked():
    settled = settle_parameters(a_locked_preset(), {})

    assert settled.parameters == {"temperature": 0.1, "max_tokens": 400, "top_p": 1}
    assert settled.adjusted == ()
    assert settled.violations == ()


@pytest.mark.parametrize("value", [0, 0.0, 0.3, 0.15])
def test_value_inside_its_range_passes_as_it_was_asked(value):
    settled = settle_parameters(a_locked_preset(), {"temperature": value})

    assert settled.parameters["temperature"] == value
    assert settled.violations == ()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"temperature": 0.9}, "from 0 to 0.3, and 0.9 was asked"),
        ({"temperature": -1}, "from 0 to 0.3, and -1 was asked"),
        ({"temperature": True}, "must be a number from 0 to 0.3"),
        ({"temperature": "0.1"}, "a str was asked"),
        ({"temperature": math.nan}, "must be a number"),
        ({"max_tokens": 801}, "up to 800, and 801 was asked"),
        ({"top_p": 0.5}, "fixed at 1, and 0.5 was asked"),
        ({"top_p": True}, "fixed at 1, and True was asked"),
        ({"seed": 7}, "what a preset does not name is not allowed"),
    ],
)
def test_value_outside_is_refused_with_the_limits_and_the_owner(asked, said):
    [violation] = settle_parameters(a_locked_preset(), asked).violations

    assert violation.parameter == next(iter(asked))
    assert said in violation.message
    assert "coe@example.com" in violation.hint


def test_all_violations_are_said_at_once():
    settled = settle_parameters(a_locked_preset(), {"temperature": 2, "seed": 7, "max_tokens": 10_000})

    assert [violation.parameter for violation in settled.violations] == ["temperature", "seed", "max_tokens"]


def test_clamping_preset_takes_the_nearest_allowed_value_and_reports_it():
    rules = {"temperature": RANGE, "max_tokens": TOKENS, "top_p": ParameterRule(fixed=1)}
    rules["reasoning_effort"] = ParameterRule(allowed=("low", "medium"), default="low")
    preset = a_preset(parameters=rules, on_violation="clamp")

    settled = settle_parameters(
        preset, {"temperature": 2, "max_tokens": 9000, "top_p": 0.2, "reasoning_effort": "high"}
    )

    assert settled.parameters == {"temperature": 0.3, "max_tokens": 800, "top_p": 1, "reasoning_effort": "low"}
    assert settled.adjusted == ("temperature", "max_tokens", "top_p", "reasoning_effort")
    assert settled.violations == ()


def test_clamping_preset_still_refuses_what_it_does_not_name():
    settled = settle_parameters(a_locked_preset(on_violation="clamp"), {"logit_bias": {"1": 2}})

    assert [violation.parameter for violation in settled.violations] == ["logit_bias"]


def test_whole_bounds_stay_whole_numbers():
    preset = a_locked_preset(on_violation="clamp", parameters={"max_tokens": ParameterRule(minimum=1.0, maximum=800.0)})

    clamped = settle_parameters(preset, {"max_tokens": 900}).parameters["max_tokens"]

    assert (clamped, type(clamped)) == (800, int)


def test_max_completion_tokens_and_max_tokens_are_one_limit():
    settled = settle_parameters(a_locked_preset(), {"max_completion_tokens": 500})

    assert settled.parameters["max_tokens"] == 500
    assert "max_completion_tokens" not in settled.parameters


def test_both_names_of_one_limit_are_refused():
    [violation] = settle_parameters(a_locked_preset(), {"max_tokens": 5, "max_completion_tokens": 500}).violations

    assert "not both" in violation.hint


def test_rule_under_the_newer_name_governs_both():
    preset = a_preset(parameters={"max_completion_tokens": ParameterRule(maximum=10, default=5)})

    assert settle_parameters(preset, {"max_tokens": 11}).violations
    assert settle_parameters(preset, {}).parameters == {"max_tokens": 5}


# What clients send by habit: LangChain, the Vercel AI SDK, n8n and others fill in OpenAI's defaults.
@pytest.mark.parametrize(
    "asked",
    [
        {"n": 1},
        {"temperature": 1},
        {"temperature": 1.0},
        {"top_p": 1},
        {"presence_penalty": 0, "frequency_penalty": 0.0},
        {"logprobs": False, "top_logprobs": 0},
        {"store": False, "metadata": {}},
        {"service_tier": "auto"},
        {"response_format": {"type": "text"}, "modalities": ["text"], "verbosity": "medium"},
        {"logit_bias": {}, "stop": []},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"user": "u-17", "safety_identifier": "s", "prompt_cache_key": "k"},
    ],
    ids=", ".join,
)
def test_values_that_ask_for_nothing_are_dropped(asked):
    for preset in (a_preset(), a_preset(tools="allowed")):
        settled = settle_parameters(preset, asked)

        assert settled.parameters == {}
        assert settled.violations == ()


@pytest.mark.parametrize(
    "asked",
    [
        {"n": 2},
        {"n": True},
        {"temperature": 0.7},
        {"logprobs": True},
        {"store": True},
        {"metadata": {"a": "b"}},
        {"service_tier": "priority"},
        {"stop": ["x"]},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_values_that_ask_for_something_are_refused_when_not_named(asked):
    assert settle_parameters(a_preset(), asked).violations


def test_rule_without_limits_allows_any_value():
    preset = a_preset(parameters={"user": ParameterRule()})

    assert settle_parameters(preset, {"user": "u-1"}).parameters == {"user": "u-1"}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (ParameterRule(), "any value"),
        (ParameterRule(minimum=1), "from 1"),
        (ParameterRule(maximum=2.5), "up to 2.5"),
        (ParameterRule(fixed="low"), "'low' only"),
        (ParameterRule(allowed=("a", "b")), "one of 'a', 'b'"),
    ],
)
def test_hint_says_what_the_preset_allows(rule, words):
    [violation] = settle_parameters(a_preset(parameters={"x": rule}), {"seed": 1}).violations

    assert f"x {words}" in violation.hint


def test_choice_outside_is_refused_with_the_choices_and_never_with_the_text():
    preset = a_preset(parameters={"reasoning_effort": ParameterRule(allowed=("low",))})

    [violation] = settle_parameters(preset, {"reasoning_effort": "Anna Schmidt"}).violations

    assert "one of 'low'" in violation.message
    assert "Anna" not in violation.message + violation.hint


def test_lower_bound_alone_is_kept():
    preset = a_preset(parameters={"seed": ParameterRule(minimum=5)})

    assert "from 5" in settle_parameters(preset, {"seed": 1}).violations[0].message
    assert settle_parameters(preset, {"seed": 9}).parameters == {"seed": 9}


@pytest.mark.parametrize("name", ["anna@example.com", "Anna Schmidt", "iban_de89370400440532"])
def test_name_that_is_no_parameter_of_openai_is_not_repeated(name):
    [violation] = settle_parameters(a_preset(), {name: 1}).violations

    assert name not in violation.parameter + violation.message + violation.hint


def test_number_of_many_digits_is_not_repeated():
    [violation] = settle_parameters(a_locked_preset(), {"temperature": 4111111111111111}).violations

    assert "4111" not in violation.message


def test_of_what_was_asked_a_trace_keeps_short_numbers_of_settings_alone():
    asked = {"temperature": 0.9, "store": True, "top_p": "Anna", "n": 123456789, "seed": 4711, "employee": 4711}

    assert keepable(asked) == {"temperature": 0.9, "store": True}
