"""Who has nothing left is refused before redaction, like after it, and never where the ledger would have granted."""

from dataclasses import replace
from datetime import timedelta

import pytest

from llmguard.domain.clock import SystemClock
from llmguard.quota.overage import Ask
from tests.support.builders import a_preset, a_quota, an_app
from tests.support.finder import PatternFinder
from tests.support.served import Served, a_small_registry

ORDINARY = "word " * 20
LONG = "word " * 3_000
USED_UP = {
    "requests": {"requests_per_minute": 1},
    "tokens": {"tokens_per_day": 4_130},
    "money": {"nano_usd_per_month": 2_700_000},
}


@pytest.fixture
def finder():
    return PatternFinder()


def code(answer):
    status, _, body = answer
    return status if status == 200 else body["error"]["code"]


def use_up(served, finder):
    """Ask until it is refused after redaction, and return that refusal."""
    while True:
        finder.read.clear()
        answer = served.ask(ORDINARY)
        if code(answer) != 200:
            assert finder.read
            finder.read.clear()
            return answer


def stays(answer):
    """Return what is the same in two refusals of one reason: all but ids, and what the clock tells."""
    status, headers, body = answer
    told = {name: value for name, value in headers.items() if name.startswith("x-ratelimit") and "reset" not in name}
    told["x-should-retry"] = headers.get("x-should-retry")
    return status, told, "retry-after" in headers, [body["error"][name] for name in ("message", "code", "hint", "type")]


@pytest.mark.parametrize("quota", USED_UP.values(), ids=USED_UP)
def test_the_second_refusal_is_like_the_first_and_costs_no_redaction(tmp_path, finder, quota):
    with Served(tmp_path, registry=a_small_registry(quota=a_quota(**quota)), finder=finder) as served:
        first = use_up(served, finder)
        second = served.ask(ORDINARY)
        traces = served.reader.list(limit=2)

    assert stays(first) == stays(second)
    assert finder.read == []
    told = ("status", "code", "app", "preset", "request", "cost_usd", "input_tokens", "provider")
    assert {name: traces[0].get(name) for name in told} == {name: traces[1].get(name) for name in told}


def test_a_limit_that_is_raised_counts_for_the_very_next_request(tmp_path, finder):
    with Served(tmp_path, registry=a_small_registry(quota=a_quota(requests_per_minute=1)), finder=finder) as served:
        use_up(served, finder)
        served.services.registry = a_small_registry(quota=a_quota(requests_per_minute=9))

        assert [code(served.ask(ORDINARY)) for _ in range(2)] == [200, 200]


def test_what_was_granted_on_top_counts_for_the_very_next_request(tmp_path, finder):
    registry = a_small_registry(quota=a_quota(tokens_per_day=4_200))
    with Served(tmp_path, registry=registry, finder=finder) as served:
        use_up(served, finder)
        gate = served.services.overage
        asked = gate.request(
            Ask(registry.apps["expense-triage"], "app", "tokens_per_day", 9_000, "Quarter.", "kim@example.com")
        )
        until = SystemClock().now() + timedelta(days=1)
        gate.approve(registry, asked.id, "dana@example.com", amount=None, ends_at=until)

        assert code(served.ask(ORDINARY)) == 200


def test_less_than_was_asked_for_is_granted_where_the_preset_says_so(tmp_path, finder):
    preset = a_preset(redaction="standard", on_quota="clamp")
    app = an_app(quota=a_quota(tokens_per_day=2_000))
    registry = replace(a_small_registry(), presets={preset.name: (preset,)}, apps={app.name: app})
    with Served(tmp_path, registry=registry, finder=finder) as served:
        assert code(served.ask(LONG)) == "insufficient_quota"  # its text alone is more than is left
        status, headers, _ = served.ask(ORDINARY)

    assert (status, headers["x-llmguard-adjusted"]) == (200, "max_tokens")


def test_a_shorter_request_passes_after_a_longer_one_was_refused(tmp_path, finder):
    with Served(tmp_path, registry=a_small_registry(quota=a_quota(tokens_per_day=5_000)), finder=finder) as served:
        assert code(served.ask(LONG)) == "insufficient_quota"
        assert code(served.ask(ORDINARY)) == 200
