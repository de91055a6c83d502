"""An app runs out of quota, asks for more, and somebody else decides; through the real client and the command line."""

import json
import time
from datetime import UTC, datetime

import openai
import pytest

from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry

LIMIT = 260
OVERAGE = """
overage:
  approvers: {finance: [fin@example.com]}
  second_approver_above: {tokens_per_day: 5000}
quotas:
  cost_centers: {"4711": {tokens_per_month: 100000, time_zone: Europe/Berlin}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    registry = a_registry(quota=f"{{tokens_per_day: {LIMIT}}}") + OVERAGE
    registry = registry.replace(
        "redaction: standard\n    on_violation: clamp", "redaction: standard\n    on_quota: clamp"
    )
    with Gateway(tmp_path_factory.mktemp("overage"), registry) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(gateway):
    key = gateway.issue_key("helpdesk")
    with openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
        yield client


def say(client, preset, words):
    message = {"role": "user", "content": "word " * words}
    return client.chat.completions.with_raw_response.create(model=preset, messages=[message])


def refused(client):
    with pytest.raises(openai.RateLimitError) as caught:
        say(client, "echo", 1)
    assert caught.value.code == "insufficient_quota"
    return caught.value


def overage_of(client):
    return client.get("/me/overage", cast_to=object)["data"]


def test_out_of_quota_asks_is_approved_by_somebody_else_passes_and_ends(gateway, client):
    clamped = say(client, "clamped", 60)  # the first takes what it needs; the rest is what the next may use
    while "x-llmguard-adjusted" not in clamped.headers:
        clamped = say(client, "clamped", 60)
    assert clamped.headers["x-llmguard-adjusted"] == "max_tokens"
    assert int(clamped.headers["x-ratelimit-remaining-tokens"]) == 0
    shown = ("traces", "show", clamped.headers["x-llmguard-trace-id"])
    gateway.wait_until(lambda: gateway.run(*shown).returncode == 0)
    trace = gateway.ask(*shown)
    assert trace["decision"]["clamped_to_quota"] == "max_tokens"
    assert trace["decision"]["adjusted"] == ["max_tokens"]
    assert 16 <= trace["request"]["max_tokens"] < 100

    refusal = refused(client)
    assert "`llmguard overage request helpdesk tokens_per_day" in refusal.body["hint"]
    asked = client.post(
        "/me/overage",
        cast_to=object,
        body={"limit": "tokens_per_day", "amount": 1000, "reason": "Anna Schmidt (anna.schmidt@example.com) waits."},
    )
    assert asked["state"] == "open"

    own = gateway.run("overage", "approve", asked["id"], "--as", "dana@example.com", "--until", "1d")
    assert (own.returncode, "Nobody approves their own request." in own.stderr) == (1, True)
    refused(client)

    approved = gateway.ask("overage", "approve", asked["id"], "--as", "fin@example.com", "--until", "10s")
    ends_at = datetime.fromisoformat(approved["ends_at"])
    assert approved["state"] == "approved"
    assert "anna.schmidt" not in approved["reason"]
    assert say(client, "echo", 1).status_code == 200
    me = client.get("/me", cast_to=object)
    assert [(grant["limit"], grant["amount"]) for grant in me["grants"]] == [("tokens_per_day", "1000")]
    assert [(row["scope"], row["limit"], row["granted"]) for row in me["quota"]] == [
        ("app", LIMIT + 1000, 1000),
        ("cost_center", 100_000, 0),
    ]

    time.sleep(max(0, (ends_at - datetime.now(UTC)).total_seconds()))
    refused(client)
    [seen] = overage_of(client)
    assert (seen["state"], "reason" in seen) == ("ended", False)
    written = gateway.every_byte()
    assert b"anna.schmidt" not in written


def test_a_request_that_makes_no_sense_is_refused_in_the_usual_shape(client):
    for body in ({"limit": "tokens_per_year"}, {"limit": "tokens_per_day", "amount": "x", "reason": "y"}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.post("/me/overage", cast_to=object, body=body)
        assert caught.value.code == "invalid_request"


def test_a_stranger_may_not_ask(gateway):
    status, _, body = gateway.send("POST", "/v1/me/overage", b"{}", "sk-lg_wrong")
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
