"""The CoE's rules in Rego on a real gateway: denied, noted, reloaded, explained, and tried on what was asked before."""

import json
import re
import shutil
from decimal import Decimal
from textwrap import dedent

import openai
import pytest

from tests.support.gateway import ROOT, Gateway
from tests.support.rego_text import a_rule

PERSONAL = "Please write to Anna Schmidt, anna.schmidt@example.com."
REGISTRY = dedent("""
    version: 1
    providers: {echo: {kind: echo}}
    models:
      echo-1: {provider: echo, target: echo-1, max_sensitivity: restricted, price: {input: 1, output: 4}}
      vectors:
        {provider: echo, target: echo-1, mode: embedding, max_sensitivity: restricted, price: {input: 1, output: 0}}
    presets:
      - name: chat
        version: 1
        status: approved
        owner: coe@example.com
        why: A test needs an answer.
        model: echo-1
        parameters: {temperature: {max: 0.5}, max_tokens: {max: 300}, stop: {allowed: [END]}}
        tools: [look_up]
      - {name: vectors, version: 1, status: approved, owner: coe@example.com, why: Search., model: vectors}
      - {name: other, version: 1, status: approved, owner: coe@example.com, why: Rarely., model: echo-1}
    connectors:
      crm-export: {direction: write, storage: external}
      wiki-read: {direction: read, storage: internal}
    apps:
      exporter:
        {owner: dana@example.com, cost_center: "1", status: approved, ticket: GOV-1, sensitivity: internal,
         connectors: [crm-export], presets: [chat, vectors], quota: {tokens_per_day: 100000}, time_zone: Asia/Kathmandu}
      hr:
        {owner: amal@example.com, cost_center: "1", status: approved, sensitivity: restricted,
         connectors: [wiki-read], presets: [chat], quota: {tokens_per_day: 100000}}
      plain:
        {owner: sam@example.com, cost_center: "2", status: approved, ticket: GOV-3, sensitivity: public,
         connectors: [wiki-read], presets: [chat], quota: {tokens_per_day: 100000}}
""")
NOTE = a_rule('input.preset.name == "chat"', package="note", rule="chats", effect="log", message='"A chat."')


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    shutil.copytree(ROOT / "policies", folder / "policies")
    (folder / "policies" / "note.rego").write_text(NOTE)
    with Gateway(folder, REGISTRY, workers=2) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keys(gateway):
    return {app: gateway.issue_key(app) for app in ("exporter", "hr", "plain")}


def ask(gateway, key, text="Hello", *, path="/v1/chat/completions", **body):
    body = {"model": "chat", "messages": [{"role": "user", "content": text}]} | body
    status, headers, answer = gateway.send("POST", path, json.dumps(body).encode(), key)
    return (
        status,
        headers["x-llmguard-trace-id"],
        json.loads(answer) if not body.get("stream") or status > 200 else None,
    )


def test_personal_data_and_a_connector_that_stores_it_outside_do_not_meet(gateway, keys):
    with (
        openai.OpenAI(base_url=gateway.base_url, api_key=keys["exporter"], max_retries=2) as client,
        pytest.raises(openai.PermissionDeniedError) as refused,
    ):
        client.chat.completions.create(model="chat", messages=[{"role": "user", "content": PERSONAL}], stream=True)

    error = refused.value
    assert error.code == "policy_denied"
    assert "personal data (EMAIL_ADDRESS, PERSON), and crm-export can store it outside" in error.message
    assert error.body["hint"].endswith("The rule external-storage belongs to privacy@example.com.")
    assert ask(gateway, keys["exporter"])[0] == 200
    assert ask(gateway, keys["plain"], PERSONAL)[0] == 200
    embed = {"path": "/v1/embeddings", "model": "vectors", "input": PERSONAL, "messages": None}
    assert ask(gateway, keys["exporter"], **embed)[0] == 403


def test_a_denial_is_explained_and_costs_nothing(gateway, keys):
    status, trace_id, answer = ask(gateway, keys["hr"])

    assert (status, answer["error"]["code"]) == (403, "policy_denied")
    why = json.loads(gateway.get(f"/why/{trace_id}", headers={"accept": "application/json"})[2])
    assert why["what_to_do"].startswith("Enter the approval ticket of the app in registry.yaml.")
    [rule] = why["rules"]
    assert (rule["rule"], rule["owner"]) == ("accountable-app in policies/accountable_apps.rego", "coe@example.com")
    trace = gateway.trace(trace_id)
    assert (trace["status"], trace["request"], trace["provider"], trace["cost_usd"]) == (403, None, None, None)
    assert trace["decision"]["policy"]["microseconds"] > 0
    assert gateway.standing("hr")["tokens_per_day"]["used"] == 0
    pinned = gateway.ask("traces", "show", trace_id, "--pinned")
    assert "absent contains" in pinned["policies"]["accountable_apps.rego"]


def test_what_is_only_noted_is_allowed_traced_and_counted(gateway, keys):
    status, trace_id, _ = ask(gateway, keys["plain"])

    trace = gateway.trace(trace_id)
    assert (status, trace["decision"]["allowed"]) == (200, True)
    assert [(note["rule"], note["effect"]) for note in trace["decision"]["policy"]["reasons"]] == [("chats", "log")]
    metrics = gateway.get("/metrics")[2].decode()
    assert 'llmguard_policy_reasons_total{effect="log",rule="chats"}' in metrics
    assert "llmguard_policy_seconds_count" in metrics


def test_a_new_rule_comes_into_force_in_every_worker_and_a_broken_one_never(gateway, keys):
    def statuses():
        return {ask(gateway, keys["plain"])[0] for _ in range(6)}

    def rules_in_force():  # each worker tells; six requests may all come to one of the two
        return len(re.findall("the policies .* are in force", gateway.log.read_text()))

    before = rules_in_force()
    file = gateway.folder / "policies" / "night.rego"
    file.write_text(a_rule('input.app.name == "plain"', package="night", rule="not-today", message='"Not today."'))
    gateway.wait_until(lambda: rules_in_force() == before + 2)
    assert statuses() == {403}
    message = ask(gateway, keys["plain"])[2]["error"]["message"]
    file.write_text(a_rule('input.app.nam == "plain"', package="night"))
    finding = "policies/night.rego:4:2: there is no input.app.nam; did you mean input.app.name?"
    gateway.wait_until(lambda: gateway.log.read_text().count(finding) == 2)  # told once by each worker
    still = statuses()
    file.unlink()
    gateway.wait_until(lambda: rules_in_force() == before + 4)

    assert (message, still, statuses()) == ("Not today.", {403}, {200})


def test_a_change_is_tried_on_what_was_asked_before(gateway, keys, tmp_path):
    key, picture = keys["plain"], [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    tool = {"type": "function", "function": {"name": "look_up"}}
    secret = "4915112345678"
    asked = [
        ask(gateway, key, PERSONAL, temperature=0.9),
        ask(gateway, key, tools=[tool, {"type": "function", "function": {"name": f"call_{secret}"}}]),
        ask(gateway, key, stop=secret, seed=int(secret)),
        ask(gateway, key, stop="END", tools=[tool], stream=True),
        ask(gateway, key, messages=[{"role": "user", "content": picture}]),
        ask(gateway, key, model="other"),
        ask(gateway, key, model=f"unknown-{secret}"),
        ask(gateway, keys["hr"], temperature=0.2),
        ask(gateway, keys["exporter"], PERSONAL),
    ]
    assert [status for status, _, _ in asked] == [400, 400, 400, 200, 400, 403, 404, 403, 403]
    changed = tmp_path / "registry.yaml"
    changed.write_text(
        REGISTRY.replace(
            "status: approved, sensitivity: restricted", "status: approved, ticket: GOV-9, sensitivity: restricted"
        )
        .replace("storage: external}", "storage: external, encrypted: true, approved: GOV-7}")
        .replace("presets: [chat]", "presets: [chat, other]", 2)
        .replace("ticket: GOV-3, sensitivity: public", "ticket: GOV-3, sensitivity: confidential")
    )
    rules = tmp_path / "policies"
    shutil.copytree(gateway.folder / "policies", rules)
    (rules / "plain.rego").write_text(
        a_rule('input.app.name == "plain"\ninput.request.stream', package="plain", rule="no-streams")
    )

    same = gateway.ask("policy", "try", str(gateway.registry), "--since", "1d")
    tried = gateway.ask("policy", "try", str(changed), "--since", "1d")

    requests = sum(row["requests"] for row in same["apps"])
    left_out = {"no preset has the name that it asked for": 1}
    assert same["undecided"] == left_out
    assert {row["rule"] for row in same["reasons"]} <= {"not-today"}  # in force in an earlier test, and gone since
    assert same["decided_as_stored"] == requests - 1
    rows = {row["app"]: row for row in tried["apps"]}
    reasons = {(row["app"], row["change"], row["code"], row["rule"]): row["requests"] for row in tried["reasons"]}
    assert reasons[("plain", "newly_refused", "policy_denied", "no-streams")] == rows["plain"]["newly_refused"] == 1
    further = "it was refused before its text was looked at, and would now get further"  # it may use `other` now
    assert tried["undecided"] == left_out | {further: 1}
    assert reasons[("hr", "newly_allowed", "policy_denied", "accountable-app")] == rows["hr"]["newly_allowed"] > 0
    assert reasons[("exporter", "newly_allowed", "policy_denied", "external-storage")] > 0
    assert rows["exporter"]["newly_refused"] == 0
    [streamed] = [gateway.trace(trace_id) for status, trace_id, _ in asked if status == 200]
    assert Decimal(rows["plain"]["newly_refused_cost_usd"]) == Decimal(streamed["cost_usd"]) > 0
    assert Decimal(rows["exporter"]["newly_allowed_cost_usd"]) > 0
    assert secret.encode() not in gateway.every_byte()
