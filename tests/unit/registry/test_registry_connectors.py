"""Connectors, and how the rules in policies/ are evaluated, as registry.yaml says it."""

import pytest

from llmguard.domain.catalog import Connector, PolicySettings
from llmguard.registry.check import check_source
from tests.support.registries import PROFILES

REGISTRY = """
version: 1
providers: {{echo: {{kind: echo}}}}
models: {{echo-1: {{provider: echo, target: echo-1, max_sensitivity: public, price: {{input: 0, output: 0}}}}}}
presets: [{{name: chat, version: 1, status: approved, owner: o, why: w, model: echo-1}}]
apps:
  helpdesk:
    {{owner: o, cost_center: c, status: approved, sensitivity: public, presets: [chat], quota: {{}}, connectors: [crm]}}
{more}
"""


def checked(more=""):
    return check_source(REGISTRY.format(more=more).encode(), file="registry.yaml", profiles=PROFILES, accepted={})


def test_without_the_section_any_connector_may_be_named():
    registry = checked().registry

    assert (registry.connectors, registry.policies) == ({}, PolicySettings())


def test_connectors_are_described():
    registry = checked(
        "connectors: {crm: {direction: write, storage: external, encrypted: true, approved: GOV-1}}"
    ).registry

    assert registry.connectors == {
        "crm": Connector("crm", declared=True, direction="write", storage="external", encrypted=True, approved="GOV-1")
    }


def test_a_remote_opa_is_named_with_the_variable_of_its_token():
    more = "policies: {timeout_seconds: 0.5, opa: {url: 'http://127.0.0.1:8181/', token_env: OPA_TOKEN}}"

    assert checked(more).registry.policies == PolicySettings(0.5, "http://127.0.0.1:8181", "OPA_TOKEN")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("connectors: {cms: {direction: read, storage: none}}", "there is no connector 'crm'; did you mean 'cms'?"),
        ("connectors: {crm: {direction: up, storage: none}}", "connectors.crm.direction: 'up' is not possible"),
        ("connectors: {crm: {storage: none}}", "connectors.crm.direction: "),
        ("connectors: {crm: {direction: read, storage: none, encryptd: true}}", "did you mean 'encrypted'?"),
        ("policies: {timeout_seconds: 0}", "policies.timeout_seconds: 0 is out of range"),
        ("policies: {opa: {url: 'ftp://x'}}", "policies.opa.url: "),
        ("policies: {opa: {url: 'http://x', token_env: secret-value}}", "policies.opa.token_env: "),
    ],
)
def test_slips_are_found(more, words):
    findings = [str(finding) for finding in checked(more).findings]

    assert len(findings) == 1
    assert words in findings[0]
    assert "secret-value" not in findings[0]
