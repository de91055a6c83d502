"""What a request costs, whatever JSON its provider makes up: each hold is settled and each trace is there."""

import json
import time
from dataclasses import replace
from decimal import Decimal
from urllib.parse import quote

import httpx
import pytest

from llmguard.domain.money import UNKNOWN_PRICE, Price, Variant
from tests.support.builders import a_quota
from tests.support.provider_server import ProviderServer
from tests.support.served import Served, a_registry_at

WORDS = "word " * 300  # 301 tokens
LIMIT = 4_096  # what is held for an answer where nobody names a limit
END = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}

ODD_CALLS = {
    "texts": ["x"],
    "object": {"a": 1},
    "number": 5,
    "list as index": [{"index": [1], "function": {"arguments": "x"}}],
    "negative index": [{"index": -1, "function": {"arguments": "x"}}],
    "huge index": [{"index": 10**40, "function": {"arguments": "x"}}],
    "mixed indexes": [{"index": "a", "function": {"arguments": "x"}}, {"index": 0, "function": {"arguments": "y"}}],
    "text as function": [{"index": 0, "function": "x"}],
    "number as arguments": [{"index": 0, "function": {"arguments": 5}}],
    "number as name": [{"index": 0, "function": {"name": 5}}],
    "number as id": [{"index": 0, "id": 5}],
    "text as custom": [{"index": 0, "custom": "x"}],
    "number as input": [{"index": 0, "custom": {"input": 5}}],
}
ODD_MESSAGES = {f"calls: {name}": {"tool_calls": calls} for name, calls in ODD_CALLS.items()} | {
    "number as content": {"content": 5},
    "numbers as content": {"content": [1, "x"]},
    "number as refusal": {"refusal": 5},
    "number as function call": {"function_call": 5},
}
ODD = pytest.mark.parametrize("message", ODD_MESSAGES.values(), ids=ODD_MESSAGES)


def a_chunk(delta, finish=None, **more):
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def a_completion(message, **more):
    return {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}


def usage(read, written):
    return {"usage": {"prompt_tokens": read, "completion_tokens": written}}


@pytest.fixture(scope="module")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="module")
def served(provider, tmp_path_factory):
    registry = a_registry_at(provider.base_url, quota=a_quota(tokens_per_month=10_000_000))
    with Served(tmp_path_factory.mktemp("door"), registry=registry) as door:
        yield door


def asked(served, *, stream):
    body = {"model": "summarise", "messages": [{"role": "user", "content": "Hello"}]}
    return {"json": body | {"stream": stream}, "headers": {"authorization": f"Bearer {served.key}"}}


def settled(served, trace_id):
    """Return the trace and the month's standing, once nothing is held any more."""
    deadline = time.monotonic() + 60
    while (month := standing(served))["held"]:
        assert time.monotonic() < deadline, "the hold is still open"
        time.sleep(0.02)
    trace = served.reader.show(trace_id)
    assert trace is not None
    return trace, month


def standing(served):
    got = httpx.get(f"{served.base_url}/me", headers={"authorization": f"Bearer {served.key}"}, timeout=60).json()
    return next(quota for quota in got["quota"] if quota["name"] == "tokens_per_month")


def asking(served, provider, *, events=None, answer=None):
    """Return status, text, trace, and the tokens that the answer took from the month."""
    what = f"events={quote(json.dumps(events))}" if answer is None else f"answer={quote(json.dumps(answer))}"
    provider.queue(what)
    before = standing(served)["used"]
    got = httpx.post(f"{served.base_url}/chat/completions", **asked(served, stream=answer is None), timeout=60)
    trace, month = settled(served, got.headers["x-llmguard-trace-id"])
    charged = month["used"] - before
    assert charged == trace["input_tokens"] + trace["output_tokens"]
    return got, trace, charged


@ODD
def test_odd_message_is_an_error_that_is_traced_and_settled(served, provider, message):
    got, trace, charged = asking(served, provider, answer=a_completion(message))

    assert (got.status_code, got.json()["error"]["code"]) == (502, "provider_error")
    assert trace["code"] == "provider_error"
    assert charged > 0


@ODD
def test_odd_delta_ends_the_stream_with_an_error_that_is_traced_and_settled(served, provider, message):
    got, trace, charged = asking(served, provider, events=[a_chunk({"content": WORDS}), a_chunk(message), END])

    assert "provider_error" in got.text
    assert trace["code"] == "provider_error"
    assert charged > 300


def test_answer_that_cannot_be_counted_costs_its_whole_hold(served, provider, monkeypatch):
    def fails(*_):
        raise ValueError("secret words")

    monkeypatch.setattr(served.recorder.tokens, "count_answer", fails)

    got, trace, charged = asking(served, provider, events=[a_chunk({"content": WORDS}), END])

    assert "[DONE]" in got.text
    assert trace["decision"]["usage_unknown"] == "ValueError"
    assert charged > LIMIT


def test_hang_up_after_an_early_usage_pays_for_what_was_written(served, provider):
    events = [a_chunk({"role": "assistant"}, **usage(0, 0)), *[a_chunk({"content": "word " * 10})] * 600, END]
    provider.queue(f"pause=0.01+events={quote(json.dumps(events))}")
    before, seen = standing(served)["used"], ""

    url = f"{served.base_url}/chat/completions"
    with httpx.stream("POST", url, **asked(served, stream=True), timeout=60) as got:
        for text in got.iter_text():
            seen += text
            if seen.count("word") >= 500:
                break
    trace, month = settled(served, got.headers["x-llmguard-trace-id"])

    assert trace["code"] == "client_disconnected"
    assert month["used"] - before >= 500


def test_early_usage_is_not_the_last_word_of_a_complete_answer(served, provider):
    _, _, charged = asking(
        served, provider, events=[a_chunk({"content": "a"}, **usage(0, 0)), a_chunk({"content": WORDS}), END]
    )

    assert charged > 300


@pytest.mark.parametrize("where", ["with the end", "after it"])
def test_usage_at_the_end_is_the_last_word(served, provider, where):
    end = [END | usage(7, 9)] if where == "with the end" else [END, {"id": "c", "choices": [], **usage(7, 9)}]

    _, _, charged = asking(served, provider, events=[a_chunk({"content": WORDS}, **usage(0, 0)), *end])

    assert charged == 16


@pytest.mark.parametrize(
    "delta",
    [
        {"content": WORDS},
        {"function_call": {"name": "f", "arguments": WORDS}},
        {"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": WORDS}}]},
        {"audio": {"transcript": WORDS}},
        {"reasoning_text": WORDS},
        {"reasoning_details": [{"text": WORDS}]},
    ],
    ids=lambda delta: next(iter(delta)),
)
def test_every_text_that_a_model_writes_is_counted(served, provider, delta):
    _, _, streamed = asking(served, provider, events=[a_chunk(delta), END])
    _, _, whole = asking(served, provider, answer=a_completion(delta))

    assert streamed > 300
    assert whole == streamed


@pytest.mark.parametrize("stream", [False, True])
def test_usage_beyond_belief_costs_the_hold_and_is_noted(served, provider, stream):
    said = usage(999_999_999, 999_999_999)
    what = (
        {"events": [a_chunk({"content": "a"}), END | said]}
        if stream
        else {"answer": a_completion({"content": "a"}, **said)}
    )

    _, trace, charged = asking(served, provider, **what)

    assert LIMIT < charged < 2 * LIMIT
    assert trace["decision"]["usage_implausible"] == {"input_tokens": 999_999_999, "output_tokens": 999_999_999}


def test_usage_somewhat_above_the_hold_is_believed(served, provider):
    _, trace, charged = asking(served, provider, answer=a_completion({"content": "a"}, **usage(10, 5 * LIMIT)))

    assert charged == 5 * LIMIT + 10
    assert "usage_implausible" not in trace["decision"]


def at(served, price):
    """Return a registry in which the one model costs something else."""
    registry = served.services.registry
    [preset] = registry.presets["summarise"]
    model = replace(preset.model, price=price)
    return replace(registry, models={model.name: model}, presets={"summarise": (replace(preset, model=model),)})


SPECIAL = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 400, "cache_creation_tokens": 50, "audio_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 60, "audio_tokens": 5},
}


def test_each_kind_of_token_is_charged_at_the_rates_of_the_tier_that_answered(served, provider, monkeypatch):
    flex = Variant(Decimal(1), Decimal(4), cached_input=Decimal("0.5"), audio_input=Decimal(20), tier="flex")
    price = Price(Decimal(2), Decimal(8), "registry:flex", (flex,))
    monkeypatch.setattr(served.services, "registry", at(served, price))

    answer = a_completion({"content": "Done."}, usage=SPECIAL, service_tier="flex")
    _, trace, _ = asking(served, provider, answer=answer)

    assert Decimal(trace["cost_usd"]) == Decimal(
        "0.00139"
    )  # 540 x 1 + 400 x 0.5 + 50 x 1 + 10 x 20 + 100 x 4 millionths
    kinds = ("cached_tokens", "cache_write_tokens", "audio_input_tokens", "reasoning_tokens", "audio_output_tokens")
    assert [trace[name] for name in kinds] == [400, 50, 10, 60, 5]
    assert (trace["service_tier"], trace["price_rate"], trace["cost_basis"]) == ("flex", "flex", "reported")
    assert trace["price_version"] == "registry:flex"


def test_an_unknown_price_leaves_the_cost_open_and_says_so(served, provider, monkeypatch):
    monkeypatch.setattr(served.services, "registry", at(served, UNKNOWN_PRICE))

    _, trace, _ = asking(served, provider, answer=a_completion({"content": "Done."}, usage=SPECIAL))

    assert (trace["cost_usd"], trace["price_version"], trace["input_tokens"]) == (None, "unknown", 1000)
