"""A limit fills through a real gateway, and a receiver is told once, signed."""

import json

import openai
import pytest

from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry
from tests.support.signatures import is_signed
from tests.support.webhook_receiver import SECRET, Receiver

LIMIT = 3000
LEAKY = """
  leaky:
    owner: dana@example.com
    backup_owner: kim@example.com
    ticket: GOV-2
    connectors: [wiki-write]
    support: business-hours
    runbook: https://wiki.example.com/apps
    cost_center: "4711"
    status: approved
    expires: 2099-12-31
    sensitivity: internal
    presets: [echo]
    quota: {requests_per_minute: 1000}
"""
PLANTED = [{"role": "user", "content": "Post to the wiki: the SSN of Anna Schmidt is 536-90-4399."}]


def with_alerts(receiver):
    lines = (
        "alerts:",
        "  webhooks:",
        f"    ops: {{url: '{receiver.url}', secret_env: OPS_SECRET, loopback: allowed,",
        "          types: [limit, overage, containment]}",
        "  limit_percents: [80]",
        "",
    )
    registry = a_registry(quota=f"{{requests_per_minute: 1000, tokens_per_day: {LIMIT}}}")
    return registry.replace("\nreplay:", LEAKY + "replay:") + "\n".join(lines)


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, receiver):
    folder = tmp_path_factory.mktemp("alerts")
    with Gateway(folder, with_alerts(receiver), workers=2, environ={"OPS_SECRET": SECRET}) as gateway:
        yield gateway


def test_at_80_percent_of_a_daily_limit_a_receiver_is_told_once_and_signed(gateway, receiver):
    with openai.OpenAI(base_url=gateway.base_url, api_key=gateway.issue_key("helpdesk"), max_retries=0) as client:
        used = 0
        while used < LIMIT * 0.8:
            message = {"role": "user", "content": "Anna Schmidt writes " + "word " * 100}
            used += client.chat.completions.create(model="echo", messages=[message]).usage.total_tokens
        [posted] = receiver.wait_for(1)
        client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "Hi"}])

    event = json.loads(posted.body)
    assert is_signed(posted, SECRET)
    assert (event["specversion"], event["type"], event["subject"]) == (
        "1.0",
        "com.llmguard.limit.reached",
        "app:helpdesk",
    )
    assert event["id"] == posted.headers["webhook-id"]
    assert posted.headers["content-type"].startswith("application/cloudevents+json")
    assert event["data"]["threshold_percent"] == 80
    assert int(event["data"]["used"]) >= LIMIT * 0.8
    assert b"Anna" not in posted.body

    tested = gateway.ask("alerts", "test", "ops")
    assert [row["delivered"] for row in tested] == [True]
    receiver.wait_for(2)
    [listed] = gateway.ask("alerts", "list")
    assert listed["id"] == event["id"]
    gateway.wait_until(lambda: gateway.ask("alerts", "list")[0]["deliveries"]["ops"]["state"] == "delivered")
    assert gateway.ask("alerts", "dead") == []
    assert [one["type"] for one in map(json.loads, (posted.body for posted in receiver.received))] == [
        "com.llmguard.limit.reached",
        "com.llmguard.test",
    ]
    written = gateway.every_byte()
    assert (SECRET.encode() in written, b"in-the-url" in gateway.log.read_bytes()) == (False, False)


def test_a_step_of_the_overage_gate_is_told_without_its_reason(gateway, receiver):
    before = len(receiver.received)
    words = ("--reason", "Month-end closing of Ms Novak")
    asked = gateway.ask("overage", "request", "helpdesk", "tokens_per_day", "500", *words)

    posted = receiver.wait_for(before + 1)[-1]

    event = json.loads(posted.body)
    assert (event["type"], event["data"]["request_id"]) == ("com.llmguard.overage.requested", asked["id"])
    assert is_signed(posted, SECRET)
    assert b"Novak" not in posted.body


def test_leak_drill_ends_with_the_next_request_refused_by_every_worker(gateway, receiver):
    before = len(receiver.received)
    key = gateway.issue_key("leaky")
    with openai.OpenAI(base_url=gateway.base_url, api_key=key) as client:
        planted = client.chat.completions.with_raw_response.create(model="echo", messages=PLANTED)
    gateway.wait_until(lambda: gateway.traces("--app", "leaky", "--entity", "US_SSN"))

    audit = gateway.ask("leak", "audit", "--connector", "wiki-write", "--since", "1h")
    assert "leaky" in [one["app"] for one in audit["writers"]]
    assert [(one["app"], one["entities"]) for one in audit["traces"]] == [("leaky", ["PERSON", "US_SSN"])]
    assert audit["traces"][0]["trace_id"] == planted.headers["x-llmguard-trace-id"]

    contained = gateway.ask("contain", "leaky", "--reason", "The wiki shows SSNs.", "--as", "ana@example.com")
    gateway.wait_until(lambda: refusals(gateway, key, 30) == {(401, "key_revoked")})

    assert contained["evidence"]["with_findings"] == 1
    assert contained["evidence"]["last_trace"] == planted.headers["x-llmguard-trace-id"]
    told = json.loads(receiver.wait_for(before + 1)[-1].body)
    assert (told["type"], told["subject"]) == ("com.llmguard.containment.contained", "app:leaky")
    assert (told["data"]["owner"], told["data"]["backup_owner"]) == ("dana@example.com", "kim@example.com")
    assert "SSNs" not in receiver.received[-1].body.decode()

    late = gateway.ask("keys", "issue", "leaky")["key"]  # a key of later lets nobody in either
    gateway.wait_until(lambda: refusals(gateway, late, 10) == {(403, "app_suspended")})

    gateway.ask("contain", "leaky", "--lift", "--reason", "The wiki is mended.", "--as", "coe@example.com")
    gateway.wait_until(lambda: gateway.get("/v1/me", late)[0] == 200)
    assert gateway.get("/v1/me", key)[0] == 401


def refusals(gateway, key, count):
    return {refusal_of_a_new_connection(gateway, key) for _ in range(count)}


def refusal_of_a_new_connection(gateway, key):
    """Ask over a connection of its own, so that any worker may get it; return status and code."""
    status, _, body = gateway.get("/v1/me", key)
    return status, json.loads(body).get("error", {}).get("code")
