"""The CoE's rules over real facts: all reasons at once, remembered by facts, and every failure a denial."""

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from llmguard.domain.catalog import Connector, PolicySettings, Registry, Sensitivity
from llmguard.domain.errors import Fault, Refusal
from llmguard.policy.evaluator import Embedded
from llmguard.policy.facts import example_document, input_document
from llmguard.policy.judge import Policies, request_facts, verdict_of
from llmguard.policy.rego_files import RuleSet
from tests.support.builders import FrozenClock, a_chat_request, a_preset, a_quota, an_app
from tests.support.rego import shipped_files
from tests.support.rego_text import a_rule

SLOW = "count([1 | some i in numbers.range(1, 30000); some j in numbers.range(1, 30000); i * j == 7]) == 99"


def a_registry(**changes):
    facts = {"digest": "a" * 64, "providers": {}, "models": {}, "presets": {}, "apps": {}}
    return Registry(**(facts | changes))


class Judging:
    """Rules in force in a `Policies`; counts how often they are evaluated."""

    def __init__(self, files, *, registry=None, clock=None):
        self.clock = clock or FrozenClock()
        self.registry = registry or a_registry()
        self.evaluated = 0
        self.policies = Policies(self.clock, {"OPA_TOKEN": "secret-token"}.get)
        self._files = files

    async def __aenter__(self):
        rules = RuleSet(self._files)
        embedded = Embedded(rules.files)
        decide = embedded.decide

        async def counted(document, seconds):
            self.evaluated += 1
            return await decide(document, seconds)

        embedded.decide = counted
        await embedded.start()
        self.policies.use(rules, embedded)
        return self

    async def __aexit__(self, *_):
        await self.policies.close()

    async def judge(self, *texts, app=None, entities=None, **changes):
        request = a_chat_request(*texts, **changes)
        return await self.policies.judge(self.registry, app or an_app(), a_preset(), request, entities or {})


def said(judgement):
    return [objection.message for objection in judgement.verdict.objections]


async def test_without_rules_everything_is_allowed():
    judgement = await Policies(FrozenClock()).judge(a_registry(), an_app(), a_preset(), a_chat_request(), {})

    judgement.enforce()
    assert judgement.digest == "builtin-3"
    assert "policy" not in judgement.as_json({})


async def test_all_reasons_are_given_at_once():
    registry = a_registry(connectors={"crm": Connector("crm", declared=True, direction="write")})
    app = an_app(sensitivity=Sensitivity.RESTRICTED, connectors=("crm", "other"))
    async with Judging(shipped_files(), registry=registry) as judging:
        judgement = await judging.judge(app=app, entities={"PERSON": 3})

    with pytest.raises(Refusal) as refused:
        judgement.enforce()
    assert refused.value.code == "policy_denied"
    found, lacking = "The request holds personal data (PERSON), and", "not encrypted and not approved."
    assert said(judgement) == [
        "The app expense-triage handles restricted data and has no approval ticket in the catalog.",
        f"{found} crm can store it outside of the organisation, {lacking}",
        f"{found} other can store it outside of the organisation, {lacking}",
    ]
    kept = judgement.as_json({"model": "summarise"})
    assert kept["allowed"] is False
    assert kept["reasons"][0] == {
        "code": "policy_denied",
        "message": said(judgement)[0],
        "hint": "Enter the approval ticket of the app in registry.yaml. "
        "The rule accountable-app belongs to coe@example.com.",
        "param": None,
        "rule": "accountable-app",
        "owner": "coe@example.com",
        "file": "policies/accountable_apps.rego",
    }
    assert [(note["rule"], note["effect"]) for note in kept["policy"]["reasons"]] == [
        ("external-storage-undeclared", "log")
    ]


async def test_the_same_facts_are_decided_once():
    async with Judging(shipped_files()) as judging:
        first = await judging.judge("x" * 600, entities={"PERSON": 3})
        again = await judging.judge("y" * 1000, entities={"PERSON": 4})
        await judging.judge("y" * 1100, entities={"PERSON": 4})

    assert judging.evaluated == 2
    assert first.verdict is again.verdict


@pytest.mark.parametrize(
    ("change", "times"),
    [({"minutes": 59}, 1), ({"hours": 1}, 2), ({"days": 1}, 2)],
    ids=["same hour", "next hour", "next day"],
)
async def test_time_counts_in_hours(change, times):
    async with Judging(shipped_files()) as judging:
        await judging.judge()
        judging.clock.advance(**change)
        await judging.judge()

    assert judging.evaluated == times


async def test_time_is_that_of_the_app():
    rule = a_rule('input.time.zone == "Asia/Kathmandu"\ninput.time.hour == 17\ninput.time.weekday == "Monday"')
    async with Judging({"trial.rego": rule}) as judging:
        at_home = await judging.judge()
        abroad = await judging.judge(app=an_app(quota=a_quota(time_zone="Asia/Kathmandu")))  # 12:00 UTC is 17:45

    assert (said(at_home), said(abroad)) == ([], ["No."])


async def test_a_rule_that_fails_denies_and_is_not_remembered(caplog):
    files = {
        "bad.rego": a_rule("1 / count(input.request.tools) > 0", package="bad"),
        "good.rego": a_rule(package="good", message='"Never."'),
    }
    async with Judging(files) as judging:
        judgement = await judging.judge()
        await judging.judge()

    assert judging.evaluated == 2
    assert "policies/bad.rego" in caplog.text
    assert "Never." not in caplog.text
    assert said(judgement) == [
        "The rules in policies/bad.rego could not decide, so the request is refused: it fails at line 4.",
        "Never.",
    ]


async def test_a_rule_that_takes_too_long_denies_while_others_go_on():
    registry = a_registry(policies=PolicySettings(timeout_seconds=0.3))
    files = {"slow.rego": a_rule(f"input.request.images > 0\n{SLOW}", package="slow")}
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
    async with Judging(files, registry=registry) as judging:
        slow = await judging.judge(messages=[picture])
        quick = await asyncio.wait_for(retried(judging), 20)

    assert said(slow) == [
        "The rules in policies/slow.rego could not decide, so the request is refused: it took longer than 0.3 s."
    ]
    assert said(quick) == []


async def test_who_waits_too_long_for_the_decisions_of_others_is_not_denied_but_told_to_try_again():
    registry = a_registry(policies=PolicySettings(timeout_seconds=0.5))
    async with Judging(shipped_files(), registry=registry) as judging:
        turn = judging.policies._embedded.evaluator._turn
        await turn.acquire()
        with pytest.raises(Fault) as refused:
            await judging.judge()
        turn.release()
        later = await asyncio.wait_for(retried(judging), 20)

    assert refused.value.code == "overloaded"
    assert refused.value.retry_after_seconds == 1
    assert said(later) == []


async def retried(judging):
    """Judge until the engine is there again: it may take longer to start than one decision may."""
    while (judgement := await judging.judge()).verdict.objections:
        pass
    return judgement


async def test_an_engine_that_is_killed_denies_and_comes_back():
    async with Judging(shipped_files()) as judging:
        process = await judging.policies._embedded.evaluator._starting
        process.kill()
        await process.wait()

        dead = await judging.judge()
        alive = await asyncio.wait_for(retried(judging), 20)

    assert "could not decide" in said(dead)[0]
    assert said(alive) == []


async def test_an_allow_lifts_the_denials_of_its_rule_only():
    files = {"trial.rego": a_rule() + a_rule('input.app.name == "expense-triage"', effect="allow").partition("\n")[2]}
    other = {"other.rego": a_rule(package="other", message='"Another."')}
    async with Judging(files | other) as judging:
        exempt = await judging.judge()
        denied = await judging.judge(app=an_app(name="helpdesk"))

    assert said(exempt) == ["Another."]
    assert [note["effect"] for note in exempt.verdict.notes] == ["allow", "lifted"]
    assert said(denied) == ["Another.", "No."]


@pytest.mark.parametrize(
    "decision",
    [
        None,
        {},
        [7],
        [{"rule": "r", "effect": "deny", "message": "m", "fix": "f"}],
        [{"rule": "r", "effect": "maybe", "message": "m", "fix": "f", "owner": "o"}],
        [{"rule": "r", "effect": "log", "message": "", "fix": "f", "owner": "o"}],
        [{"rule": "r", "effect": "log", "message": "m", "fix": "f", "owner": "o", "more": "x"}],
        [{"rule": 7, "effect": "log", "message": "m", "fix": "f", "owner": "o"}],
    ],
)
def test_what_has_not_the_form_of_a_decision_denies(decision):
    verdict = verdict_of({"decided": {"trial": decision}}, {"trial": "trial.rego"})

    [objection] = verdict.objections
    assert "policies/trial.rego could not decide" in objection.message
    assert not verdict.is_whole


def test_a_package_that_nobody_evaluated_denies():
    [objection] = verdict_of({"decided": {}}, {"trial": "trial.rego"}).objections

    assert "does not have it" in objection.message


async def test_more_tools_than_are_judged_deny():
    tools = [{"type": "function", "function": {"name": f"tool{n}"}} for n in range(257)]
    async with Judging(shipped_files()) as judging:
        judgement = await judging.judge(parameters={"tools": tools})

    assert "more than 256 tools" in said(judgement)[0]


def test_facts_of_a_request_hold_no_text():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        {"role": "user", "content": "x" * 600},
        {"role": "user", "content": [{"type": "text", "text": "y" * 500}, picture, picture, picture]},
    ]
    tools = [{"type": "function", "function": {"name": "look_up"}}, {"type": "web_search"}]
    tools.append({"type": "function", "function": {"name": "call_<PERSON_KOFADELIMORU>"}})
    request = a_chat_request(messages=messages, parameters={"tools": tools}, stream=True)

    facts = request_facts(request, {"PERSON": 5, "EMAIL_ADDRESS": 1})

    assert facts._asdict() == {
        "endpoint": "/v1/chat/completions",
        "stream": True,
        "tools": ("?", "look_up", "web_search"),
        "images": 4,
        "audio": 0,
        "files": 0,
        "messages": 2,
        "characters": 2048,
        "entities": (("EMAIL_ADDRESS", 1), ("PERSON", 8)),
    }


def test_the_document_has_every_fact_and_no_other():
    registry, app = a_registry(), an_app(connectors=("unknown",))
    document = input_document(registry, app, a_preset(), request_facts(a_chat_request(), {}), FrozenClock().now())

    def shape(node):
        if isinstance(node, dict):
            return {name: shape(value) for name, value in node.items()}
        return type(node)

    assert shape(document) == shape(example_document())
    assert document["app"]["connectors"] == [
        {
            "name": "unknown",
            "declared": False,
            "direction": "both",
            "storage": "external",
            "encrypted": False,
            "approved": "",
        }
    ]


@contextmanager
def an_opa(answer, status=200):
    """Serve as a remote OPA does, and yield its address and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((self.path, self.headers["authorization"], body))
            said = json.dumps(answer(body["input"]) if callable(answer) else answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def remote(url, seconds=5.0):
    return a_registry(policies=PolicySettings(timeout_seconds=seconds, opa_url=url, opa_token_env="OPA_TOKEN"))


async def test_a_remote_opa_decides_when_it_is_named():
    opa_bindings = pytest.importorskip("opa_bindings")
    engine = opa_bindings.OpaEngine()
    for name, text in shipped_files().items():
        engine.add_policy(name, text)

    def answer(document):
        return {"result": engine.eval_document("llmguard.policies", document)}

    app = an_app(name="hr", sensitivity=Sensitivity.RESTRICTED)
    with an_opa(answer) as (url, asked):
        async with Judging(shipped_files(), registry=remote(url)) as judging:
            denied = await judging.judge(app=app)
            await judging.judge(app=app)
            allowed = await judging.judge()
            judging.clock.advance(seconds=11)
            await judging.judge()

    assert said(denied) == ["The app hr handles restricted data and has no approval ticket in the catalog."]
    assert said(allowed) == []
    assert judging.evaluated == 0
    assert len(asked) == 3  # remembered for ten seconds
    assert asked[0][:2] == ("/v1/data/llmguard/policies?strict-builtin-errors=true", "Bearer secret-token")


async def test_what_was_decided_for_the_sandbox_does_not_count_for_the_approved_app():
    async with Judging({"trial.rego": a_rule('input.app.status == "approved"')}) as judging:
        sandbox = await judging.judge(app=an_app(status="sandbox"))  # as with a key of the approved app for the sandbox
        approved = await judging.judge(app=an_app())

    assert (len(said(sandbox)), len(said(approved))) == (0, 1)


def test_every_tool_is_among_the_facts_whatever_it_is_brought_in():
    tools = [{"type": "function", "function": {"name": "search"}}]
    both = a_chat_request(parameters={"tools": tools, "functions": [{"name": "delete_all"}]})

    assert request_facts(both, {}).tools == ("delete_all", "search")


@pytest.mark.parametrize("result", [{}, {"trial": {}}, {"trial": {"test": True}}], ids=["none", "empty", "helper"])
async def test_a_remote_opa_without_any_rule_denies_where_nobody_here_knows_which_it_should_have(result):
    with an_opa({"result": result}) as (url, _):
        policies = Policies(FrozenClock())
        judgement = await policies.judge(remote(url), an_app(), a_preset(), a_chat_request(), {})
        await policies.close()

    assert "no rules" in said(judgement)[0]


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        ({"result": {"other": {"decisions": []}}}, 200, "does not have it"),
        ({"result": {}}, 200, "has no rules"),
        ({}, 200, "has no rules below data.llmguard.policies"),
        ({"result": {"trial": {}}}, 200, "has no rules"),
        ({"code": "internal_error"}, 500, "answered with status 500"),
        ("nonsense", 200, "has no rules"),
    ],
)
async def test_a_remote_opa_that_does_not_decide_denies(answer, status, why):
    with an_opa(answer, status) as (url, _):
        async with Judging({"trial.rego": a_rule()}, registry=remote(url)) as judging:
            judgement = await judging.judge()

    assert why in said(judgement)[0]
    assert not judgement.verdict.is_whole


async def test_a_remote_opa_that_is_not_there_denies():
    with an_opa({}) as (url, _):
        pass
    async with Judging({"trial.rego": a_rule()}, registry=remote(url)) as judging:
        judgement = await judging.judge()

    assert "cannot be reached" in said(judgement)[0]
