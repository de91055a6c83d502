"""The section `replay`: who may replay live, on which budget, and older presets for it."""

import pytest

from llmguard.domain.catalog import Quota, ReplayPolicy
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.build import pinned_preset
from llmguard.registry.check import check_source
from llmguard.registry.yaml_text import read_yaml
from tests.support.builders import a_model
from tests.support.registries import PROFILES, a_document, a_preset_entry, as_source


def check(document):
    return check_source(as_source(document), file="registry.yaml", profiles=PROFILES, accepted={})


def with_replay(replay):
    return a_document() | {"replay": replay}


def test_without_the_section_nobody_may_replay_live():
    replay = check(a_document()).registry.replay

    assert replay == ReplayPolicy()
    assert replay.account("ana@example.com") is None


def test_a_responder_is_an_account_that_no_app_can_have():
    document = with_replay({"cost_center": "9000", "responders": {"ana@example.com": {"usd_per_month": 5}}})
    document["apps"]["responder:ana@example.com"] = document["apps"]["expense-triage"]

    [finding] = check(document).findings
    assert "cannot be a name" in finding.message
    del document["apps"]["responder:ana@example.com"]
    account = check(document).registry.replay.account("ana@example.com")

    assert (account.name, account.owner, account.cost_center) == (
        "responder:ana@example.com",
        "ana@example.com",
        "9000",
    )
    assert account.quota == Quota(nano_usd_per_month=5_000_000_000)
    assert [scope.id for scope in account.scopes] == ["app:responder:ana@example.com"]


@pytest.mark.parametrize(
    ("replay", "path"),
    [
        ({"responders": {"a@example.com": {}}}, "replay.cost_center"),
        ({"cost_center": "1", "responders": {}}, "replay.responders"),
        ({"cost_center": "1", "responders": {"a": {"usd": 1}}}, "replay.responders.a.usd"),
        ({"cost_center": "1", "responders": {"a": {}}, "budget": 1}, "replay.budget"),
    ],
    ids=["no cost center", "nobody", "unknown limit", "unknown setting"],
)
def test_what_is_wrong_is_found_in_its_place(replay, path):
    [finding] = check(with_replay(replay)).findings

    assert finding.path == path


def test_an_older_preset_comes_from_its_own_registry_with_a_model_of_today(tmp_path):
    accepted = AcceptedRegistries(tmp_path / "registry")
    document = a_document() | {"presets": [a_preset_entry(system="Be short.", fallbacks=["gpt-4o-mini"])]}
    older = check(document).registry
    accepted.accept(older, as_source(document))
    content, today = accepted.content(older.digest), a_model(name="new")

    preset = pinned_preset(content, "summarise@1", "d" * 64, today)

    assert content == read_yaml(as_source(document).decode())
    assert (preset.system, preset.model, preset.fallbacks, preset.digest) == ("Be short.", today, (), "d" * 64)
    assert pinned_preset(content, "summarise@2", "d" * 64, today) is None


def test_a_registry_that_is_not_what_it_was_counts_as_not_kept(tmp_path):
    accepted = AcceptedRegistries(tmp_path / "registry")
    registry = check(a_document()).registry
    accepted.accept(registry, as_source(a_document()))
    kept = tmp_path / "registry" / f"{registry.digest}.yaml"
    kept.write_text(kept.read_text().replace("0.3", "0.9"))

    assert accepted.content(registry.digest) == {}
    assert accepted.content("0" * 64) == {}
