"""The section `alerts`: what it may say, and the findings when it says something else."""

import pytest

from llmguard.domain.alerts import AlertPolicy, Webhook
from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, as_source

HOOK = {"url": "https://hooks.example.com/a", "secret_env": "FINANCE_SECRET"}


def check(alerts):
    source = as_source(a_document() | {"alerts": alerts})
    return check_source(source, file="registry.yaml", profiles=PROFILES, accepted={})


def test_without_the_section_the_defaults_count_and_nobody_is_told():
    registry = check_source(as_source(a_document()), file="r", profiles=PROFILES, accepted={}).registry

    assert registry.alerts == AlertPolicy()


def test_the_section_is_read_with_its_units():
    anomaly = {"watch": ["spend"], "minimum_usd": 12.5, "score": 8.0}
    hook = HOOK | {"types": ["limit"], "cost_centers": ["4711"]}
    policy = check(
        {"webhooks": {"finance": hook}, "limit_percents": [90, 50], "minute_limits": "included", "anomaly": anomaly}
    ).registry.alerts

    assert policy.webhooks == (Webhook("finance", HOOK["url"], "FINANCE_SECRET", ("limit",), ("4711",)),)
    assert (policy.percents, policy.minute_limits, policy.expiry_days) == ((50, 90), True, (0, 1, 7, 14))
    assert (policy.anomaly.watch, policy.anomaly.minimum_nano_usd) == (("spend",), 12_500_000_000)


@pytest.mark.parametrize(
    ("alerts", "path", "words"),
    [
        ({"hooks": {}}, "alerts.hooks", "unknown setting 'hooks'"),
        ({"webhooks": {"a": {"url": HOOK["url"]}}}, "alerts.webhooks.a.secret_env", "'secret_env' is missing"),
        ({"webhooks": {"a": HOOK | {"url": "http://hooks.example.com"}}}, "alerts.webhooks.a.url", "plain http"),
        ({"webhooks": {"a": HOOK | {"types": ["limits"]}}}, "alerts.webhooks.a.types[0]", "'limits' is not possible"),
        ({"webhooks": {"a": HOOK | {"cost_centers": ["4712"]}}}, "alerts.webhooks.a.cost_centers[0]", "no app has"),
        ({"limit_percents": [101]}, "alerts.limit_percents[0]", "101 is out of range"),
        ({"anomaly": {"score": 0.5}}, "alerts.anomaly.score", "0.5 is out of range"),
        ({"anomaly": {"minimum_usd": 0}}, "alerts.anomaly.minimum_usd", "budget of 0"),
    ],
)
def test_what_is_wrong_is_found_in_its_place(alerts, path, words):
    [finding] = check(alerts).findings

    assert (finding.path, words in finding.message) == (path, True)


def test_plain_http_is_allowed_to_this_machine_when_it_says_so():
    assert check({"webhooks": {"a": HOOK | {"url": "http://127.0.0.1:9/x", "loopback": "allowed"}}}).findings == ()


def test_a_secret_in_place_of_its_name_is_shown_nowhere():
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"
    findings = check({"webhooks": {"a": HOOK | {"secret_env": secret}}}).findings

    assert findings
    assert secret not in str(findings)
