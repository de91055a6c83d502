"""A realistic month of traces of several apps, through the real spool and store: weekdays, office hours, mistakes.

    .venv/bin/python -m tests.support.month DATA_FOLDER [--rows 20000] [--now 2026-11-26T10:00:00Z]

Derived from the row's number and the present alone: the same arguments give the same figures. It knows the apps of
`console_registry`.
"""

import argparse
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from llmguard.domain.identifiers import TraceIds
from llmguard.domain.trace import Trace
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool

DAYS = 35
HOURS = (0, 0, 0, 0, 0, 1, 2, 6, 14, 18, 17, 13, 9, 14, 16, 15, 12, 7, 3, 2, 1, 1, 0.5, 0.2)
WEEKDAYS = (1, 1.1, 1.05, 1, 0.8, 0.15, 0.1)


@dataclass(frozen=True)
class Habit:
    """How one app uses llmguard."""

    app: str
    owner: str
    team: str
    cost_center: str
    share: float
    preset: str
    version: int
    model: str
    words: int
    entities: tuple[str, ...]
    refusals: tuple[tuple[str, int, str, str], ...]  # code, status, message, hint


def _reason(param, words):
    return ("parameter_not_allowed", 400, f"{param} may be {words[0]}, and {words[1]} was asked.", words[2])


HABITS = (
    Habit(
        *("expense-triage", "dana@example.com", "finance-ops", "4711", 8, "summarise", 2, "echo-1", 900),
        ("EMAIL_ADDRESS", "PERSON", "IBAN_CODE"),
        (
            _reason("temperature", ("0 to 0.3", "0.9", "Keep temperature within 0 to 0.3, or leave it out.")),
            ("rate_limit_exceeded", 429, "expense-triage sent more than 60 requests in a minute.", "Wait 12 seconds."),
        ),
    ),
    Habit(
        *("hr-helpdesk", "amal@example.com", "people", "1200", 5, "draft-reply", 1, "echo-1", 600),
        ("PERSON", "PHONE_NUMBER", "LOCATION", "DATE_TIME"),
        (
            (
                "content_blocked",
                400,
                "The text holds a CREDENTIAL, which this preset never sends.",
                "Take it out and send the text again.",
            ),
        ),
    ),
    Habit(
        *("ticket-router", "sam@example.com", "it-service", "8080", 12, "classify", 1, "echo-1", 120),
        ("EMAIL_ADDRESS", "IP_ADDRESS"),
        (
            (
                "insufficient_quota",
                429,
                "ticket-router asked for up to 900 tokens and has 212 left until tomorrow.",
                "Ask for more, or lower max_tokens.",
            ),
            (
                "preset_not_allowed",
                403,
                "ticket-router may not use the preset draft-reply.",
                "It may use: classify.",
            ),
        ),
    ),
    Habit(
        *("quarterly-regulatory-report-drafting-assistant-for-subsidiaries", "maximiliane.von-und-zu@example.com"),
        *("group-regulatory-affairs", "CC-2000-EMEA-REGULATORY", 1.5, "summarise", 2, "echo-1", 2500),
        ("PERSON", "LOCATION", "CREDIT_CARD"),
        (
            (
                "context_length_exceeded",
                400,
                "The text has 141,200 tokens, and the model reads at most 128,000.",
                "Shorten it, or send it in parts.",
            ),
        ),
    ),
)


def seed_month(data: Path, now: datetime, rows: int, *, days: int = DAYS) -> int:
    """Write about so many traces that end now; return how many are in the store."""
    chance = random.Random(f"{rows}")
    ids = TraceIds()
    spool = Spool(data / "spool", "month")
    for moment in _moments(chance, now, rows, days):
        spool.append(_trace(chance, ids, moment))
    spool.close()
    return TraceReader(data, patience_seconds=120).count()


def _moments(chance, now, rows, days):
    """Yield moments in order, dense in office hours of weekdays."""
    first = (now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
    hours = [first + timedelta(hours=offset) for offset in range(days * 24 + 1)]
    weights = [WEEKDAYS[hour.weekday()] * HOURS[hour.hour] + 0.02 for hour in hours]
    weights[-1] += 6  # the last hour is never empty, whenever one looks
    weights[-2] += 6
    total = sum(weights)
    for hour, weight in zip(hours, weights, strict=True):
        expected = rows * weight / total
        count = int(expected) + (chance.random() < expected % 1)
        for second in sorted(chance.uniform(0, 3600) for _ in range(count)):
            moment = hour + timedelta(seconds=second)
            if moment < now:
                yield moment


def _trace(chance, ids, moment):
    habit = chance.choices(HABITS, [habit.share for habit in HABITS])[0]
    trace = Trace(
        ids.new(moment),
        moment,
        "/v1/chat/completions",
        app=habit.app,
        owner=habit.owner,
        team=habit.team,
        cost_center=habit.cost_center,
        key_id="KEYOFAPP",
        preset=habit.preset,
        preset_version=habit.version,
        registry_digest="a" * 64,
        redaction_digest="b" * 64,
        policy_digest="c" * 64,
    )
    luck = chance.random()
    if luck < 0.002:
        return _stranger(trace)
    if luck < 0.035:
        return _refused(chance, trace, habit)
    trace.entities = {name: chance.randint(1, 4) for name in habit.entities if chance.random() < 0.35}
    if luck < 0.043:
        return _failed(chance, trace)
    return _answered(chance, trace, habit)


def _stranger(trace):
    return Trace(
        trace.trace_id,
        trace.started_at,
        trace.endpoint,
        status=401,
        code="invalid_api_key",
        decision={"reasons": [{"code": "invalid_api_key", "message": "This key is not known here."}]},
        latency_ms=0.4,
        overhead_ms=0.4,
    )


def _refused(chance, trace, habit):
    code, status, message, hint = chance.choice(habit.refusals)
    param = message.split()[0] if code == "parameter_not_allowed" else None
    trace.status, trace.code = status, code
    trace.decision = {"reasons": [{"code": code, "message": message, "hint": hint, "param": param}]}
    trace.latency_ms = trace.overhead_ms = round(chance.uniform(1, 6), 2)
    return trace


def _failed(chance, trace):
    trace.status, trace.code = chance.choice(((502, "provider_error"), (504, "provider_timeout")))
    trace.decision = {"reasons": [{"code": trace.code, "message": "The provider did not answer."}]}
    trace.provider, trace.model = "echo", "echo-1"
    trace.latency_ms, trace.overhead_ms = round(chance.uniform(2000, 30000), 1), 4.0
    return trace


def _answered(chance, trace, habit):
    trace.status, trace.provider, trace.model = 200, "echo", habit.model
    trace.input_tokens = int(chance.lognormvariate(0, 0.5) * habit.words)
    trace.output_tokens = int(chance.lognormvariate(0, 0.6) * habit.words / 3)
    trace.cached_tokens = trace.input_tokens // 3 if chance.random() < 0.3 else 0
    trace.reasoning_tokens = trace.cache_write_tokens = trace.cache_write_1h_tokens = 0
    trace.audio_input_tokens = trace.audio_output_tokens = 0
    trace.cost_nano_usd = trace.input_tokens * 2500 + trace.output_tokens * 10000
    trace.cost_basis, trace.price_rate, trace.service_tier = "reported", "standard", "standard"
    trace.price_version = "registry:0123456789ab"
    trace.latency_ms = round(chance.lognormvariate(0, 0.5) * 400 + trace.output_tokens * 4, 1)
    trace.stream = chance.random() < 0.4
    trace.first_token_ms = round(trace.latency_ms / 5, 1) if trace.stream else None
    trace.overhead_ms = round(chance.uniform(2, 9), 2)
    trace.request = {"model": habit.model, "messages": [{"role": "user", "content": "Please look at the invoice."}]}
    trace.response = {"choices": [{"message": {"role": "assistant", "content": "It is about three items."}}]}
    return trace


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--now", type=datetime.fromisoformat, default=datetime.now(UTC))
    given = parser.parse_args()
    print(seed_month(given.data, given.now, given.rows), "traces are in the store")  # noqa: T201 - a command
