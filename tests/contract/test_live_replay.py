"""Live replay with real parts: a door that traces, a provider that answers, a ledger that charges the right account."""

from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from prometheus_client import CollectorRegistry

from llmguard.domain.catalog import ParameterRule, Quota, ReplayPolicy
from llmguard.domain.clock import SystemClock
from llmguard.domain.errors import Fault
from llmguard.gateway.metrics import Metrics
from llmguard.gateway.recorder import Recorder
from llmguard.policy.judge import Policies
from llmguard.providers.calling import Providers, Waiting
from llmguard.providers.tokens import TokenCounter
from llmguard.quota.ledger import Ledger
from llmguard.redaction.redactor import Redactor
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.replay.cases import case_of
from llmguard.replay.errors import BudgetSpent, CannotReplay
from llmguard.replay.live import Parts, answer_case, replay_live
from llmguard.replay.plan import Choice
from llmguard.replay.stored import read_stored
from llmguard.traces.spool import Spool
from tests.support.builders import a_model, a_preset, a_quota
from tests.support.finder import PEOPLE, PatternFinder
from tests.support.provider_server import ProviderServer
from tests.support.served import SECRET, Served, a_registry_at

ANA, BEN = "ana@example.com", "ben@example.com"
AS_IT_WAS = Choice()
SETTINGS = {"temperature": ParameterRule(), "seed": ParameterRule(), "max_tokens": ParameterRule(maximum=300)}


@pytest.fixture(scope="module")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _ordinary_provider(provider):
    yield
    provider.script("")


@pytest.fixture(scope="module")
def registry(provider):
    registry = a_registry_at(provider.base_url, quota=a_quota(tokens_per_month=10_000_000))
    [preset] = registry.presets["summarise"]
    preset = replace(preset, system="Be short.", parameters=SETTINGS, digest="p" * 64)
    models = registry.models | {"echo-1": a_model()}
    quotas = {ANA: Quota(tokens_per_day=1_000_000), BEN: Quota(requests_per_minute=2)}
    return replace(registry, presets={"summarise": (preset,)}, models=models, replay=ReplayPolicy("9000", quotas))


@pytest.fixture(scope="module")
def served(registry, tmp_path_factory):
    with Served(tmp_path_factory.mktemp("replay"), registry=registry) as door:
        yield door


@pytest.fixture
def traced(served):
    """Asks the door, and returns the trace as replays read it."""

    def traced(text="Write to Anna Schmidt", **more):
        body = {"model": "summarise", "messages": [{"role": "user", "content": text}]} | more
        headers = {"authorization": f"Bearer {served.key}"}
        answer = httpx.post(f"{served.base_url}/chat/completions", json=body, headers=headers, timeout=60)
        seq = served.reader.show(answer.headers["x-llmguard-trace-id"])["seq"]
        return read_stored(next(served.reader.export(limit=1, after_seq=seq - 1)))

    return traced


@asynccontextmanager
async def open_parts(served, registry, finder):
    clock, tokens = SystemClock(), TokenCounter()
    ledger, spool = Ledger(served.data / "state.db", clock, "replay"), Spool(served.data / "spool", "replay")
    ledger.start()
    waiting = Waiting(random=lambda: 0.0)
    providers = Providers(environ={}, clock=clock, tokens=tokens, waiting=waiting)
    recorder = Recorder(spool, ledger, tokens, Metrics(CollectorRegistry()), clock)
    accepted = AcceptedRegistries(served.data / "registry")
    redactor = Redactor(finder, SECRET)
    yield Parts(clock, registry, accepted, redactor, Policies(clock), tokens, ledger, providers, recorder, {})
    await recorder.drain()
    await providers.close()
    await ledger.close()
    spool.close()


@pytest.fixture
async def parts(served, registry):
    async with open_parts(served, registry, PatternFinder()) as parts:
        yield parts


async def standing(parts, who):
    account = parts.registry.replay.account(who)
    return {one.name: (one.used, one.held) for one in await parts.ledger.standings(account)}


async def test_the_same_bytes_go_out_and_the_responder_pays(served, parts, provider, traced):
    stored = traced(temperature=0.2)
    app = served.services.registry.apps["expense-triage"]
    of_app, before = await parts.ledger.standings(app), (await standing(parts, ANA))["tokens_per_day"][0]

    result = await replay_live(parts, stored, AS_IT_WAS, ANA)

    first, again = provider.received[-2:]
    assert first.body == again.body
    assert b"Anna" not in again.body
    assert (result.is_same, result.agreement, result.stability) == (True, 1.0, 1.0)
    [run] = result.runs
    assert await standing(parts, ANA) == {
        "tokens_per_day": (before + run.answer.input_tokens + run.answer.output_tokens, 0)
    }
    assert await parts.ledger.standings(app) == of_app
    trace = served.reader.show(run.answer.trace_id)
    assert trace["replay_of"] == stored.trace_id
    assert (trace["app"], trace["owner"], trace["cost_center"], trace["key_id"], trace["preset"]) == (
        f"responder:{ANA}",
        ANA,
        "9000",
        "replay",
        "summarise",
    )
    assert trace["cost_usd"] == stored.row["cost_usd"]


async def test_runs_are_counted_and_compared(parts, provider, traced):
    stored = traced()
    provider.queue("text=One", "", "text=Two", "text=Two", "text=Two")
    ticks = []

    result = await replay_live(parts, stored, AS_IT_WAS, ANA, times=5, on_run=lambda: ticks.append(1))

    assert (result.agreement, result.stability, len(ticks)) == (0.2, 0.6, 5)
    assert not result.is_same


async def test_a_provider_that_fails_is_a_difference_with_its_reason(parts, provider, traced):
    stored = traced()
    provider.script("status=500+error_text=secret")

    result = await replay_live(parts, stored, AS_IT_WAS, ANA)

    [run] = result.runs
    assert (run.answer.status, run.answer.code) == (502, "provider_error")
    assert result.differences[0].parts == ("outcome", "text")
    assert run.message
    assert "secret" not in run.message


async def test_another_preset_that_refuses_is_a_difference_and_nothing_is_sent(parts, provider, traced):
    stored = traced(seed=3)
    strict = a_preset(name="strict", model=stored_model(parts), digest="q" * 64)
    parts = replace(parts, registry=replace(parts.registry, presets=parts.registry.presets | {"strict": (strict,)}))
    calls = len(provider.received)

    result = await replay_live(parts, stored, Choice(preset="strict"), ANA)

    assert (result.runs[0].answer.status, result.runs[0].answer.code) == (400, "parameter_not_allowed")
    assert "seed" in result.runs[0].message
    assert len(provider.received) == calls


async def test_another_preset_and_settings_are_sent(parts, provider, traced):
    stored = traced()
    kind = a_preset(name="kind", model=stored_model(parts), system="Be kind.", digest="q" * 64)
    parts = replace(parts, registry=replace(parts.registry, presets=parts.registry.presets | {"kind": (kind,)}))

    await replay_live(parts, stored, Choice(preset="kind@1", temperature=0.0, seed=4), ANA)

    sent = provider.received[-1].json
    assert sent["messages"][0]["content"] == "Be kind."
    assert (sent["temperature"], sent["seed"], len(sent["messages"])) == (0.0, 4, 2)


async def test_a_budget_that_is_spent_ends_the_run(served, parts, provider, traced):
    stored = traced()
    calls = len(provider.received)

    with pytest.raises(BudgetSpent, match=r"responder:ben@example.com asked for .* under replay in registry.yaml"):
        await replay_live(parts, stored, AS_IT_WAS, BEN, times=3)

    assert len(provider.received) == calls + 2
    assert await standing(parts, BEN) == {"requests_per_minute": (2, 0)}
    traces = served.reader.list(replay_of=stored.trace_id)
    assert sorted(trace["status"] for trace in traces) == [200, 200, 429]


async def test_who_has_no_budget_sends_nothing(parts, provider, traced):
    stored = traced()
    calls = len(provider.received)

    with pytest.raises(CannotReplay, match=r"eve@example\.com has no budget"):
        await replay_live(parts, stored, AS_IT_WAS, "eve@example.com")

    assert len(provider.received) == calls


async def test_a_key_that_is_not_set_here_is_named(parts, traced):
    stored = traced()
    model = stored_model(parts)
    locked = replace(model, provider=replace(model.provider, api_key_env="REMOTE_KEY"))
    parts = replace(parts, registry=replace(parts.registry, models={model.name: locked}))

    with pytest.raises(CannotReplay, match="set the environment variable REMOTE_KEY"):
        await replay_live(parts, stored, AS_IT_WAS, ANA)


async def test_what_newer_rules_find_in_a_stored_request_is_hidden_and_said(served, registry, provider, traced):
    stored = traced("Write to Anna Schmidt and Karl Neu")
    newer = PatternFinder(people=(*PEOPLE, "Karl Neu"))
    newer.digest = "1" * 64

    async with open_parts(served, registry, newer) as parts:
        result = await replay_live(parts, stored, AS_IT_WAS, ANA)

    first, again = provider.received[-2:]
    assert b"Karl Neu" in first.body
    assert b"Karl Neu" not in again.body
    assert again.json["messages"][0]["content"] == "Be short."
    assert result.runs[0].hidden == {"PERSON": 1}


async def test_what_the_model_writes_now_is_hidden_like_any_answer(served, parts, provider, traced):
    stored = traced()
    provider.script("text=Ask%20bob%40example.com")

    result = await replay_live(parts, stored, AS_IT_WAS, ANA)

    [text] = result.runs[0].answer.texts
    assert text.startswith("Ask <EMAIL_ADDRESS_")
    assert "bob" not in str(served.reader.show(result.runs[0].answer.trace_id))


async def test_without_an_answer_of_the_redactor_nothing_is_sent_or_kept(served, registry, provider, traced):
    stored = traced()
    broken = PatternFinder(broken=True)
    calls = len(provider.received)

    async with open_parts(served, registry, broken) as parts:
        result = await replay_live(parts, stored, AS_IT_WAS, ANA)  # the same rules as then: it goes out as it was
        assert result.runs[0].answer.texts == ()
        broken.digest = "2" * 64
        result = await replay_live(parts, stored, AS_IT_WAS, ANA)

    assert len(provider.received) == calls + 1
    assert (result.runs[0].answer.status, result.runs[0].answer.code) == (503, "redaction_unavailable")


async def test_a_ledger_that_cannot_answer_ends_everything(served, registry, traced):
    stored = traced()
    async with open_parts(served, registry, PatternFinder()) as parts:
        closed = Ledger(served.data / "state.db", parts.clock, "closed")
        closed.start()
        await closed.close()
        with pytest.raises(Fault, match="quota cannot be checked"):
            await replay_live(replace(parts, ledger=closed), stored, AS_IT_WAS, ANA)


async def test_a_case_is_asked_as_its_app_would_ask_today(parts, provider, traced):
    case = case_of(traced(), parts.registry, parts.accepted)

    assert await answer_case(parts, case, ANA) == ()
    provider.queue("text=Else", "status=500")
    assert await answer_case(parts, case, ANA) == ("its text differs from the one that is expected",)
    provider.script("status=500")
    [problem] = await answer_case(parts, case, ANA)
    assert problem.startswith("it got no answer: ")


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("summarise@9", {"model": "summarise@9"}),
        ("summarise@anna", None),
        ("summarise@01711234567", None),
        ("anna", None),
    ],
)
def test_of_what_was_asked_a_refusals_trace_keeps_presets_and_versions_alone(traced, model, kept):
    stored = traced(model=model)

    assert stored.row["status"] == 404
    assert stored.decision.get("asked") == kept


def test_of_the_parameters_that_were_refused_a_trace_keeps_short_numbers_of_settings(traced):
    stored = traced(max_tokens=900, top_p=0.5, seed=4711, stop=["Anna"])

    assert stored.row["code"] == "parameter_not_allowed"
    assert stored.decision["asked"] == {"model": "summarise", "parameters": {"max_tokens": 900, "top_p": 0.5}}


def test_a_case_asks_for_a_version_only_if_its_app_did(traced, parts):
    named, newest = traced(model="summarise@1"), traced()

    assert case_of(named, parts.registry, parts.accepted).request.model == "summarise@1"
    assert case_of(newest, parts.registry, parts.accepted).request.model == "summarise"
    assert "asked" not in newest.decision


def stored_model(parts):
    return parts.registry.models["remote-1"]
