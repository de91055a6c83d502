"""Step 2: from `model` to one preset version, or a refusal that tells what to do."""

from datetime import date

import pytest

from llmguard.domain.catalog import Registry
from llmguard.domain.errors import Refusal
from llmguard.registry.resolve import resolve_preset, split_model_name, usable_presets
from tests.support.builders import a_model, a_preset, an_app

TODAY = date(2026, 11, 23)


def a_registry(*presets):
    names = dict.fromkeys(preset.name for preset in presets)
    return Registry(
        digest="0" * 64,
        providers={},
        models={"gpt-4o-mini": a_model(name="gpt-4o-mini")},
        presets={name: tuple(preset for preset in presets if preset.name == name) for name in names},
        apps={},
    )


def refusal_of(registry, app, model, today=TODAY):
    with pytest.raises(Refusal) as caught:
        resolve_preset(registry, app, model, today=today)
    assert caught.value.param == "model"
    assert caught.value.hint
    return caught.value


SUMMARISE = (
    a_preset(version=1, status="deprecated", sunset=date(2026, 12, 31)),
    a_preset(version=2),
    a_preset(version=3),
    a_preset(version=4, status="draft"),
)


@pytest.mark.parametrize(
    ("listed", "model", "version"),
    [
        (("summarise",), "summarise", 3),
        (("summarise",), "summarise@3", 3),
        (("summarise",), "summarise@2", 2),
        (("summarise",), "summarise@1", 1),
        (("summarise@2",), "summarise@2", 2),
        (("summarise@2",), "summarise", 2),
        (("summarise@1", "summarise@2"), "summarise", 2),
        (("summarise@1",), "summarise", 1),
    ],
)
def test_a_name_is_the_newest_approved_version_that_the_app_may_use(listed, model, version):
    app = an_app(presets=listed)

    assert resolve_preset(a_registry(*SUMMARISE), app, model, today=TODAY).version == version


def test_without_an_approved_version_the_newest_deprecated_one_answers():
    presets = [a_preset(version=number, status="deprecated", sunset=date(2027, 1, 1)) for number in (1, 2)]

    assert resolve_preset(a_registry(*presets), an_app(), "summarise", today=TODAY).version == 2


def test_a_deprecated_version_works_on_its_last_day_and_not_after_it():
    registry = a_registry(a_preset(status="deprecated", sunset=TODAY, successor="condense@1"))

    assert resolve_preset(registry, an_app(), "summarise@1", today=TODAY).version == 1
    refusal = refusal_of(registry, an_app(), "summarise@1", today=date(2026, 11, 24))
    assert (refusal.code, refusal.status) == ("preset_retired", 410)
    assert refusal.message == "The preset summarise@1 was retired on 2026-11-23. Its successor is condense@1."


@pytest.mark.parametrize("model", ["summarise", "summarise@1"])
def test_a_retired_preset_names_its_successor(model):
    registry = a_registry(a_preset(status="retired", successor="condense@2"))

    refusal = refusal_of(registry, an_app(), model)

    assert refusal.code == "preset_retired"
    assert refusal.message == "The preset summarise@1 is retired. Its successor is condense@2."
    assert refusal.hint == (
        "Put 'condense@2' into `model`, or ask coe@example.com, who owns the preset, what to use instead."
    )


def test_a_version_past_its_sunset_points_to_the_name_that_still_works():
    registry = a_registry(a_preset(status="deprecated", sunset=date(2026, 1, 1)), a_preset(version=2))

    assert "Its successor is summarise." in refusal_of(registry, an_app(), "summarise@1").message


def test_a_version_past_its_sunset_without_any_other_says_what_the_app_may_use():
    registry = a_registry(a_preset(status="deprecated", sunset=date(2026, 1, 1)))

    refusal = refusal_of(registry, an_app(), "summarise")

    assert "expense-triage may use no preset at present." in refusal.message
    assert refusal.hint == "Ask coe@example.com, who owns the preset, what to use instead."


def test_an_unknown_name_lists_what_the_app_may_use_and_guesses():
    registry = a_registry(*SUMMARISE, a_preset(name="classify"), a_preset(name="translate"))
    app = an_app(presets=("summarise", "classify"))

    refusal = refusal_of(registry, app, "sumarize")

    assert (refusal.code, refusal.status) == ("model_not_found", 404)
    assert refusal.message == (
        "There is no preset named 'sumarize'. Did you mean 'summarise'? expense-triage may use: classify, summarise."
    )
    assert refusal.hint == (
        "Put 'classify' or another preset of this app into `model`, or ask dana@example.com, who owns the app, "
        "to have the CoE list the preset for expense-triage in registry.yaml."
    )


def test_a_free_model_name_is_refused_with_the_reason():
    refusal = refusal_of(a_registry(*SUMMARISE), an_app(), "gpt-4o-mini")

    assert refusal.code == "model_not_found"
    assert refusal.message.startswith("'gpt-4o-mini' is a model. Apps do not choose models but presets")


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "dana@example.com",
        "DE89370400440532013000",
        "a b",
        "x" * 200,
        "4111111111111111",
        "summarise@",
    ],
)
def test_what_may_be_somebodys_data_is_not_repeated(typed):
    refusal = refusal_of(a_registry(*SUMMARISE), an_app(), typed)

    assert refusal.code == "model_not_found"
    assert refusal.message.startswith("There is no preset of that name.")
    assert not typed or typed not in refusal.message


def test_an_app_without_presets_is_told_so():
    refusal = refusal_of(a_registry(*SUMMARISE), an_app(presets=()), "anything")

    assert "expense-triage may use no preset at present." in refusal.message
    assert refusal.hint.startswith("Ask dana@example.com")


def test_an_unknown_version_lists_those_that_exist():
    refusal = refusal_of(a_registry(*SUMMARISE), an_app(), "summarise@9")

    assert refusal.code == "model_not_found"
    assert "has no version 9; its versions are: 1, 2, 3." in refusal.message
    assert refusal.hint == "Write 'summarise' for the newest approved version."


def test_an_unknown_version_of_drafts_alone_lists_none():
    registry = a_registry(a_preset(status="draft"), a_preset(name="classify"))

    refusal = refusal_of(registry, an_app(presets=("classify",)), "summarise@9")

    assert "its versions are: none that is approved." in refusal.message
    assert refusal.hint.startswith("Put 'classify'")


@pytest.mark.parametrize(
    ("listed", "model"),
    [
        (("classify",), "summarise"),
        (("classify",), "summarise@2"),
        (("classify", "summarise@2"), "summarise@3"),
        (("classify",), "summarise@4"),
    ],
)
def test_a_preset_that_the_app_is_not_listed_for_is_not_allowed(listed, model):
    registry = a_registry(*SUMMARISE, a_preset(name="classify"))

    refusal = refusal_of(registry, an_app(presets=listed), model)

    assert (refusal.code, refusal.status) == ("preset_not_allowed", 403)
    assert refusal.message.startswith(
        f"The app expense-triage may not use the preset {model}. expense-triage may use: "
    )


def test_a_draft_is_for_nobody():
    refusal = refusal_of(a_registry(*SUMMARISE), an_app(), "summarise@4")

    assert refusal.code == "preset_not_allowed"
    assert refusal.message.startswith("The preset summarise@4 is a draft: nobody may use it before it is approved.")
    assert refusal.hint == "Ask coe@example.com, who owns the preset, when it will be approved."


def test_a_name_with_drafts_alone_is_a_draft():
    refusal = refusal_of(a_registry(a_preset(status="draft")), an_app(), "summarise")

    assert "summarise@1 is a draft" in refusal.message


def test_usable_presets_are_what_each_name_resolves_to():
    registry = a_registry(
        *SUMMARISE,
        a_preset(name="classify"),
        a_preset(name="letters", status="retired", successor="classify@1"),
        a_preset(name="plans", status="draft"),
        a_preset(name="translate"),
    )
    app = an_app(presets=("summarise@2", "letters", "plans", "classify"))

    assert [preset.id for preset in usable_presets(registry, app, today=TODAY)] == ["classify@1", "summarise@2"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("summarise", ("summarise", None)),
        ("summarise@2", ("summarise", 2)),
        ("summarise@02", ("summarise@02", None)),
        ("summarise@latest", ("summarise@latest", None)),
        ("a@b@2", ("a@b@2", None)),
        ("@2", ("@2", None)),
        ("summarise@٢", ("summarise@٢", None)),
        ("summarise@9999999999", ("summarise@9999999999", None)),
    ],
)
def test_only_name_at_version_has_a_version(model, expected):
    assert split_model_name(model) == expected
