"""The sections `identity_providers` and `operators`: what they may say, and the findings when they do not."""

import pytest

from llmguard.domain.identity import IdentityProvider
from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, as_source

PROVIDER = {
    "issuer": "https://login.example.com/tenant",
    "audience": "api://llmguard",
    "app_claim": "azp",
    "apps": {"1234-abcd": "expense-triage"},
}
OPERATORS = {
    "issuer": "https://login.example.com/tenant",
    "client_id": "llmguard",
    "client_secret_env": "OIDC_SECRET",
    "roles": {"coe": {"groups": ["llmguard-coe"], "emails": ["Coe@Example.com"]}, "owner": {"groups": ["staff"]}},
}


def check(**sections):
    source = as_source(a_document() | sections)
    return check_source(source, file="registry.yaml", profiles=PROFILES, accepted={})


def test_without_the_sections_nobody_of_the_company_signs_in():
    registry = check().registry

    assert (registry.identity_providers, registry.operators) == ({}, None)


def test_provider_is_read():
    providers = check(identity_providers={"company": PROVIDER}).registry.identity_providers

    apps = {"1234-abcd": "expense-triage"}
    assert providers == {
        "company": IdentityProvider("company", PROVIDER["issuer"], "api://llmguard", ("RS256",), "azp", apps)
    }


def test_roles_go_by_group_or_address_in_any_capitals():
    policy = check(operators=OPERATORS | {"scopes": ["email"]}).registry.operators

    assert policy.roles_of("COE@example.com ", ["staff"]) == {"coe", "owner"}
    assert policy.roles_of(None, ["llmguard-coe"]) == {"coe"}
    assert policy.roles_of("", []) == policy.roles_of("dana@example.com", ["other"]) == frozenset()
    assert (policy.scopes, policy.unverified_email, policy.algorithms) == (("openid", "email"), False, ("RS256",))


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"issuer": "http://login.example.com"}, "issuer", "plain http"),
        ({"issuer": "login.example.com"}, "issuer", "not an http or https URL"),
        ({"algorithms": ["none"]}, "algorithms[0]", "'none' is not possible"),
        ({"algorithms": ["HS256"]}, "algorithms[0]", "'HS256' is not possible"),
        ({"algorithms": []}, "algorithms", ""),
        ({"apps": {"x": "expence-triage"}}, "apps.x", "there is no app"),
        ({"apps": {}}, "apps", ""),
        ({"key": "x"}, "key", "unknown setting"),
    ],
)
def test_what_is_wrong_with_a_provider_is_found_in_its_place(change, path, words):
    [finding] = check(identity_providers={"company": PROVIDER | change}).findings

    assert (finding.path, words in finding.message) == (f"identity_providers.company.{path}", True)


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"roles": {"king": {}}}, "operators.roles.king", "'king' is not possible"),
        ({"roles": {}}, "operators.roles", ""),
        ({"roles": {"coe": {"mails": ["x"]}}}, "operators.roles.coe.mails", "unknown setting"),
        (
            {"client_secret_env": "s3cret-of-the-client"},
            "operators.client_secret_env",
            "not the name of an environment",
        ),
        ({"console_url": "http://llmguard.example.com"}, "operators.console_url", "plain http"),
        ({"unverified_email": "yes"}, "operators.unverified_email", "'yes' is not possible"),
    ],
)
def test_what_is_wrong_with_operators_is_found_in_its_place(change, path, words):
    [finding] = check(operators=OPERATORS | change).findings

    assert (finding.path, words in finding.message) == (path, True)
    assert "s3cret" not in str(finding)


@pytest.mark.parametrize("issuer", ["http://localhost:9400", "http://127.0.0.1:1", "http://[::1]:1"])
def test_plain_http_is_for_this_machine(issuer):
    assert check(identity_providers={"company": PROVIDER | {"issuer": issuer}}).findings == ()


def test_two_providers_that_cannot_be_told_apart_are_found():
    [finding] = check(identity_providers={"one": PROVIDER, "two": PROVIDER}).findings

    assert "one has this issuer and this audience already" in finding.message
