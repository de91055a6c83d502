"""The nine steps of a trace, with the time that each took: for people who look at one."""

from dataclasses import dataclass
from typing import Final

from llmguard.domain.chat import JsonObject

# Step 8 runs with step 6, chunk by chunk, so it has no time of its own.
_STEPS: Final = (
    ("authenticate", "whose key it is"),
    ("resolve", "which preset answers"),
    ("decide", "whether it may be asked so"),
    ("redact", "personal data is hidden"),
    ("reserve", "quota is held"),
    ("call", "the provider answers"),
    ("settle", "what it cost is fixed"),
    ("restore", "personal data comes back for the app"),
    ("trace", "it is written down"),
)
_WITHIN_CALL: Final = "restore"
_BEFORE_THE_ANSWER: Final = tuple(name for name, _ in _STEPS[:6])
_OF_REDACTION: Final = frozenset({"content_blocked", "redaction_unavailable"})
_ANSWERED: Final = 200


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one trace; times in milliseconds since its start, None where it has none.

    Attributes:
        is_within_call: it ran chunk by chunk while the provider answered.
        is_end: the request was refused, failed or hung up on here.
    """

    number: int
    name: str
    what: str
    began_ms: float | None = None
    ended_ms: float | None = None
    is_within_call: bool = False
    is_end: bool = False

    @property
    def took_ms(self) -> float | None:
        """How long it took."""
        return None if self.began_ms is None or self.ended_ms is None else self.ended_ms - self.began_ms


def steps_of(trace: JsonObject) -> list[Step]:
    """Return the nine steps of a trace as `TraceReader.show` gives it."""
    ended = trace.get("steps") or {}
    end = _end_of(trace)
    steps: list[Step] = []
    before_us = 0
    for number, (name, what) in enumerate(_STEPS, 1):
        at_us = ended.get(name)
        if name == end and at_us is None:  # it did not come to its end: what followed at once tells when it was left
            at_us = ended["settle"]
        if name == _WITHIN_CALL or at_us is None:
            steps.append(Step(number, name, what, is_within_call=name == _WITHIN_CALL and "call" in ended))
            continue
        steps.append(Step(number, name, what, before_us / 1000, at_us / 1000, is_end=name == end))
        before_us = at_us
    return steps


def _end_of(trace: JsonObject) -> str | None:
    """Return the step at which a request ended without its answer; None: with one, or nobody knows."""
    ended = trace.get("steps") or {}
    if trace.get("status") == _ANSWERED or "settle" not in ended or "call" in ended:
        return None
    if trace.get("provider") is not None:
        return "call"
    reached = [name for name in _BEFORE_THE_ANSWER if name in ended]
    code = trace.get("code")
    if code == "policy_denied" or (reached[-1:] == ["decide"] and code not in _OF_REDACTION):
        return "decide"
    return next(name for name in _BEFORE_THE_ANSWER if name not in ended)
