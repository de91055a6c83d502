"""Step 6, call: the preset's model and its fallbacks are asked in order until one begins to answer.

A model with several targets draws one by weight; its others come before the next model. A target whose circuit is open
is stepped over. Before the first byte: retries with back-off and full jitter, then the next target. After it: none,
for the app has seen part of an answer. Refuses to know what is asked, by whom, and what it costs.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import TracebackType
from typing import Final, NamedTuple, Self

from llmguard.domain.catalog import Model, ProviderKind
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock
from llmguard.domain.eager import Begun
from llmguard.providers import failures
from llmguard.providers.adapter import Adapter, AttemptFailed, prepare_body
from llmguard.providers.circuit import Circuits, Permit, Watcher
from llmguard.providers.echo import EchoAdapter
from llmguard.providers.litellm import LitellmAdapter
from llmguard.providers.openai import OpenAiAdapter
from llmguard.providers.tokens import TokenCounter

# Full jitter. Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
FIRST_BACKOFF_SECONDS: Final = 0.25
LONGEST_BACKOFF_SECONDS: Final = 8.0
# A provider that asks for more than this is not waited for: the next model, or the app, gets its turn.
LONGEST_RETRY_AFTER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """How time passes between attempts; tests pass their own."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random  # from 0 up to 1

    def backoff_seconds(self, retries: int, retry_after_seconds: float | None) -> float:
        """Return how long to wait after this many retries; never less than the provider asked for."""
        jittered = self.random() * min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0**retries)
        return max(jittered, retry_after_seconds or 0.0)

    def draw_order(self, models: Sequence[Model]) -> list[Model]:
        """Return the targets of each model in an order drawn by their weights; the models stay in theirs.

        Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006): the chance to be the next
        is the weight, among all that are left. So stepping over one leaves the shares of the others right.
        """
        if len(models) == 1:
            return [*models]
        ordered: list[Model] = []
        for _, group in groupby(models, key=lambda model: model.name):
            targets = list(group)
            if len(targets) > 1:
                targets.sort(key=lambda target: self.random() ** (1.0 / target.weight), reverse=True)
            ordered += targets
        return ordered


class Attempt(NamedTuple):
    """One try at one model. `outcome` is `answered`, an HTTP status, or a word of `failures`; never provider text."""

    model: str
    provider: str
    outcome: str


class Providers:
    """Every way to reach a model; one per worker, since its connections belong to one event loop."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        clock: Clock,
        tokens: TokenCounter,
        connection_limit: int = 1_000,
        waiting: Waiting | None = None,
        on_circuit: Watcher = lambda _model, _is_open: None,
    ) -> None:
        """Put the adapters together.

        Args:
            environ: where provider keys are read, at each call, by the name that `api_key_env` gives.
            clock: for `created` and durations.
            tokens: how echo counts, so that its usage equals what is reserved by the same counter.
            connection_limit: connections that a worker holds at most, over all OpenAI-compatible providers.
            waiting: how to sleep and to draw between attempts.
            on_circuit: is told when the circuit of a target opens or closes.
        """
        self._clock = clock
        self._circuits = Circuits(clock, on_circuit)
        self._waiting = waiting or Waiting()
        self._adapters: dict[ProviderKind, Adapter] = {
            "echo": EchoAdapter(clock, tokens),
            "openai": OpenAiAdapter(environ, clock, tokens, connection_limit=connection_limit),
            "litellm": LitellmAdapter(environ, clock, tokens),
        }

    async def start(self, kinds: Collection[ProviderKind] = ("echo", "openai")) -> None:
        """Get ready for the kinds of provider that the registry names.

        Only `litellm` is heavy (an import of 4 s, off the event loop). Left out here, it gets ready at its first call.
        """
        for kind in kinds:
            await self._adapters[kind].start()

    async def close(self) -> None:
        """Close every connection; calls that still run break."""
        for adapter in self._adapters.values():
            await adapter.close()

    def keep(self, models: Iterable[Model]) -> None:
        """Forget what is known of the health of all targets but these, the registry's."""
        self._circuits.keep(models)

    def call(self, models: Sequence[Model], body: JsonObject, *, trace_id: str) -> "Call":
        """Return a call that begins when it is entered (`async with`) and ends when it is left.

        Args:
            models: the targets of the preset's model, then of its fallbacks; at least one.
            body: an OpenAI chat completion body, or an embeddings body whose `input` is a list of texts; `model` is
                overwritten, nothing is changed in place.
            trace_id: sent upstream as `x-request-id`; the provider never sees the app.
        """
        return Call(self._adapters, self._circuits, self._clock, self._waiting, (models, body, trace_id))


class Call:
    """One call of step 6; an async context manager that has its first chunks once it is entered.

    It stays readable after it failed or was cancelled, so the pipeline keeps it in a variable:

    - `model` and `body`: who was asked last, and with what.
    - `attempts`: every try, in order.
    - `reached`: False only if certainly no provider got the request.
    - `may_have_cost`: False only if certainly no model worked: not reached, or turned away with a status that says so.
      The hold of such a call is released; every other one is settled.
    - `waited_ns`: time spent on the provider's side, back-off included.
    """

    def __init__(
        self,
        adapters: Mapping[ProviderKind, Adapter],
        circuits: Circuits,
        clock: Clock,
        waiting: Waiting,
        asked: tuple[Sequence[Model], JsonObject, str],
    ) -> None:
        self._adapters = adapters
        self._circuits = circuits
        self._clock = clock
        self._waiting = waiting
        self._models, self._asked_body, self._trace_id = asked
        self.model: Model = self._models[0]
        self.body: JsonObject = self._asked_body
        self.attempts: list[Attempt] = []
        self.reached = False
        self.may_have_cost = False
        self.waited_ns = 0
        self._stream: AsyncGenerator[list[JsonObject], None]  # once it is entered
        self._permit: Permit | None = None  # of the attempt that runs; None for echo, which is never ill
        self._deadline = 0.0
        self._first: list[JsonObject] | None = None

    @property
    def answer(self) -> AsyncIterator[list[JsonObject]]:
        """What the provider answers: chat.completion.chunk bodies for a stream, else exactly one chat.completion.

        What came at once is in one list, so that the steps after this one are taken once for all of it. Embeddings are
        exactly one list of them, its vectors as base64 of little-endian 32-bit floats.

        Raises:
            Fault: while iterating: `provider_error` or `provider_timeout`, after the chunks that came before.
        """
        return self

    async def __aenter__(self) -> Self:
        """Ask until somebody answers.

        Raises:
            Refusal: the provider does not accept the request (`invalid_request`, `context_length_exceeded`, ...).
            Fault: `provider_error` or `provider_timeout`, after all retries and fallbacks; `overloaded` if no target
                is well enough to be asked.
        """
        started = self._clock.ticks()
        try:
            self._first = await self._ask_in_order(self._waiting.draw_order(self._models))
        except AttemptFailed as failure:
            raise failure.error from None
        finally:
            self.waited_ns += self._clock.ticks() - started
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up: whatever the provider still sends is not wanted, and it learns so at once."""
        permit, self._permit = self._permit, None
        if permit is not None:
            permit.left()
        # The adapters end without waiting for anything, so a cancellation cannot cut this short.
        await self._stream.aclose()

    def __aiter__(self) -> AsyncIterator[list[JsonObject]]:
        return self

    async def __anext__(self) -> list[JsonObject]:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        started = self._clock.ticks()
        try:
            return await self._next(self._stream)
        except AttemptFailed as failure:
            self._ended(failure)
            raise failure.error from None
        except StopAsyncIteration:
            self._ended(None)
            raise
        finally:
            self.waited_ns += self._clock.ticks() - started

    async def _ask_in_order(self, models: Sequence[Model]) -> list[JsonObject]:
        failed: AttemptFailed | None = None  # of the last target that was asked
        closed: AttemptFailed | None = None  # of the target that can be asked again first
        for model in models:
            self.model, self.body = model, prepare_body(model, self._asked_body)
            try:
                return await self._ask(model)
            except AttemptFailed as failure:
                if not failure.fall_back:
                    raise
                if failure.outcome != failures.CIRCUIT_OPEN:
                    failed = failure
                elif closed is None or _wanted_seconds(failure) < _wanted_seconds(closed):
                    closed = failure
        told = failed or closed
        if told is None:
            raise ValueError("there is no model to ask")
        raise told

    async def _ask(self, model: Model) -> list[JsonObject]:
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + model.provider.total_timeout_seconds
        retries = 0
        last: AttemptFailed | None = None
        while True:
            try:
                return await self._try_once(model)
            except AttemptFailed as failure:
                if failure.outcome == failures.CIRCUIT_OPEN:  # others failed, too, while this one waited
                    raise last or failure from None
                wanted = failure.error.retry_after_seconds
                pause = self._waiting.backoff_seconds(retries, wanted)
                if (
                    not failure.retry
                    or retries >= model.provider.max_retries
                    or (wanted or 0.0) > LONGEST_RETRY_AFTER_SECONDS
                    or loop.time() + pause >= self._deadline
                    or self._closed_seconds(model) > pause
                ):
                    raise
                last = failure
            retries += 1
            await self._waiting.sleep(pause)

    async def _try_once(self, model: Model) -> list[JsonObject]:
        """Return the first chunks of one attempt, and keep its stream for the rest."""
        self._permit = permit = self._permitted(model)
        adapter = self._adapters[model.provider.kind]
        stream = adapter.attempt(model, self.body, trace_id=self._trace_id)
        before = (self.reached, self.may_have_cost)
        # Assumed until the attempt says otherwise: a cancellation now leaves the careful answer behind.
        self.reached = self.may_have_cost = True
        try:
            first = await self._first_of(model, stream)
        except AttemptFailed as failure:
            self.reached = before[0] or failure.reached
            self.may_have_cost = before[1] or failure.may_have_cost
            self._note(model, failure.outcome)
            self._ended(failure)
            raise
        except BaseException:  # hung up: nothing was learned of the target
            if permit is not None:
                permit.left()
            raise
        if permit is not None:
            permit.begun()
        self._note(model, "answered")
        self._stream = stream
        return first

    def _permitted(self, model: Model) -> Permit | None:
        """Return the right to ask a target; None for echo.

        Raises:
            AttemptFailed: its circuit is open.
        """
        if model.provider.kind == "echo":
            return None
        circuit = self._circuits.of(model)
        permit = circuit.permit()
        if permit is None:
            failure = failures.circuit_open(model, circuit.seconds_left())
            self._note(model, failure.outcome)
            raise failure
        return permit

    def _closed_seconds(self, model: Model) -> float:
        return 0.0 if model.provider.kind == "echo" else self._circuits.of(model).seconds_left()

    def _ended(self, failure: AttemptFailed | None) -> None:
        """Tell the circuit how the attempt went."""
        permit, self._permit = self._permit, None
        if permit is None:
            return
        if failure is None:
            permit.answered()
        else:
            permit.failed(failure)

    async def _first_of(self, model: Model, stream: AsyncGenerator[list[JsonObject], None]) -> list[JsonObject]:
        seconds = model.provider.first_byte_timeout_seconds
        first_byte_deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(min(first_byte_deadline, self._deadline)):
                return await anext(stream)
        except StopAsyncIteration:
            raise failures.broken_off(model) from None
        except TimeoutError:
            if first_byte_deadline < self._deadline:
                raise failures.timed_out(model, "first byte", seconds) from None
            raise failures.timed_out(model, "whole answer", model.provider.total_timeout_seconds) from None

    async def _next(self, stream: AsyncGenerator[list[JsonObject], None]) -> list[JsonObject]:
        waiting = Begun(anext(stream))
        if waiting.done:
            return waiting.result
        idle_seconds = self.model.provider.idle_timeout_seconds
        idle_deadline = asyncio.get_running_loop().time() + idle_seconds
        try:
            async with asyncio.timeout_at(min(idle_deadline, self._deadline)):
                return await waiting
        except TimeoutError:
            if idle_deadline < self._deadline:
                raise failures.timed_out(self.model, "next part", idle_seconds) from None
            seconds = self.model.provider.total_timeout_seconds
            raise failures.timed_out(self.model, "whole answer", seconds) from None

    def _note(self, model: Model, outcome: str) -> None:
        self.attempts.append(Attempt(model.name, model.provider.name, outcome))


def _wanted_seconds(failure: AttemptFailed) -> float:
    return failure.error.retry_after_seconds or 0.0
