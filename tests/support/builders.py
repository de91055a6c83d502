"""Valid objects for tests: a test states only what matters to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from llmguard.domain.catalog import App, CircuitRule, Model, Preset, Provider, Quota, Sensitivity
from llmguard.domain.chat import ChatRequest
from llmguard.domain.money import Price
from llmguard.domain.trace import Trace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class FrozenClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def ticks(self) -> int:
        return (self._now - EPOCH) // timedelta(microseconds=1) * 1000

    def advance(self, **delta: float) -> None:
        self._now += timedelta(**delta)


PATIENT = CircuitRule(consecutive_failures=1_000_000, minimum_requests=1_000_000)  # opens for no failure


def a_provider(**changes):
    return Provider(**({"name": "echo", "kind": "echo"} | changes))


def a_model(**changes):
    price = Price(input=Decimal("0.15"), output=Decimal("0.60"), version="registry:test")
    facts = {
        "name": "echo-1",
        "provider": a_provider(),
        "target": "echo-1",
        "max_sensitivity": Sensitivity.RESTRICTED,
        "price": price,
    }
    return Model(**(facts | changes))


def a_preset(**changes):
    facts = {
        "name": "summarise",
        "version": 1,
        "status": "approved",
        "owner": "coe@example.com",
        "why": "Short summaries need little invention.",
        "model": a_model(),
        "digest": "0" * 64,
    }
    return Preset(**(facts | changes))


def a_quota(**changes):
    return Quota(**changes)


def an_app(**changes):
    facts = {
        "name": "expense-triage",
        "owner": "dana@example.com",
        "status": "approved",
        "sensitivity": Sensitivity.INTERNAL,
        "presets": ("summarise",),
        "quota": a_quota(),
        "cost_center": "4711",
    }
    return App(**(facts | changes))


def a_chat_request(*texts, **changes):
    messages = [{"role": "user", "content": text} for text in texts or ("Hello",)]
    facts = {"endpoint": "/v1/chat/completions", "model": "summarise", "messages": messages, "parameters": {}}
    return ChatRequest(**(facts | changes))


def a_trace(**changes):
    facts = {"trace_id": "019aafd0-0000-7000-8000-000000000001", "started_at": NOON, "endpoint": "/v1/chat/completions"}
    return Trace(**(facts | changes))
