"""Whether a target is well enough to be asked: one circuit a target and worker, closed while all is well.

It opens after too many failures and says so at once, instead of letting each request wait for the next failure. When
its cool-down is over, one request may try (half-open): its answer closes the circuit, its failure begins another
cool-down. Only what is wrong at the provider counts: not what an app sent, not an app that hangs up, and not
credentials or addresses, whose errors tell the operator what to do and must stay visible.

Source: M. Nygard, "Release It!", "Circuit Breaker"; the counts are those of resilience4j's defaults, made smaller.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from llmguard.domain.catalog import CircuitRule, Model
from llmguard.domain.clock import Clock
from llmguard.domain.errors import Fault
from llmguard.providers.adapter import AttemptFailed

LONGEST_COOL_DOWN_SECONDS: Final = 600.0  # also where a provider asks for more: its next answer may have healed
_PROBING_SECONDS: Final = 1.0  # what is told while somebody else tries: nobody knows how long that takes
_NOT_ITS_HEALTH: Final = frozenset({"401", "403", "404", "no_key", "insufficient_quota", "too_large"})
_ASKS_TO_WAIT: Final = frozenset({"429", "503", "529"})
_BILLION: Final = 1_000_000_000

Watcher = Callable[[Model, bool], None]  # is told of each circuit that opens (True) or closes (False)


@dataclass(slots=True)
class _Counts:
    answered: int = 0
    failed: int = 0


@dataclass(slots=True)
class Permit:
    """The right to ask a target once; tell it what became of that, exactly once but for `begun`."""

    _circuit: "Circuit"
    _is_probe: bool

    def begun(self) -> None:
        """The target began to answer, which is all that a probe has to show."""
        if self._is_probe:
            self._is_probe = False
            self._circuit.close()

    def answered(self) -> None:
        """The answer is whole."""
        self._circuit.count(failed=False)

    def failed(self, failure: AttemptFailed) -> None:
        """The attempt failed, for whatever reason."""
        if not isinstance(failure.error, Fault) or failure.outcome in _NOT_ITS_HEALTH:
            self.left()
            return
        asked = failure.error.retry_after_seconds if failure.outcome in _ASKS_TO_WAIT else None
        self._circuit.fail(asked, is_probe=self._is_probe)

    def left(self) -> None:
        """Nothing was learned: the app hung up, or asked for what cannot be."""
        if self._is_probe:
            self._circuit.probe_was_left()


@dataclass(slots=True)
class Circuit:
    """The circuit of one target. Belongs to one event loop."""

    model: Model
    clock: Clock
    watcher: Watcher
    _reopens: int | None = None  # ticks; None: closed
    _probing: bool = False
    _in_a_row: int = 0
    _half_began: int = 0
    _now: _Counts = field(default_factory=_Counts)  # the window, as its current and its previous half
    _before: _Counts = field(default_factory=_Counts)

    def permit(self) -> Permit | None:
        """Return the right to ask; None while the circuit is open."""
        if self._reopens is None:
            return Permit(self, _is_probe=False)
        if self._probing or self.clock.ticks() < self._reopens:
            return None
        self._probing = True
        return Permit(self, _is_probe=True)

    def seconds_left(self) -> float:
        """Return how long it makes no sense to ask."""
        if self._reopens is None:
            return 0.0
        left = (self._reopens - self.clock.ticks()) / _BILLION
        return left if left > 0 else _PROBING_SECONDS

    def close(self) -> None:
        """Let everybody ask again, and forget what was."""
        was_open, self._reopens, self._probing = self._reopens is not None, None, False
        self._in_a_row, self._now, self._before = 0, _Counts(), _Counts()
        if was_open:
            self.watcher(self.model, False)  # noqa: FBT003 - the signature of a callable has no names

    def fail(self, asked_seconds: float | None, *, is_probe: bool) -> None:
        """Count a failure, and open where it is one too many, or the provider asks to be left alone for a while."""
        self.count(failed=True)
        if asked_seconds or is_probe or (self._reopens is None and self._is_too_much()):
            self._open(asked_seconds or self._rule.cool_down_seconds)
        if is_probe:
            self._probing = False

    def probe_was_left(self) -> None:
        """Let the next one try."""
        self._probing = False

    def count(self, *, failed: bool) -> None:
        """Count one attempt that ended."""
        now = self.clock.ticks()
        half = self._rule.window_seconds * _BILLION / 2
        if now - self._half_began >= half:
            is_next = now - self._half_began < 2 * half
            self._before, self._now, self._half_began = self._now if is_next else _Counts(), _Counts(), now
        if failed:
            self._now.failed += 1
            self._in_a_row += 1
        else:
            self._now.answered += 1
            self._in_a_row = 0

    @property
    def _rule(self) -> CircuitRule:
        return self.model.provider.circuit

    def _is_too_much(self) -> bool:
        failed = self._now.failed + self._before.failed
        everything = failed + self._now.answered + self._before.answered
        is_often = everything >= self._rule.minimum_requests and failed >= self._rule.failure_rate * everything
        return is_often or self._in_a_row >= self._rule.consecutive_failures

    def _open(self, seconds: float) -> None:
        was_open = self._reopens is not None
        reopens = self.clock.ticks() + int(min(seconds, LONGEST_COOL_DOWN_SECONDS) * _BILLION)
        self._reopens = max(self._reopens or 0, reopens)
        if not was_open:
            self.watcher(self.model, True)  # noqa: FBT003 - the signature of a callable has no names


class Circuits:
    """The circuits of a worker, made as targets are asked."""

    def __init__(self, clock: Clock, watcher: Watcher) -> None:
        """Begin with all circuits closed."""
        self._clock = clock
        self._watcher = watcher
        self._circuits: dict[tuple[str, str], Circuit] = {}  # by provider and target

    def of(self, model: Model) -> Circuit:
        """Return the circuit of a model's target; a new one where the provider's settings have changed."""
        key = (model.provider.name, model.target)
        circuit = self._circuits.get(key)
        if circuit is not None and (circuit.model is model or circuit.model.provider == model.provider):
            return circuit
        if circuit is not None:
            circuit.close()
        circuit = self._circuits[key] = Circuit(model, self._clock, self._watcher)
        return circuit

    def keep(self, models: Iterable[Model]) -> None:
        """Forget the circuits of all targets but these: nobody asks the others any more."""
        kept = {(target.provider.name, target.target) for model in models for target in model.targets}
        for key in self._circuits.keys() - kept:
            self._circuits.pop(key).close()
