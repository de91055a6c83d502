"""Live replay: a stored, redacted request is sent to a model again, on the budget of the person who asks.

It goes through the steps of the gateway that concern it, with the gateway's own parts: the CoE's rules, reserve, call,
settle, trace.
The trace has `replay_of`, and the responder where others have their app; the app's account is not touched. What the
model answers is redacted before anything is kept or returned, and nothing is restored: there is nothing to restore.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from llmguard.domain.catalog import App, Caller, Registry
from llmguard.domain.chat import JsonObject, Usage
from llmguard.domain.clock import Clock
from llmguard.domain.errors import GuardError
from llmguard.domain.quota import Amount, QuotaRefusal
from llmguard.gateway.pipeline import compose, refuse_too_long
from llmguard.gateway.recorder import Record, Recorder
from llmguard.policy.judge import Policies
from llmguard.policy.parameters import MAX_TOKENS
from llmguard.providers.calling import Providers
from llmguard.providers.tokens import TokenCounter
from llmguard.quota.ledger import Ledger
from llmguard.redaction.redactor import Redacted, Redactor
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.replay.cases import Case, answer_problems
from llmguard.replay.difference import Answer, Difference, agreement, answer_now, compare, stability
from llmguard.replay.errors import BudgetSpent, CannotReplay
from llmguard.replay.plan import Choice, Plan, plan, plan_case
from llmguard.replay.stored import Stored

_KEY_ID: Final = "replay"  # no app's key: the responder is the caller


@dataclass(frozen=True, slots=True)
class Parts:
    """What live replays work with; `wiring.py` fills it. `environ` is only looked at for whether a key is set."""

    clock: Clock
    registry: Registry
    accepted: AcceptedRegistries
    redactor: Redactor
    policies: Policies
    tokens: TokenCounter
    ledger: Ledger
    providers: Providers
    recorder: Recorder
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """One answer of now.

    Attributes:
        answer: with the id of its own trace.
        message: why there is no answer; None if there is one.
        hidden: what today's redaction rules hid in the stored request in addition, by type.
    """

    answer: Answer
    message: str | None
    hidden: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LiveReplay:
    """What became of one trace when it was asked again.

    Attributes:
        stored: the trace.
        preset_id: under which it was asked, as `name@version`.
        model: that was asked.
        runs: in their order, at least one.
    """

    stored: Stored
    preset_id: str
    model: str
    runs: tuple[Run, ...]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """How each run differs from the stored answer."""
        return tuple(compare(self.stored.answer, run.answer) for run in self.runs)

    @property
    def is_same(self) -> bool:
        """Whether every run gave the stored answer."""
        return all(difference.is_same for difference in self.differences)

    @property
    def agreement(self) -> float:
        """The share of runs that gave the stored answer."""
        return agreement(self.stored.answer, [run.answer for run in self.runs])

    @property
    def stability(self) -> float:
        """The share of runs that gave the most frequent answer."""
        return stability([run.answer for run in self.runs])


async def replay_live(
    parts: Parts, stored: Stored, choice: Choice, who: str, *, times: int = 1, on_run: Callable[[], None] = lambda: None
) -> LiveReplay:
    """Send a stored request again, so many times, and compare the answers with the stored one.

    Args:
        parts: of this process.
        stored: the trace; must have been proven by its digest, as `read_stored` does.
        choice: what is asked differently.
        who: the responder, whose budget pays.
        times: how often.
        on_run: called after each answer.

    Raises:
        CannotReplay: nothing was sent: the data may not go there, a rule of the CoE denies it, the responder has no
            budget left, or a key is not set. Runs before that have their traces.
        Fault: the ledger or the spool cannot take it now.
    """
    account = account_of(parts.registry, who)
    today = parts.clock.now().date()
    planned = await asyncio.to_thread(plan, stored, choice, parts.registry, parts.accepted, today)  # reads files
    _check_key(parts, planned)
    runs = []
    for _ in range(times):
        runs.append(await _run(parts, planned, account))
        on_run()
    return LiveReplay(stored, planned.preset.id, planned.preset.model.name, tuple(runs))


async def answer_case(parts: Parts, case: Case, who: str) -> tuple[str, ...]:
    """Send a case as its app would make it today, and return how the answer is not what the case expects.

    Raises:
        CannotReplay, Refusal, Fault: as `replay_live`, and where the registry decides against it.
    """
    account = account_of(parts.registry, who)
    planned = plan_case(case, parts.registry, parts.clock.now().date())
    _check_key(parts, planned)
    run = await _run(parts, planned, account)
    if run.message is not None:
        return (f"it got no answer: {run.message}",)
    return tuple(answer_problems(case, run.answer.texts, run.answer.tool_calls))


def account_of(registry: Registry, who: str) -> App:
    """Return what a responder is charged as.

    Raises:
        CannotReplay: registry.yaml gives them no budget.
    """
    account = registry.replay.account(who)
    if account is None:
        known = ", ".join(registry.replay.responders) or "nobody yet"
        raise CannotReplay(
            f"{who} has no budget for live replays. Those who have one: {known}. The CoE adds, in registry.yaml, "
            f'replay: {{cost_center: "...", responders: {{{who}: {{usd_per_month: 5}}}}}}.'
        )
    return account


def _check_key(parts: Parts, planned: Plan) -> None:
    provider = planned.preset.model.provider
    variable = provider.api_key_env
    if variable is not None and not parts.environ.get(variable, "").strip():
        raise CannotReplay(
            f"The key of the provider {provider.name} is not set here: set the environment variable {variable} where "
            "this runs, or try a model of another provider with --model."
        )


async def _run(parts: Parts, planned: Plan, account: App) -> Run:
    parts.recorder.check()
    record = parts.recorder.open(planned.request.endpoint)
    message: str | None = None
    try:
        await _send(parts, record, planned, account)
    except QuotaRefusal as refusal:
        raise BudgetSpent(
            f"{refusal.message} The CoE sets what responders may use, under replay in registry.yaml."
        ) from None
    except GuardError as failed:
        if failed.code == "ledger_unavailable":
            raise
        if failed.code == "policy_denied":
            raise CannotReplay(f"{failed.message} {failed.hint or ''}".rstrip()) from None
        message = failed.message
    return Run(answer_now(record.trace), message, record.trace.entities)


async def _send(parts: Parts, record: Record, planned: Plan, account: App) -> None:
    """Take one request through the steps that concern a replay.

    Raises:
        Refusal, Fault: as of the gateway's steps; the trace is written all the same.
    """
    preset, decision = planned.preset, planned.decision
    async with record:
        record.trace.replay_of = planned.trace_id
        record.authenticated(Caller(account, _KEY_ID), parts.registry)
        record.resolved(preset, stream=planned.request.stream)
        record.decided(decision)
        decision.enforce()
        redacted = await _redact(parts.redactor, planned)
        record.redacted(parts.redactor, redacted)
        await _judge(parts, record, planned, redacted)
        body = compose(preset, redacted.request)
        await _reserve(parts, record, planned, body, account)
        call = parts.providers.call(decision.models, body, trace_id=record.trace.trace_id)
        record.calling(call)
        async with call:
            async for chunks in call.answer:
                record.received(chunks)
        await record.answered()


async def _judge(parts: Parts, record: Record, planned: Plan, redacted: Redacted) -> None:
    """Refuse what the CoE's own rules deny today: they are asked as for the app whose data it is.

    Raises:
        Refusal: policy_denied, with the words of every rule that denies.
    """
    entities = Counter(planned.entities) + Counter(redacted.entities)
    judgement = await parts.policies.judge(parts.registry, planned.app, planned.preset, redacted.request, entities)
    record.judged(judgement)
    judgement.enforce()


async def _redact(redactor: Redactor, planned: Plan) -> Redacted:
    """Return the request as it was redacted then; rules that are not those of then read it again."""
    profile = planned.preset.redaction
    if planned.redacted_by == (profile, redactor.digest):
        return Redacted(planned.request, redactor.empty_vault(planned.app.name, profile), {})
    return await redactor.redact(planned.request, app=planned.app.name, profile=profile)


async def _reserve(parts: Parts, record: Record, planned: Plan, body: JsonObject, account: App) -> None:
    """Hold the most that it can cost, on the responder's account."""
    [model] = planned.decision.models
    input_tokens = await parts.tokens.most_input(body, planned.decision.models)
    refuse_too_long(planned.decision, input_tokens)
    usage = Usage(input_tokens, int(body.get(MAX_TOKENS, 0)) * int(body.get("n", 1)))
    cost = usage.most_nano_usd(model.price, body.get("service_tier"))
    hold = await parts.ledger.reserve(record.trace.trace_id, account, Amount(1, usage.total_tokens, cost))
    record.reserved(hold, input_tokens)
