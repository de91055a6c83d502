"""Secrets in a registry file: found wherever they stand, and never shown."""

import pytest

from llmguard.registry.check import check_source
from tests.support.registries import CONTRACT, PROFILES, a_document, as_source


def check(text):
    source = text if isinstance(text, bytes) else text.encode()
    return check_source(source, file="registry.yaml", profiles=PROFILES, accepted={})


# The secrets are put together here, so that no scanner takes this file for a leak.
SECRETS = {
    "openai": "sk-" + "proj-Ab3dEf6hIj9kLm2nOp5q",
    "short": "sk-" + "abc123def456",
    "llmguard": "sk-lg_" + "k3yId00001_Zx8Yw7Vu6Ts5Rq4Po3",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE"[:16].replace("0", "2").replace("1", "3").replace("8", "4"),
    "google": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "github": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "slack": "xoxb-" + "1234567890-abcdefghij",
    "stripe": "sk_live_" + "a1b2c3d4e5f6g7h8i9j0",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWJ5dGVz",
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "url": "https://dana:" + "hunter2-hunter2@example.com/v1",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("place", ["api_key", "api_key_env", "base_url", "why", "comment", "key", "model", "syntax"])
def test_a_secret_is_a_finding_that_never_shows_it(secret, place):
    quoted = f'"{secret}"'
    text = {
        "api_key": CONTRACT.replace("api_key_env: OPENAI_API_KEY", f"api_key: {quoted}"),
        "api_key_env": CONTRACT.replace("OPENAI_API_KEY", quoted),
        "base_url": CONTRACT.replace("https://api.openai.com/v1", quoted),
        "why": CONTRACT.replace("why: Short summaries need little invention.", f"why: {quoted}"),
        "comment": CONTRACT.replace("# embedded, deterministic", f"# {secret}"),
        "key": CONTRACT.replace("    ticket: GOV-118", f"    {quoted}: GOV-118"),
        "model": CONTRACT.replace("model: gpt-4o-mini", f"model: {quoted}"),
        "syntax": CONTRACT.replace("model: gpt-4o-mini", f"model: {quoted}: {quoted} : ["),
    }[place]

    checked = check(text)

    found = [finding for finding in checked.findings if "looks like a secret" in finding.message]
    assert found, checked.findings
    assert secret in text.splitlines()[found[0].line - 1]
    assert all(secret not in f"{finding!r} {finding}" for finding in checked.findings)


def test_an_unknown_setting_that_would_hold_a_secret_shows_no_value_and_names_the_right_one():
    document = a_document()
    document["providers"]["openai"]["api_key"] = "correct horse battery staple"

    (finding,) = check(as_source(document)).findings

    assert "battery" not in repr(finding)
    assert finding.fix.startswith("did you mean 'api_key_env'?")


def test_a_secret_is_located_at_the_setting_that_holds_it():
    text = CONTRACT.replace("GOV-118", SECRETS["github"])

    (finding,) = check(text).findings

    assert (finding.path, finding.line) == ("apps.expense-triage.ticket", 34)
