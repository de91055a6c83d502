"""A realistic month of traces of several apps, through the real spool and store: weekdays, office hours, mistakes.

    .venv/bin/python -m tests.support.month DATA_FOLDER [--rows 20000] [--now 2026-11-26T10:00:00Z]

Derived from the row's number and the present alone: the same arguments give the same figures. It knows the apps of
`console_registry`.
"""

import argparse
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from llmguard.domain.identifiers import TraceIds
from llmguard.domain.trace import Trace
from llmguard.gateway.assembly import assemble
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool, SpoolLimits
from tests.support.gateway import Gateway
from tests.support.month_habits import HABITS
from tests.support.month_state import seed_keys, seed_state

DAYS = 62  # as many as two months have: one to compare with
HOURS = (0, 0, 0, 0, 0, 1, 2, 6, 14, 18, 17, 13, 9, 14, 16, 15, 12, 7, 3, 2, 1, 1, 0.5, 0.2)
WEEKDAYS = (1, 1.1, 1.05, 1, 0.8, 0.15, 0.1)


def seed_month(data: Path, now: datetime, rows: int, *, days: int = DAYS, keys: Mapping[str, str] | None = None) -> int:
    """Write about so many traces that end now, with these keys by app; return how many are in the store."""
    chance = random.Random(f"{rows}")
    ids = TraceIds()
    spool = Spool(data / "spool", "month", limits=SpoolLimits(backlog_bytes=1 << 40))
    moments = list(_moments(chance, now, rows, days))
    for moment in moments:
        spool.append(_trace(chance, ids, moment, 1 - (now - moment) / timedelta(days=days), keys or {}))
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


def _trace(chance, ids, moment, progress, keys):
    habit = chance.choices(HABITS, [habit.share * habit.trend(progress) for habit in HABITS])[0]
    trace = Trace(
        ids.new(moment),
        moment,
        "/v1/chat/completions",
        app=habit.app,
        owner=habit.owner,
        team=habit.team,
        cost_center=habit.cost_center,
        key_id=keys.get(habit.app, "KEYOFAPP"),
        preset=habit.preset,
        preset_version=habit.version,
        registry_digest="a" * 64,
        redaction_digest="b" * 64,
        policy_digest="builtin-3",
    )
    luck = chance.random()
    if luck < 0.002:
        return _stranger(trace)
    if luck < 0.035 or habit.is_refused:
        return _refused(chance, trace, habit)
    asked, answered = chance.choice(habit.talks)
    hidden = {name: _placeholder(habit.app, name, chance.randint(1, 12)) for name in habit.entities}
    trace.entities = {name: f"{asked}{answered}".count(f"{{{name}}}") for name in habit.entities if name in asked}
    trace.decision = {"allowed": True, "adjusted": [], "reasons": []}
    trace.request = {
        "model": habit.model,
        "messages": [
            {"role": "system", "content": "You help busy colleagues."},
            {"role": "user", "content": asked.format(**hidden)},
        ],
        "temperature": 0.1,
        "max_tokens": 400,
    }
    trace.provider, trace.model, trace.price_version = "echo", habit.model, "registry:0123456789ab"
    trace.stream = chance.random() < 0.4
    if luck < 0.043:
        return _failed(chance, trace)
    return _answered(chance, trace, habit, answered.format(**hidden))


@cache
def _placeholder(app, name, number):
    """Return one of the placeholders that an app has for values of a type."""
    letters = random.Random(f"{app} {name} {number}")
    code = "".join(letters.choice("BCDFGKLMNPRSTVWXZ") + letters.choice("AEIOU") for _ in range(6))
    return f"<{name}_{code}>"


def _stranger(trace):
    return Trace(
        trace.trace_id,
        trace.started_at,
        trace.endpoint,
        status=401,
        code="invalid_api_key",
        decision={
            "allowed": False,
            "reasons": [
                {
                    "code": "invalid_api_key",
                    "message": "This key is not known here.",
                    "hint": "Ask the owner of the app for its key.",
                }
            ],
        },
        latency_ms=0.4,
        overhead_ms=0.4,
        steps={"settle": 350, "trace": 400},
    )


def _refused(chance, trace, habit):
    code, status, param, message, hint = chance.choice(habit.refusals)
    trace.status, trace.code = status, code
    trace.decision = {
        "allowed": False,
        "reasons": [{"code": code, "message": message, "hint": hint, "param": param}],
    }
    trace.latency_ms = trace.overhead_ms = round(chance.uniform(1, 6), 2)
    at = {"preset_not_allowed": 1, "model_not_found": 1, "app_not_approved": 3, "parameter_not_allowed": 3}.get(code, 4)
    _time(chance, trace, ("authenticate", "resolve", "decide", "redact")[:at], trace.overhead_ms)
    return trace


def _failed(chance, trace):
    trace.status, trace.code = chance.choice(((502, "provider_error"), (504, "provider_timeout")))
    reason = {"code": trace.code, "message": "echo did not answer.", "hint": "Send it again in a minute."}
    trace.decision = {"allowed": True, "reasons": [reason]}
    trace.latency_ms, trace.overhead_ms = round(chance.uniform(2000, 30000), 1), 4.0
    _time(chance, trace, ("authenticate", "resolve", "decide", "redact", "reserve"), 3.8)
    return trace


def _answered(chance, trace, habit, answer):
    trace.status = 200
    trace.input_tokens = int(chance.lognormvariate(0, 0.5) * habit.words)
    trace.output_tokens = int(chance.lognormvariate(0, 0.6) * habit.words / 3)
    trace.cached_tokens = trace.input_tokens // 3 if chance.random() < 0.3 else 0
    trace.reasoning_tokens = trace.cache_write_tokens = trace.cache_write_1h_tokens = 0
    trace.audio_input_tokens = trace.audio_output_tokens = 0
    trace.cost_nano_usd = trace.input_tokens * 2500 + trace.output_tokens * 10000
    trace.cost_basis, trace.price_rate, trace.service_tier = "reported", "standard", "standard"
    trace.latency_ms = round(chance.lognormvariate(0, 0.5) * 400 + trace.output_tokens * 4, 1)
    trace.first_token_ms = round(trace.latency_ms / 5, 1) if trace.stream else None
    trace.overhead_ms = round(chance.uniform(2, 9), 2)
    usage = {
        "prompt_tokens": trace.input_tokens,
        "completion_tokens": trace.output_tokens,
        "total_tokens": trace.input_tokens + trace.output_tokens,
    }
    frame = {"id": f"chatcmpl-{trace.trace_id}", "created": int(trace.started_at.timestamp()), "model": habit.model}
    if trace.stream:
        trace.request |= {"stream": True}
        trace.chunks = list(_chunks(frame, answer, usage))
        trace.response = assemble(trace.chunks)
    else:
        message = {"role": "assistant", "content": answer, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        trace.response = {**frame, "object": "chat.completion", "choices": [choice], "usage": usage}
    _time(chance, trace, ("authenticate", "resolve", "decide", "redact", "reserve"), trace.overhead_ms * 0.9)
    trace.steps |= {"call": int(trace.latency_ms * 1000) - 150, "settle": int(trace.latency_ms * 1000) - 40}
    trace.steps["trace"] = int(trace.latency_ms * 1000) + chance.randint(20, 400)
    return trace


def _chunks(frame, answer, usage):
    frame = {**frame, "object": "chat.completion.chunk"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": f"{word} "} for word in answer.split(" "))]
    for delta in deltas:
        yield {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**frame, "choices": [], "usage": usage}


def _time(chance, trace, names, whole_ms):
    """Let these steps end one after the other; the text takes longest to hide. The rest follows at the end."""
    weights = [(12 if name == "redact" else 1) * chance.uniform(0.5, 1.5) for name in names]
    at = 0.0
    for name, weight in zip(names, weights, strict=True):
        at += weight
        trace.steps[name] = int(whole_ms * 1000 * at / sum(weights) * 0.95)
    end = int((trace.latency_ms or whole_ms) * 1000)
    trace.steps |= {"settle": end - 20, "trace": end}


def seed_installation(gateway: Gateway, now: datetime, rows: int) -> None:
    """Fill the data folder of a gateway that does not run yet: traces, keys, ledger, requests for more."""
    gateway.data.mkdir(mode=0o700)
    keys = seed_keys(gateway.data, now)
    seed_month(gateway.data, now, rows, keys=keys)
    seed_state(gateway.data, gateway.registry, now)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--now", type=datetime.fromisoformat, default=datetime.now(UTC))
    given = parser.parse_args()
    print(seed_month(given.data, given.now, given.rows), "traces are in the store")  # noqa: T201 - a command
