"""Versions are immutable: what was accepted under `name@version` stays what it is."""

import pytest

from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, a_preset_entry, as_source


def check(document, accepted=None):
    return check_source(as_source(document), file="registry.yaml", profiles=PROFILES, accepted=accepted or {})


@pytest.fixture
def pinned():
    """What accepting the valid document pins."""
    return {"summarise@1": check(a_document()).registry.presets["summarise"][0].digest}


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"temperature": {"min": 0, "max": 0.4, "default": 0.1}}},
        {"parameters": {}},
        {"model": "gpt-4o-mini"},
        {"fallbacks": ["gpt-4o-mini"]},
        {"system": "Be brief."},
        {"tools": "allowed"},
        {"tools": ["lookup"]},
        {"images": "allowed"},
        {"redaction": "strict"},
        {"response": {"filters": ["no_secrets"]}},
        {"on_violation": "clamp"},
        {"on_quota": "clamp"},
        {"system": "Be brief.", "status": "draft"},
    ],
    ids=" ".join,
)
def test_an_accepted_version_that_behaves_differently_is_found(pinned, changes):
    document = a_document()
    document["presets"] += [a_preset_entry(version=2)]
    document["presets"][0] |= changes

    (finding,) = check(document, pinned).findings

    assert finding.message.startswith("summarise@1 was approved with other content, and versions are immutable")
    assert finding.fix == "put it back as it was, and add the change as a new entry with version: 3"
    assert (finding.path, finding.value) == ("presets[0]", "summarise@1")


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "deprecated", "sunset": "2027-01-01"},
        {"status": "retired", "successor": "summarise@2"},
        {"status": "draft"},
        {"owner": "lee@example.com", "why": "Because."},
        {"tools": "forbidden", "images": "forbidden", "redaction": "standard", "on_violation": "refuse"},
        {"on_quota": "refuse"},
        {"fallbacks": [], "response": {"filters": []}},
        {"response": {}},
        {"parameters": {"temperature": {"default": 0.1, "max": 0.3, "min": 0.0}}},
    ],
    ids=" ".join,
)
def test_what_does_not_decide_behaviour_may_change(pinned, changes):
    document = a_document()
    document["presets"] += [a_preset_entry(version=2)]
    document["presets"][0] |= changes

    assert check(document, pinned).findings == ()


@pytest.mark.parametrize(
    ("section", "name", "changes"),
    [
        ("models", "echo-1", {"target": "echo-2"}),
        ("models", "echo-1", {"provider": "second"}),
        ("providers", "echo", {"kind": "litellm"}),
    ],
)
def test_an_accepted_version_may_not_come_to_mean_another_target(pinned, section, name, changes):
    document = a_document()
    document["providers"]["second"] = {"kind": "echo"}
    document[section][name] |= changes

    assert "versions are immutable" in check(document, pinned).findings[0].message


@pytest.mark.parametrize(
    ("section", "name", "changes"),
    [
        ("models", "echo-1", {"price": {"input": 9, "output": 9}}),
        ("models", "echo-1", {"max_sensitivity": "public"}),
        ("providers", "echo", {"max_retries": 5}),
    ],
)
def test_operations_may_change_under_an_accepted_version(pinned, section, name, changes):
    document = a_document()
    document[section][name] |= changes

    assert check(document, pinned).findings == ()


def test_a_provider_may_move_under_an_accepted_version():
    document = a_document()
    document["presets"][0]["model"] = "gpt-4o-mini"
    before = {"summarise@1": check(document).registry.presets["summarise"][0].digest}
    document["providers"]["openai"]["base_url"] = "http://127.0.0.1:9999/v1"

    assert check(document, before).findings == ()


def test_a_changed_version_is_found_together_with_other_findings(pinned):
    document = a_document()
    document["presets"][0]["system"] = "Be brief."
    document["apps"]["expense-triage"]["owner"] = 5

    assert [finding.path for finding in check(document, pinned).findings] == [
        "presets[0]",
        "apps.expense-triage.owner",
    ]


def test_a_changed_version_with_an_unknown_model_is_one_finding(pinned):
    document = a_document()
    document["presets"][0]["model"] = "gone"

    assert [finding.path for finding in check(document, pinned).findings] == ["presets[0].model"]


def test_drafts_may_change():
    document = a_document()
    document["presets"][0] |= {"status": "draft", "system": "Be brief."}

    assert check(document, {}).findings == ()


def test_an_accepted_version_that_nobody_uses_may_go(pinned):
    document = a_document()
    document["presets"] = [a_preset_entry(version=2, system="Be brief.")]

    assert check(document, pinned).findings == ()


def test_an_accepted_version_that_an_app_uses_may_not_go(pinned):
    document = a_document()
    document["presets"] = []

    assert [finding.path for finding in check(document, pinned).findings] == ["apps.expense-triage.presets[0]"]
