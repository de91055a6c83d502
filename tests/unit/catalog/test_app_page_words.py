"""What the page of an app is made of: how it is, what was refused, the change for git, the first request."""

import json
import shlex
from datetime import date, timedelta

import pytest

from llmguard.catalog.connectors.contract import Contract
from llmguard.catalog.first_request import first_requests
from llmguard.catalog.health import Use, catalog_concerns, key_concerns, quota_concerns, use_concerns, worst
from llmguard.catalog.latest import last_day, latest_refusals
from llmguard.catalog.presets import differences, settings_of, users_of
from llmguard.catalog.registry_change import renewal, state_changes
from llmguard.domain.catalog import ParameterRule
from llmguard.domain.quota import Standing
from llmguard.identity.key_store import Key
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import NOON, a_preset, a_trace, an_app
from tests.support.served import a_small_registry

TODAY = NOON.date()


def levels(concerns):
    return [concern.level for concern in concerns]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"expires": TODAY + timedelta(days=31)}, []),
        ({"expires": TODAY + timedelta(days=30)}, ["care"]),
        ({"expires": TODAY}, ["care"]),
        ({"expires": TODAY - timedelta(days=1)}, ["wrong"]),
        ({"status": "suspended"}, ["wrong"]),
    ],
)
def test_catalog_says_what_is_in_the_way_of_an_app(changes, expected):
    assert levels(catalog_concerns(an_app(**changes), TODAY)) == expected


def a_key(**changes):
    facts = {"rotated_at": None, "revoked_at": None, "expires_at": None, "overlap_until": None}
    return Key("K", "expense-triage", NOON, **(facts | changes))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], ["wrong"]),
        ([a_key(revoked_at=NOON)], ["wrong"]),
        ([a_key(expires_at=NOON)], ["wrong"]),
        ([a_key(expires_at=NOON + timedelta(days=14))], ["care"]),
        ([a_key(expires_at=NOON + timedelta(days=14)), a_key()], []),
        ([a_key(expires_at=NOON + timedelta(days=15))], []),
    ],
)
def test_keys_that_end_are_told_in_time(keys, expected):
    assert levels(key_concerns(keys, NOON)) == expected


@pytest.mark.parametrize(
    ("used", "name", "expected"),
    [
        (79, "tokens_per_day", []),
        (80, "tokens_per_day", ["care"]),
        (100, "usd_per_month", ["wrong"]),
        (100, "requests_per_minute", []),
    ],
)
def test_limits_that_are_nearly_used_up_are_told(used, name, expected):
    concerns = quota_concerns([Standing(name, 100, used - 1, 1, NOON)])

    assert levels(concerns) == expected
    assert all("starts anew" in concern.fix for concern in concerns)


def test_many_faults_are_told_and_the_worst_counts():
    assert levels(use_concerns(Use(100, 5))) == ["care"]
    assert use_concerns(Use(100, 4)) == use_concerns(Use(19, 19)) == []
    assert worst([*use_concerns(Use(100, 5)), *key_concerns([], NOON)]) == "wrong"
    assert worst([]) == "fine"


def test_latest_refusals_are_told_once_a_kind_with_why_and_fix(tmp_path):
    spool = Spool(tmp_path / "spool", "test")
    reason = {
        "code": "parameter_not_allowed",
        "param": "temperature",
        "message": "temperature is too high.",
        "hint": "Lower it.",
    }
    facts = {"app": "expense-triage", "owner": "dana@example.com", "preset": "summarise", "preset_version": 1}
    refused = facts | {"status": 400, "code": "parameter_not_allowed", "decision": {"reasons": [reason]}}
    traces = [
        *(refused | {"started_at": NOON - timedelta(minutes=n)} for n in range(3)),
        facts | {"status": 429, "code": "rate_limit_exceeded", "started_at": NOON - timedelta(hours=1)},
        facts | {"status": 499, "code": "client_disconnected", "started_at": NOON},
        facts | {"status": 502, "code": "provider_error", "started_at": NOON},
        refused | {"app": "another", "started_at": NOON},
    ]
    for number, trace in enumerate(traces):
        spool.append(a_trace(trace_id=f"019aafd0-0000-7000-8000-00000000000{number}", **trace))
    spool.close()
    reader = TraceReader(tmp_path)

    first, second = latest_refusals(reader.query, a_small_registry(), "expense-triage", NOON + timedelta(minutes=1))

    assert (first.times, first.last_at, first.why["what_happened"]) == (3, NOON, "temperature is too high.")
    assert (first.why["what_to_do"], first.why["trace_id"]) == ("Lower it.", "019aafd0-0000-7000-8000-000000000000")
    assert (second.times, second.why["code"]) == (1, "rate_limit_exceeded")
    assert last_day(reader.query, "expense-triage", NOON + timedelta(minutes=1)) == Use(6, 1)


@pytest.mark.parametrize(
    ("status", "titles"),
    [
        ("draft", ["Approve", "Open a sandbox"]),
        ("sandbox", ["Approve", "Suspend"]),
        ("approved", ["Suspend"]),
        ("suspended", ["Approve"]),
        ("retired", []),
    ],
)
def test_change_of_state_is_written_for_git(status, titles):
    changes = state_changes(an_app(status=status))

    assert [change.title for change in changes] == titles
    for change in changes:
        assert change.text.startswith("apps:\n  expense-triage:\n    status: ")
        assert change.text.endswith(f"  # was: {status}\n")


def test_no_change_of_git_is_offered_for_an_app_that_is_stopped():
    stopped = an_app(status="suspended", contained_at=NOON, expires=TODAY)

    assert state_changes(stopped) == []
    assert renewal(stopped, TODAY) is None


def test_renewal_goes_on_a_year_from_the_end_or_from_today():
    assert renewal(an_app(expires=date(2027, 3, 31)), TODAY).after == "expires: 2028-03-31"
    assert renewal(an_app(expires=date(2025, 1, 1)), TODAY).after == "expires: 2027-11-23"
    assert renewal(an_app(expires=date(2028, 2, 29)), TODAY).after == "expires: 2029-02-28"
    assert renewal(an_app(), TODAY) is None


def test_first_requests_name_the_preset_and_hold_no_key():
    preset = a_preset(parameters={"temperature": ParameterRule(minimum=0, maximum=0.3, default=0.1)})
    tools = {
        tool.name: tool
        for tool in first_requests(Contract(an_app(), preset, "summarise", "https://llm.example.com/v1"))
    }

    assert list(tools) == ["OpenAI SDK", "curl", "n8n", "Power Automate"]
    compile(tools["OpenAI SDK"].snippets[0].text, "first_request", "exec")
    words = shlex.split(tools["curl"].snippets[0].text.replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1])["model"] == "summarise"
    assert "https://llm.example.com/v1/chat/completions" in words
    assert json.loads(tools["n8n"].snippets[0].text)["nodes"]
    uri, headers, body = tools["Power Automate"].snippets
    assert uri.text == "https://llm.example.com/v1/chat/completions"
    assert json.loads(headers.text)["Authorization"].startswith("Bearer ")
    assert json.loads(body.text)["messages"]


def test_settings_are_in_words_and_differences_are_those_alone():
    before = a_preset(parameters={"temperature": ParameterRule(minimum=0, maximum=0.7, default=0.3)})
    after = a_preset(
        version=2, parameters={"temperature": ParameterRule(minimum=0, maximum=0.3), "top_p": ParameterRule(fixed=1)}
    )

    assert settings_of(before)["parameter temperature"] == "from 0 to 0.7; 0.3 when it is left out"
    assert [(one.setting, one.before is None) for one in differences(before, after)] == [
        ("parameter temperature", False),
        ("parameter top_p", True),
    ]
    assert differences(before, before) == []


def test_users_are_the_apps_that_a_version_answers_today():
    registry = a_small_registry()
    [preset] = registry.presets["summarise"]

    assert [app.name for app in users_of(registry, preset, TODAY)] == ["expense-triage"]
    assert users_of(a_small_registry(presets=("other",)), preset, TODAY) == []
