"""Steps 7 and 9, settle and trace: whatever becomes of a request, its hold is settled once and one trace is written.

A `Record` accompanies one request. What is owed is fixed synchronously when the request ends, so a hang-up cannot
cancel it. The rest runs as a task of its own, which outlives a caller that hangs up: what the model made up is hidden,
the trace is written, and only then the ledger is told. Killed at any point between, the hold is still open and its
trace, if there is one, says what to settle: ledger and traces agree after every crash.
"""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from types import TracebackType

from llmguard.domain.catalog import App, Caller, Preset, Registry
from llmguard.domain.chat import JsonObject, Usage
from llmguard.domain.clock import Clock
from llmguard.domain.eager import Begun
from llmguard.domain.errors import Fault, GuardError
from llmguard.domain.identifiers import TraceIds
from llmguard.domain.pieces import cut, joined
from llmguard.domain.quota import Amount, Hold, QuotaRefusal, Standing
from llmguard.domain.trace import Trace
from llmguard.gateway.assembly import assemble
from llmguard.gateway.metrics import Metrics
from llmguard.gateway.sample import Sample
from llmguard.policy.decide import POLICY_DIGEST, Decision
from llmguard.policy.judge import Judgement
from llmguard.providers.calling import Call
from llmguard.providers.tokens import TokenCounter
from llmguard.providers.usage import Owed, owed_for, whole_hold
from llmguard.quota.ledger import Ledger
from llmguard.redaction.redactor import Redacted, Redactor
from llmguard.redaction.vault import Vault
from llmguard.traces.spool import Spool

_log = logging.getLogger(__name__)
_HUNG_UP_STATUS = 499  # nginx's status for a client that closed the connection
_MILLION = 1_000_000
_LONGEST_VERSION = 5  # digits; longer numbers may be somebody's
_STRANGER_STATUS = 401  # no valid key
_STRANGERS_AT_ONCE = 500
_TURNED_AWAY_AT_ONCE = 50  # a trace costs several times what they cost


class Recorder:
    """Opens a record for each request, and writes its trace when it ends."""

    def __init__(self, spool: Spool, ledger: Ledger, tokens: TokenCounter, metrics: Metrics, clock: Clock) -> None:
        """Write to `spool`, settle with `ledger`, count what no provider reported with `tokens`."""
        self._spool = spool
        self._ledger = ledger
        self.tokens = tokens
        self.metrics = metrics
        self.clock = clock
        self.trace_ids = TraceIds()
        self._finishing: set[asyncio.Task[None]] = set()
        # A sample, or else anybody could fill the disk.
        self._strangers = Sample(clock, "without a valid key", at_once=_STRANGERS_AT_ONCE)
        self.turned_away = Sample(clock, "that could not even wait for their turn", at_once=_TURNED_AWAY_AT_ONCE)

    def open(self, endpoint: str) -> "Record":
        """Return the record of a request that came in just now."""
        return Record(self, endpoint)

    def check(self) -> None:
        """Refuse new work when its trace could not be kept.

        Raises:
            Fault: overloaded.
        """
        self._spool.check()

    def finish(self, record: "Record") -> "asyncio.Task[None] | None":
        """Complete and write a record at once, or return the task that does; it is not cancelled with its request."""
        completing = Begun(record.complete())
        if completing.done:
            return None
        task = asyncio.create_task(completing.rest())
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return task

    def write(self, trace: Trace) -> None:
        """Put a finished trace into the spool and the metrics; of many strangers, into the metrics alone."""
        self.metrics.count(trace)
        if trace.status == _STRANGER_STATUS and not self._strangers.takes():
            self.metrics.count_untraced(trace.code or "")
            return
        try:
            self._spool.append(trace)
        except Fault as fault:  # the spool keeps it and refuses new work by itself
            _log.error("trace %s waits for room in the spool: %s", trace.trace_id, fault.message)

    def turns_away(self, error: GuardError) -> bool:
        """Count a request that is refused before it has a record; return False if it shall have one, and be traced."""
        if self.turned_away.takes():
            return False
        self.metrics.count_turned_away(error.status, error.code)
        return True

    def settle(self, hold: Hold, owed: Amount | None) -> None:
        """Charge what is owed for a hold; None gives it back."""
        if owed is None:
            self._ledger.release(hold)
        else:
            self._ledger.settle(hold, owed)

    async def drain(self) -> None:
        """Wait until every record that was opened and left is written."""
        while self._finishing:
            await asyncio.wait(self._finishing)
        self._strangers.tell()
        self.turned_away.tell()
        self.metrics.flush()


class Record(AbstractAsyncContextManager["Record"]):
    """One request on its way: the trace that is being filled, and what its headers tell.

    Enter it before step 1. When it is left, normally or by an exception, the hold is settled and the trace written;
    if the caller is still there, the trace is written before the exit returns.
    """

    def __init__(self, recorder: Recorder, endpoint: str) -> None:
        self._recorder = recorder
        self._ticks = recorder.clock.ticks
        self._started = self._ticks()
        now = recorder.clock.now()
        self.trace = Trace(recorder.trace_ids.new(now), now, endpoint)
        self.standings: tuple[Standing, ...] = ()
        self.adjusted: tuple[str, ...] = ()
        self.app: App | None = None
        self._redactor: Redactor | None = None
        self._redacted: Redacted | None = None
        self._hold: Hold | None = None
        self._owed: Amount | None = None  # None: no provider was reached
        self._input_tokens = 0
        self._call: Call | None = None
        self._chunks: list[JsonObject] = []
        self._ended = False

    # What the steps tell, in their order.

    def authenticated(self, caller: Caller, registry: Registry) -> None:
        """Step 1 is done: whose request it is, and by which registry it is judged."""
        app = self.app = caller.app
        trace = self.trace
        trace.app, trace.owner, trace.cost_center, trace.key_id = app.name, app.owner, app.cost_center, caller.key_id
        trace.team = app.team
        trace.registry_digest = registry.digest
        self._step("authenticate")

    def asked(self, model: str, registry: Registry, facts: JsonObject) -> None:
        """Step 2 begins: what the built-in rules will go by, without text, so that it can be decided again.

        What was asked for is kept if it names a preset, unless the preset that answers tells it.
        """
        self.trace.decision = {"facts": facts}
        name, _, version = model.partition("@")
        if name in registry.presets and (not version or (version.isdecimal() and len(version) <= _LONGEST_VERSION)):
            self.trace.decision["asked"] = {"model": model}

    def resolved(self, preset: Preset, *, stream: bool) -> None:
        """Step 2 is done: which preset answers."""
        trace = self.trace
        trace.preset, trace.preset_version, trace.stream = preset.name, preset.version, stream
        trace.preset_digest = preset.digest
        self._step("resolve")

    def decided(self, decision: Decision) -> None:
        """Step 3 is done, for or against the request."""
        self.adjusted = decision.adjusted
        told, asked = decision.as_json(), self.trace.decision.get("asked")
        if asked is not None and (decision.objections or "@" in asked["model"]):
            told["asked"] = asked | told.get("asked", {})
        told["facts"] = self.trace.decision.get("facts", {})
        self.trace.decision, self.trace.policy_digest = told, POLICY_DIGEST
        self._step("decide")

    def redacted(self, redactor: Redactor, redacted: Redacted) -> None:
        """Step 4 is done: what was hidden, and how to hide what the model makes up."""
        self._redactor, self._redacted = redactor, redacted
        self.trace.redaction_digest, self.trace.entities = redactor.digest, redacted.entities
        self._step("redact")

    def judged(self, judgement: Judgement) -> None:
        """The CoE's own rules have decided, for or against the request."""
        decision = self.trace.decision
        self.trace.decision = decision | judgement.as_json(decision.get("facts", {}))
        self.trace.policy_digest = judgement.digest

    def reserved(self, hold: Hold, input_tokens: int) -> None:
        """Step 5 is done: from here on the hold is this record's to settle."""
        self._hold, self._input_tokens = hold, input_tokens
        self.standings = hold.standings
        self._step("reserve")

    def clamped(self, parameter: str) -> None:
        """Say, in the headers and in the trace, that a parameter was lowered to what is left of the quota."""
        self.adjusted = (*self.adjusted, *({parameter} - set(self.adjusted)))
        self.trace.decision = self.trace.decision | {"adjusted": list(self.adjusted), "clamped_to_quota": parameter}

    def calling(self, call: Call) -> None:
        """Step 6 begins; `call` knows at any time which model it is at, and whether a provider was reached."""
        self._call = call

    def received(self, chunks: list[JsonObject]) -> None:
        """Keep what came of the answer, chunks or a whole completion, as the provider sent it."""
        if not self._chunks and self.trace.stream:
            self.trace.first_token_ms = self.elapsed_ms()
        self._chunks += chunks

    async def answered(self) -> None:
        """Steps 6 and 8 are done: settle, and write the trace before the answer is complete for the app."""
        self._step("call")
        await _shielded(self._end(200, None))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End a record that was left early: refused, failed or hung up on."""
        if self._ended:
            return
        if isinstance(error, GuardError):
            await _shielded(self._fail(error))
        elif isinstance(error, Exception):
            _log.error("trace %s ended by %s, which is a bug", self.trace.trace_id, type(error).__name__)
            await _shielded(self._fail(Fault("internal_error", "llmguard itself failed on this request.")))
        elif error is None:
            await _shielded(self._end(200, None))
        else:  # cancelled or closed: whoever awaits here is cancelled again
            self._end(_HUNG_UP_STATUS, "client_disconnected")

    def repeated(self, trace_id: str) -> None:
        """The request was made before, and its first answer stands; `trace_id` is that one's."""
        self.trace.decision = {"allowed": True, "reasons": [], "repeats": trace_id}

    def now(self) -> datetime:
        """Return the current instant of the clock that this record goes by."""
        return self._recorder.clock.now()

    # Steps 7 and 9.

    def _fail(self, error: GuardError) -> "asyncio.Task[None] | None":
        if not self.trace.decision.get("reasons"):
            reason = {"code": error.code, "message": error.message, "hint": error.hint, "param": error.param}
            self.trace.decision = self.trace.decision | {"allowed": False, "reasons": [reason]}
        if isinstance(error, QuotaRefusal):
            self.standings = error.standings
        return self._end(error.status, error.code)

    def _end(self, status: int, code: str | None) -> "asyncio.Task[None] | None":
        """Fix the outcome and what is owed for it, synchronously and once; return the task that finishes the record.

        There is none if it is finished already. Whatever happens in between, it is: nothing else would settle the hold.
        """
        self._ended = True
        trace = self.trace
        trace.status, trace.code = status, code
        waited_ms = 0.0 if self._call is None else self._call.waited_ns / _MILLION
        try:
            if self._call is not None:
                self._chunks = joined(self._chunks) if trace.stream else self._chunks
                self._account(self._call)
        finally:
            self._step("settle")
            trace.latency_ms = self.elapsed_ms()
            trace.overhead_ms = max(0.0, trace.latency_ms - waited_ms)
            finishing = self._recorder.finish(self)
        return finishing

    def _account(self, call: Call) -> None:
        """Fill in which model was called with what, and what it used."""
        trace, model = self.trace, call.model
        trace.provider, trace.model, trace.price_version = model.provider.name, model.name, model.price.version
        trace.request = call.body
        if [attempt.outcome for attempt in call.attempts] != ["answered"]:  # else there is nothing more to tell
            trace.decision = trace.decision | {"attempts": [attempt._asdict() for attempt in call.attempts]}
        if not call.reached or self._hold is None:
            return
        held = self._owed = self._hold.amount  # stands if even the counting fails
        owed = self._used(call, held)
        usage = owed.usage
        if owed.basis != "held":
            trace.service_tier = usage.service_tier
            trace.price_rate, rates = usage.rates_at(model.price)
            self._owed = Amount(1, usage.total_tokens, usage.cost_at(rates))
        if owed.note:
            trace.decision = {**trace.decision, **owed.note}
        trace.cost_basis = owed.basis
        trace.input_tokens, trace.output_tokens = usage.input_tokens, usage.output_tokens
        trace.cached_tokens, trace.reasoning_tokens = usage.cached_tokens, usage.reasoning_tokens
        trace.cache_write_tokens, trace.cache_write_1h_tokens = usage.cache_write_tokens, usage.cache_write_1h_tokens
        trace.audio_input_tokens, trace.audio_output_tokens = usage.audio_input_tokens, usage.audio_output_tokens
        trace.cost_nano_usd = self._owed.nano_usd if model.price.is_known else None  # unknown is not zero

    def _used(self, call: Call, held: Amount) -> Owed:
        """Return what the provider reported; else nothing if it turned us away; else what was sent and streamed."""
        if not call.may_have_cost:
            return Owed(Usage(0, 0), "reported")
        count = partial(self._count_output, call.model.target)
        try:
            return owed_for(self._chunks, self._input_tokens, held, count, stream=self.trace.stream)
        except Exception as error:  # noqa: BLE001 - the border to the provider's JSON: odd as it is, somebody pays for it
            name = type(error).__name__
            _log.error("the usage of trace %s is unknown: %s", self.trace.trace_id, name)
            return whole_hold(self._input_tokens, held, {"usage_unknown": name})

    def _count_output(self, target: str) -> int:
        choices = self._completion().get("choices") or ()
        return sum(self._recorder.tokens.count_answer(choice.get("message") or {}, target) for choice in choices)

    def _completion(self) -> JsonObject:
        if self.trace.stream:
            return assemble(self._chunks)
        return self._chunks[0] if self._chunks else {}

    async def complete(self) -> None:
        """Hide what the model made up itself, write the trace, and tell the ledger.

        Without the redactor's answer no body is kept.
        """
        if self._chunks and self._redacted is not None and self._redacted.request.inputs is not None:
            self.trace.response = self._chunks[0]  # vectors: checked by the adapter to be nothing else
        elif self._chunks and self._redactor is not None and self._redacted is not None:
            try:
                await self._keep_answer(self._redactor, self._redacted.vault)
            except Exception as error:  # noqa: BLE001 - the border of a task: whatever it is, the hold must be settled
                self._withhold(error)
        self._step("trace")
        try:
            self._recorder.write(self.trace)
        finally:  # a trace that nobody could write must not keep the hold open as well
            if self._hold is not None:
                self._recorder.settle(self._hold, self._owed)

    def _withhold(self, error: Exception) -> None:
        code = error.code if isinstance(error, GuardError) else type(error).__name__
        self.trace.response = self.trace.chunks = None
        self.trace.decision = self.trace.decision | {"answer_withheld": code}
        _log.error("the answer of trace %s is not kept: %s", self.trace.trace_id, code)

    async def _keep_answer(self, redactor: Redactor, vault: Vault) -> None:
        if self.trace.stream:
            chunks = await redactor.redact_chunks(self._chunks, vault)
            self.trace.chunks, self.trace.response = cut(chunks), assemble(chunks)
        else:
            self.trace.response = await redactor.redact_answer(self._chunks[0], vault)

    def _step(self, name: str) -> None:
        self.trace.steps[name] = (self._ticks() - self._started) // 1000

    def elapsed_ms(self) -> float:
        """Return the milliseconds since the request came in."""
        return (self._ticks() - self._started) / _MILLION


async def _shielded(finishing: "asyncio.Task[None] | None") -> None:
    """Wait until a record is finished; being cancelled meanwhile does not stop it."""
    if finishing is not None:
        await asyncio.shield(finishing)
