"""Findings between entries: references, states, duplicates, parameter rules, prices, immutability."""

from decimal import Decimal

import pytest

from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, a_preset_entry, as_source


def check(document, accepted=None, profiles=PROFILES):
    return check_source(as_source(document), file="registry.yaml", profiles=profiles, accepted=accepted or {})


def texts(document, **changes):
    return [str(finding).split(": ", 1)[1] for finding in check(document, **changes).findings]


def with_parameters(**parameters):
    document = a_document()
    document["presets"][0]["parameters"] = parameters
    return document


def test_a_model_at_an_unknown_provider_is_found():
    document = a_document()
    document["models"]["gpt-4o-mini"]["provider"] = "opnai"

    assert texts(document) == ["models.gpt-4o-mini.provider: there is no provider 'opnai'; did you mean 'openai'?"]


def test_a_preset_with_unknown_models_is_found():
    document = a_document()
    document["presets"][0] |= {"model": "echo", "fallbacks": ["gpt-4o-mini", "claude"]}

    assert texts(document) == [
        "presets[0].model: there is no model 'echo'; did you mean 'echo-1'?",
        "presets[0].fallbacks[1]: there is no model 'claude'; use one of: echo-1, gpt-4o-mini",
    ]


def test_a_fallback_that_was_tried_already_is_found():
    document = a_document()
    document["presets"][0]["fallbacks"] = ["echo-1"]

    (found,) = texts(document)

    assert found.startswith("presets[0].fallbacks[0]: 'echo-1' is tried already when its turn comes")


def with_targets(*targets, **changes):
    document = a_document()
    document["models"]["gpt-4o-mini"] = {"targets": list(targets), "max_sensitivity": "internal"} | changes
    return document


def a_target(target="gpt-4o-mini", **changes):
    return {"provider": "openai", "target": target} | changes


def test_a_model_with_several_targets_has_them_with_their_weights_and_prices():
    document = with_targets(
        a_target(weight=3),
        a_target("mine", price={"input": 1, "output": 2}),
        {"provider": "echo", "target": "gpt-4o"},
        mode="chat",
    )

    model = check(document).registry.models["gpt-4o-mini"]

    assert [(one.provider.name, one.target, one.weight, one.price.input) for one in model.targets] == [
        ("openai", "gpt-4o-mini", 3, Decimal("0.15")),
        ("openai", "mine", 1, 1),
        ("echo", "gpt-4o", 1, Decimal("2.5")),
    ]
    assert {one.name for one in model.targets} == {"gpt-4o-mini"}
    assert {one.mode for one in model.targets} == {"chat"}


def test_targets_share_the_price_of_their_model():
    document = with_targets(a_target(), a_target("mine"), price={"input": 1, "output": 2})

    model = check(document).registry.models["gpt-4o-mini"]

    assert [one.price.output for one in model.targets] == [2, 2]


@pytest.mark.parametrize(
    ("document", "start"),
    [
        (with_targets(a_target(), target="x"), "models.gpt-4o-mini.targets: 'targets' stands beside target"),
        (with_targets(a_target(), a_target()), "models.gpt-4o-mini.targets[1]: 'gpt-4o-mini' at openai is there twice"),
        (
            with_targets(a_target(), a_target("mine")),
            "models.gpt-4o-mini.targets[1]: the price of 'gpt-4o-mini' is unk",
        ),
        (with_targets(a_target(provider="opnai")), "models.gpt-4o-mini.targets[0].provider: there is no provider"),
        (with_targets(a_target(weight=0)), "models.gpt-4o-mini.targets[0].weight: 0 is out of range"),
        (with_targets(a_target(wieght=2)), "models.gpt-4o-mini.targets[0].wieght: unknown setting"),
    ],
)
def test_targets_that_make_no_sense_are_found(document, start):
    found = texts(document)

    assert found
    assert found[0].startswith(start)


@pytest.mark.parametrize("field", ["provider", "target"])
def test_a_model_without_a_place_to_answer_is_found(field):
    document = a_document()
    del document["models"]["gpt-4o-mini"][field]

    assert f"models.gpt-4o-mini.{field}: '{field}' is missing" in "".join(texts(document))


def test_provider_state_needs_models_that_answer_by_the_responses_api():
    document = a_document()
    document["models"]["other"] = {
        "provider": "openai",
        "target": "gpt-4o",
        "max_sensitivity": "internal",
        "api": "responses",
    }
    document["presets"][0] |= {"model": "other", "fallbacks": ["gpt-4o-mini"], "provider_state": "allowed"}

    (found,) = texts(document)
    document["models"]["gpt-4o-mini"]["api"] = "responses"
    registry = check(document).registry

    assert found.startswith("presets[0].fallbacks[0]: provider_state is allowed, and 'gpt-4o-mini' does not answer by")
    assert "write api: responses at 'gpt-4o-mini'" in found
    assert registry.presets["summarise"][0].provider_state == "allowed"
    assert registry.models["other"].api == "responses"


def test_the_responses_api_is_for_providers_of_kind_openai():
    document = a_document()
    document["models"]["echo-1"]["api"] = "responses"

    (found,) = texts(document)

    assert found.startswith("models.echo-1.provider: api: responses is for providers of kind: openai")


def test_a_fallback_of_another_mode_is_found():
    document = a_document()
    document["models"]["find"] = {
        "provider": "openai",
        "target": "text-embedding-3-small",
        "max_sensitivity": "internal",
    }
    document["presets"][0]["fallbacks"] = ["find"]

    (found,) = texts(document)
    assert found.startswith("presets[0].fallbacks[0]: 'find' is a model for embedding and cannot stand in for")


def test_a_fallback_for_less_sensitive_data_is_no_finding():
    document = a_document()
    document["models"]["gpt-4o-mini"]["max_sensitivity"] = "public"
    document["presets"][0]["fallbacks"] = ["gpt-4o-mini"]

    assert check(document).findings == ()


@pytest.mark.parametrize("reference", ["summarise", "summarise@1"])
def test_an_app_lists_a_preset_by_name_or_by_version(reference):
    document = a_document()
    document["apps"]["expense-triage"]["presets"] = [reference]

    assert check(document).registry.apps["expense-triage"].presets == (reference,)


def test_an_app_with_unknown_or_repeated_presets_is_found():
    document = a_document()
    document["apps"]["expense-triage"]["presets"] = ["summarise", "summarise@3", "translate", "summarise"]

    assert texts(document) == [
        "apps.expense-triage.presets[1]: there is no preset 'summarise@3'; did you mean 'summarise@1'?",
        "apps.expense-triage.presets[2]: there is no preset 'translate'; use one of: summarise, summarise@1",
        "apps.expense-triage.presets[3]: 'summarise' is listed twice; remove one of the two",
    ]


def test_a_reference_to_an_entry_with_findings_of_its_own_is_no_second_finding():
    document = a_document()
    document["providers"]["echo"]["kind"] = "eco"
    document["models"]["echo-1"]["max_sensitivity"] = "secret"
    document["presets"][0]["status"] = "live"

    assert len(texts(document)) == 3


def test_sections_of_the_wrong_form_do_not_hide_the_other_findings():
    document = a_document()
    document["providers"] = []
    document["presets"].append("summarise")
    document["presets"].append({"name": 3, "version": True, "parameters": 4, "fallbacks": 5, "redaction": 6})
    document["apps"]["broken"] = "yes"

    paths = [finding.path for finding in check(document).findings]

    assert {"providers", "models.echo-1.provider", "presets[1]", "presets[2].name", "apps.broken"} <= set(paths)


def test_a_preset_version_given_twice_is_found():
    document = a_document()
    document["presets"] += [a_preset_entry(version=4), a_preset_entry()]

    assert texts(document) == [
        "presets[2].version: summarise@1 is there already, as presets[0]; write version: 5, or remove one of the two"
    ]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"status": "deprecated"}, "presets[0].status: a deprecated preset says until when it works"),
        ({"status": "retired"}, "presets[0].status: a retired preset names its successor"),
        ({"status": "retired", "successor": "summarise@1"}, "presets[0].successor: a preset cannot succeed itself"),
        ({"status": "retired", "successor": "summarise@2"}, "presets[0].successor: there is no preset 'summarise@2'"),
    ],
)
def test_states_that_lead_nowhere_are_found(changes, found):
    document = a_document()
    document["presets"][0] |= changes

    (finding,) = texts(document)
    assert finding.startswith(found)


def test_deprecated_and_retired_versions_with_what_they_need_are_accepted():
    document = a_document()
    document["presets"] = [
        a_preset_entry(status="retired", successor="summarise@3"),
        a_preset_entry(version=2, status="deprecated", sunset="2027-01-31"),
        a_preset_entry(version=3),
    ]

    versions = check(document).registry.presets["summarise"]

    assert [preset.status for preset in versions] == ["retired", "deprecated", "approved"]
    assert versions[1].sunset.isoformat() == "2027-01-31"
    assert versions[0].successor == "summarise@3"


def test_versions_are_sorted_whatever_their_order_in_the_file():
    document = a_document()
    document["presets"] = [a_preset_entry(version=10), a_preset_entry(name="classify"), a_preset_entry(version=9)]
    document["apps"] = {}

    presets = check(document).registry.presets

    assert [preset.version for preset in presets["summarise"]] == [9, 10]
    assert list(presets) == ["classify", "summarise"]


def test_an_unknown_redaction_profile_is_found():
    document = a_document()
    document["presets"][0]["redaction"] = "standart"

    assert texts(document) == [
        "presets[0].redaction: there is no redaction profile 'standart'; did you mean 'standard'?"
    ]


def test_the_default_redaction_profile_must_exist_too():
    assert texts(a_document(), profiles=["strict"]) == [
        "presets[0].redaction: there is no redaction profile 'standard'; use one of: strict"
    ]


def test_without_any_profile_there_is_nothing_to_choose_from():
    assert texts(a_document(), profiles=[])[0].endswith("there is none to choose from yet")


@pytest.mark.parametrize("field", ["base_url", "api_key_env"])
def test_echo_needs_no_address_and_no_key(field):
    document = a_document()
    document["providers"]["echo"][field] = {"base_url": "http://localhost", "api_key_env": "ECHO_KEY"}[field]

    (found,) = texts(document)
    assert found.startswith(f"providers.echo.{field}: echo is embedded and has no {field}")


def test_an_expired_app_is_no_finding():
    document = a_document()
    document["apps"]["expense-triage"]["expires"] = "2001-01-01"

    assert check(document).findings == ()


def test_an_app_whose_data_is_too_sensitive_for_a_preset_is_no_finding():
    document = a_document()
    document["models"]["echo-1"]["max_sensitivity"] = "public"

    assert check(document).findings == ()


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"temperature": {"min": 0.5, "max": 0.2}}, ".temperature.min: min 0.5 is greater than max 0.2"),
        ({"temperature": {"max": 0.2, "default": 0.5}}, ".temperature.default: the default 0.5 is outside"),
        ({"temperature": {"min": 0.2, "default": 0.1}}, ".temperature.default: the default 0.1 is outside"),
        ({"temperature": {"max": 3}}, ".temperature.max: 3 is no value for temperature; temperature takes a number"),
        ({"temperature": {"fixed": 0, "max": 1}}, ".temperature.fixed: a fixed value leaves no room for max"),
        ({"temperature": {"fixed": 0, "default": 0}}, ".temperature.fixed: a fixed value leaves no room for default"),
        ({"temperature": {"allowed": [0, 1], "max": 1}}, ".temperature.allowed: a list of values and max exclude"),
        ({"temperature": {"allowed": [0, 1], "default": 0.5}}, ".temperature.default: the default 0.5 is outside"),
        ({"temperature": {"allowed": []}}, ".temperature.allowed: List should have at least 1 item"),
        ({"temperature": {"allowed": [0, "low"]}}, ".temperature.allowed[1]: 'low' is no value for temperature"),
        ({"temperature": {"default": "low"}}, ".temperature.default: 'low' is no value for temperature"),
        ({"temperature": {"default": [1]}}, ".temperature.default: a parameter value is a text, a number, or true"),
        ({"temperature": {"minimum": 0}}, ".temperature.minimum: unknown setting 'minimum'; did you mean 'min'?"),
        ({"temperature": 0.2}, ".temperature: the number 0.2 stands here, and a mapping of settings is expected"),
        ({"max_tokens": {"max": 80.5}}, ".max_tokens.max: 80.5 is no value for max_tokens; max_tokens takes a whole"),
        ({"max_tokens": {"max": 0}}, ".max_tokens.max: 0 is no value for max_tokens"),
        ({"seed": {"fixed": True}}, ".seed.fixed: true is no value for seed; seed takes a whole number"),
        ({"user": {"fixed": 7}}, ".user.fixed: 7 is no value for user; user takes a text"),
        ({"user": {"max": 7}}, ".user.max: user is no number, so it has no max"),
        (
            {"reasoning_effort": {"allowed": ["low"], "default": "high"}},
            ".reasoning_effort.default: the default 'high'",
        ),
        (
            {"logprobs": {"fixed": "no"}},
            ".logprobs.fixed: 'no' is no value for logprobs; logprobs takes true or false (",
        ),
        ({"response_format": {"fixed": "json"}}, ".response_format.fixed: 'json' is no value for response_format"),
        ({"maxtokens": {}}, ".maxtokens: unknown setting 'maxtokens'; did you mean 'max_tokens'?"),
        ({"tools": {}}, ".tools: 'tools' is not ruled here; tools are ruled by `tools` of the preset"),
        ({"stream": {"fixed": True}}, ".stream: 'stream' is not ruled here; every app may stream"),
        (
            {"max_tokens": {}, "max_completion_tokens": {}},
            ".max_completion_tokens: max_tokens and max_completion_tokens",
        ),
    ],
)
def test_parameter_rules_that_make_no_sense_are_found(parameters, found):
    assert any(text.startswith(f"presets[0].parameters{found}") for text in texts(with_parameters(**parameters))), (
        texts(with_parameters(**parameters))
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": {}},
        {"temperature": {"fixed": 0}},
        {"temperature": {"min": 0, "max": 2, "default": 2}},
        {"reasoning_effort": {"allowed": ["low", "high"], "default": "low"}},
        {"logprobs": {"fixed": False}},
        {"max_tokens": {"max": 800.0}},
        {"response_format": {}, "stop": {}, "user": {}},
        {"n": {"allowed": [1, 2], "default": 1}},
        {"top_k": {"max": 40}},
    ],
)
def test_parameter_rules_that_make_sense_are_accepted(parameters):
    assert check(with_parameters(**parameters)).findings == ()


def test_max_completion_tokens_is_kept_under_the_name_that_governs_both():
    preset = check(with_parameters(max_completion_tokens={"max": 800})).registry.presets["summarise"][0]

    assert preset.parameters["max_tokens"].maximum == 800


def test_a_model_without_a_known_price_is_found():
    document = a_document()
    document["models"]["gpt-4o-mini"]["target"] = "our-own-model"

    (found,) = texts(document)

    assert found.startswith(
        "models.gpt-4o-mini: the price of 'gpt-4o-mini' is unknown: LiteLLM's map has no 'our-own-model'"
    )
