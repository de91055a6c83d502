"""Limits of several scopes, time zones, and who approves overage: what the file may say."""

import pytest

from llmguard.domain.catalog import OveragePolicy, Quota, QuotaScope
from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, as_source


def check(document):
    return check_source(as_source(document), file="registry.yaml", profiles=PROFILES, accepted={})


def texts(document):
    return [str(finding).split(": ", 1)[1] for finding in check(document).findings]


def a_document_with(**sections):
    return a_document() | sections


def the_app(document):
    checked = check(document)
    assert checked.findings == ()
    return checked.registry.apps["expense-triage"]


def test_an_app_without_shared_limits_has_one_scope_in_utc():
    app = the_app(a_document())
    assert app.scopes == (QuotaScope("app", "expense-triage", Quota(tokens_per_day=200_000, time_zone="UTC")),)


def test_limits_of_owner_and_cost_center_count_for_their_apps():
    quotas = {
        "owners": {"dana@example.com": {"usd_per_month": 100}},
        "cost_centers": {"4711": {"tokens_per_day": 1_000_000, "time_zone": "Europe/Berlin"}},
    }

    app = the_app(a_document_with(quotas=quotas))

    assert app.shared == (
        QuotaScope("owner", "dana@example.com", Quota(nano_usd_per_month=100_000_000_000)),
        QuotaScope("cost_center", "4711", Quota(tokens_per_day=1_000_000, time_zone="Europe/Berlin")),
    )
    assert [scope.id for scope in app.scopes] == [
        "app:expense-triage",
        "owner:dana@example.com",
        "cost_center:4711",
    ]


def test_the_time_zone_of_an_app_is_that_of_its_own_limits():
    document = a_document()
    document["apps"]["expense-triage"]["time_zone"] = "America/New_York"
    assert the_app(document).quota.time_zone == "America/New_York"


@pytest.mark.parametrize(
    ("zone", "fix"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("Europe", "did you mean Europe/Rome?"),
        ("../../etc/passwd", "write a name of the IANA list, as in Europe/Berlin, or UTC"),
        ("+01:00", "write a name of the IANA list, as in Europe/Berlin, or UTC"),
    ],
)
def test_a_time_zone_that_does_not_exist_is_found(zone, fix):
    document = a_document()
    document["apps"]["expense-triage"]["time_zone"] = zone

    (found,) = texts(document)

    assert found.startswith(f"apps.expense-triage.time_zone: there is no time zone '{zone}'")
    assert found.endswith(fix)


def test_limits_of_somebody_without_apps_are_found():
    quotas = {"owners": {"dan@example.com": {"usd_per_month": 1}}, "cost_centers": {"4712": {"tokens_per_day": 1}}}

    assert texts(a_document_with(quotas=quotas)) == [
        f"quotas.{place}', so nothing is limited by this; did you mean '{meant}'?"
        for place, meant in (
            ("owners.dan@example.com: no app has the owner 'dan@example.com", "dana@example.com"),
            ("cost_centers.4712: no app has the cost center '4712", "4711"),
        )
    ]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"quotas": {"teams": {}}}, "quotas.teams: unknown setting 'teams'"),
        (
            {"quotas": {"owners": {"dana@example.com": {"usd_per_year": 1}}}},
            "unknown setting 'usd_per_year'; did you mean",
        ),
        ({"quotas": {"cost_centers": {"4711": {"tokens_per_day": 0}}}}, "0 is out of range"),
        ({"overage": {"approvers": {"finance": []}}}, "overage.approvers.finance"),
        ({"overage": {"approvers": {"finance": [" "]}}}, "the text is empty"),
        ({"overage": {"second_approver_above": {"usd": 5}}}, "unknown setting 'usd'"),
        ({"overage": {"longest_days": 0}}, "0 is out of range"),
    ],
)
def test_what_has_the_wrong_form_is_found(sections, words):
    (found,) = texts(a_document_with(**sections))
    assert words in found


def test_who_decides_about_overage_is_read_with_its_bounds():
    overage = {
        "approvers": {"finance": ["fin@example.com", "fay@example.com"]},
        "second_approver_above": {"usd_per_month": 50},
        "longest_days": 31,
    }

    registry = check(a_document_with(overage=overage)).registry

    assert registry.overage == OveragePolicy(
        {"finance": ("fin@example.com", "fay@example.com")}, Quota(nano_usd_per_month=50_000_000_000), 31
    )


@pytest.mark.parametrize("rule", [{"fixed": 100}, {"allowed": [100, 200]}])
def test_an_output_limit_that_is_locked_cannot_be_clamped(rule):
    document = a_document()
    document["presets"][0] |= {"on_quota": "clamp", "parameters": {"max_tokens": rule}}

    (found,) = texts(document)

    assert found.startswith("presets[0].on_quota: max_tokens is locked by")
