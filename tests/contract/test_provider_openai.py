"""The openai provider against a real server that cuts, breaks off and babbles."""

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from llmguard.domain.errors import Fault, Refusal
from llmguard.providers.adapter import AttemptFailed, prepare_body
from llmguard.providers.answer import AnswerLimits
from llmguard.providers.calling import Providers
from llmguard.providers.openai import OpenAiAdapter
from llmguard.providers.usage import read_usage
from tests.support import provider_server
from tests.support.builders import FrozenClock, a_model, a_provider
from tests.support.calls import KEY, SAID, TRACE, a_body, a_remote, a_tool, collect, failure_of, text_of


async def test_answer_comes_back_whole_with_its_usage(providers, server):
    call = providers.call([a_remote(server)], a_body(), trace_id=TRACE)

    answers = await collect(call)

    assert [answer["choices"][0]["message"]["content"] for answer in answers] == [SAID]
    reported = server.reported[0]
    usage = read_usage(answers[0])
    assert (usage.input_tokens, usage.output_tokens) == (reported.input_tokens, reported.output_tokens)
    assert [attempt.outcome for attempt in call.attempts] == ["answered"]


async def test_provider_gets_target_key_and_trace_id_and_nothing_of_the_app(providers, server):
    await collect(providers.call([a_remote(server)], a_body(temperature=0.1), trace_id=TRACE))

    got = server.received[0]
    assert got.path == "/v1/chat/completions"
    assert got.json == {**a_body(temperature=0.1), "model": "gpt-4o-mini"}
    assert got.headers["authorization"] == f"Bearer {KEY}"
    assert got.request_id == TRACE
    assert got.headers["user-agent"].startswith("llmguard/")
    assert set(got.headers) == {
        "host", "accept", "accept-encoding", "authorization", "content-length", "content-type", "user-agent",
        "x-request-id",
    }  # fmt: skip


async def test_body_of_the_caller_stays_as_it_is(providers, server):
    body = a_body(stream=True, max_tokens=5)
    before = json.dumps(body)

    await collect(providers.call([a_remote(server, max_tokens_field="max_completion_tokens")], body, trace_id=TRACE))

    assert json.dumps(body) == before
    assert server.received[0].json["max_completion_tokens"] == 5
    assert "max_tokens" not in server.received[0].json


async def test_server_without_keys_gets_no_authorization(providers, server):
    await collect(providers.call([a_remote(server, api_key_env=None)], a_body(), trace_id=TRACE))

    assert "authorization" not in server.received[0].headers


async def test_connection_is_used_again_after_answers_streams_and_errors(providers, server):
    for behaviour, stream in [("", False), ("", True), ("status=400", False), ("bytes=3", True), ("", False)]:
        with contextlib.suppress(Refusal):
            await collect(providers.call([a_remote(server, behaviour)], a_body(stream=stream), trace_id=TRACE))

    assert [got.connection for got in server.received] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("cut", ["bytes=1", "bytes=2", "bytes=7", "chars=1", "chars=1000", "bytes=1+crlf+comments"])
async def test_stream_is_the_same_however_it_is_cut(providers, server, cut):
    call = providers.call([a_remote(server, cut)], a_body(stream=True), trace_id=TRACE)

    chunks = await collect(call)

    assert text_of(chunks) == SAID
    assert [not chunk["choices"] and "usage" in chunk for chunk in chunks].count(True) == 1
    assert read_usage(chunks[-1]).output_tokens == server.reported[0].output_tokens
    assert server.received[0].json["stream_options"] == {"include_usage": True}


async def test_tool_calls_come_through_whole_and_streamed(providers, server):
    model, body = a_remote(server, "tools+chars=1"), a_body(tools=[a_tool("one"), a_tool("two")])

    whole = await collect(providers.call([model], body, trace_id=TRACE))
    chunks = await collect(providers.call([model], {**body, "stream": True}, trace_id=TRACE))

    calls = whole[0]["choices"][0]["message"]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"query": SAID}] * 2
    pieces = ["", ""]
    for chunk in chunks:
        for choice in chunk["choices"]:
            for called in choice["delta"].get("tool_calls", []):
                pieces[called["index"]] += called["function"]["arguments"]
    assert [json.loads(piece) for piece in pieces] == [{"query": SAID}] * 2


@pytest.mark.parametrize("behaviour", ["close=half", "garbage", "sse_error", "sse_error=named", "no_finish", "stall"])
async def test_stream_that_goes_wrong_gives_its_chunks_and_then_the_error(providers, server, behaviour):
    seconds = 0.5 if behaviour == "stall" else 60.0
    model = a_remote(server, behaviour + "+chars=4", total_timeout_seconds=seconds)
    chunks = []

    with pytest.raises(Fault) as caught:
        async with providers.call([model], a_body(stream=True), trace_id=TRACE) as call:
            async for came in call.answer:
                chunks += came

    assert caught.value.code == ("provider_timeout" if behaviour == "stall" else "provider_error")
    assert len(chunks) >= 2
    assert SAID.startswith(text_of(chunks))
    assert call.may_have_cost
    assert len(server.received) == 1  # nothing is tried again after the first byte


async def test_stream_without_done_is_complete_when_every_choice_said_why_it_ended(providers, server):
    model = a_remote(server, "no_done")

    chunks = await collect(providers.call([model], a_body(stream=True, n=2), trace_id=TRACE))

    assert text_of(chunks).count("G") == 2


async def test_server_that_keeps_the_body_open_after_done_does_not_keep_the_app(providers, server):
    model = a_remote(server, "lingers", total_timeout_seconds=60)

    chunks = await collect(providers.call([model], a_body(stream=True), trace_id=TRACE))

    assert text_of(chunks) == SAID
    assert await asyncio.to_thread(server.wait_for, lambda: server.received[0].outcome == "hung_up")


async def test_server_that_refuses_stream_options_is_asked_without_them(providers, server):
    server.script("refuses_stream_options")

    for _ in range(2):
        chunks = await collect(providers.call([a_remote(server)], a_body(stream=True), trace_id=TRACE))
        assert text_of(chunks) == SAID

    asked = ["stream_options" in got.json for got in server.received]
    assert asked == [True, False, False]  # and it is remembered


async def test_error_that_only_repeats_the_words_stream_options_changes_nothing(providers, server):
    server.script("status=400+error_text=you%20said%20stream_options")
    await failure_of(providers.call([a_remote(server)], a_body(stream=True), trace_id=TRACE))
    server.script("")

    await collect(providers.call([a_remote(server)], a_body(stream=True), trace_id=TRACE))

    assert "stream_options" in server.received[-1].json


async def test_stream_of_nothing_is_an_error_before_the_first_byte(providers, server):
    call = providers.call([a_remote(server, "empty")], a_body(stream=True), trace_id=TRACE)

    fault = await failure_of(call)

    assert fault.code == "provider_error"
    assert len(server.received) == 3


async def test_error_without_json_is_understood_by_its_status(providers, server):
    model = a_remote(server, "status=400+garbage")

    refusal = await failure_of(providers.call([model], a_body(), trace_id=TRACE))

    assert (refusal.code, refusal.param) == ("invalid_request", None)


async def test_text_that_no_utf8_can_carry_is_refused_and_not_sent(providers, server):
    call = providers.call([a_remote(server)], a_body("half \ud800"), trace_id=TRACE)

    refusal = await failure_of(call)

    assert (refusal.code, call.reached, server.received) == ("invalid_request", False, [])


async def test_leaving_the_call_hangs_up_at_once(providers, server):
    model = a_remote(server, "chars=1+pause=0.05")

    async with providers.call([model], a_body("x" * 1000, stream=True), trace_id=TRACE) as call:
        await anext(call.answer)

    assert await asyncio.to_thread(server.wait_for, lambda: server.received[0].outcome == "hung_up")
    assert server.received[0].chunks_sent < 100
    assert server.reported == []


@pytest.mark.parametrize(("behaviour", "stream"), [("never", False), ("chars=1+pause=0.05", True)])
async def test_cancelling_the_call_hangs_up_at_once(providers, server, behaviour, stream):
    call = providers.call([a_remote(server, behaviour)], a_body("x" * 1000, stream=stream), trace_id=TRACE)
    running = asyncio.create_task(collect(call))
    assert await asyncio.to_thread(server.wait_for, lambda: server.received)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(server.wait_for, lambda: server.received[0].outcome == "hung_up")
    assert call.reached
    assert call.may_have_cost


@pytest.mark.parametrize(
    ("behaviour", "stream"),
    [("huge=20000", False), ("huge=3000+chars=3000", True), ("huge=9000+chars=10", True)],
    ids=["answer", "one event", "many events"],
)
async def test_answer_that_is_too_large_is_cut_off(server, tokens, behaviour, stream):
    limits = AnswerLimits(answer_bytes=10_000, event_bytes=2_000)
    adapter = OpenAiAdapter({}, FrozenClock(), tokens, limits=limits)
    model = a_remote(server, behaviour, api_key_env=None)

    with pytest.raises(AttemptFailed) as caught:
        async for _ in adapter.attempt(model, prepare_body(model, a_body(stream=stream)), trace_id=TRACE):
            pass

    assert caught.value.outcome == "too_large"
    await adapter.close()


async def test_fifty_callers_share_the_connections(providers, server):
    calls = [providers.call([a_remote(server)], a_body(f"text {i}"), trace_id=f"{i}") for i in range(50)]

    answers = await asyncio.gather(*map(collect, calls))

    assert [answer[0]["choices"][0]["message"]["content"] for answer in answers] == [f"text {i}" for i in range(50)]
    assert server.connections <= 10


async def test_server_runs_alone_and_tells_what_it_got(tokens):
    script = Path(provider_server.__file__)
    providers = Providers(environ={"UPSTREAM_KEY": KEY}, clock=FrozenClock(), tokens=tokens)
    command = [sys.executable, "-I", script, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220 - a test waits for little else
        base_url = json.loads(process.stdout.readline())["base_url"]
        model = a_model(provider=a_provider(kind="openai", base_url=base_url))
        ask(base_url, "/_script", {"queue": ["text=Hi"]})
        answers = await collect(providers.call([model], a_body(), trace_id=TRACE))
        received, reported = ask(base_url, "/_received"), ask(base_url, "/_reported")
        raw = base64.b64decode(ask(base_url, "/_raw")["base64"])
        process.terminate()

    assert answers[0]["choices"][0]["message"]["content"] == "Hi"
    assert [got["path"] for got in received] == ["/v1/chat/completions"]
    assert [report["request_id"] for report in reported] == [TRACE]
    assert SAID.encode() in raw
    await providers.close()


def ask(base_url, path, body=None):
    url = base_url.removesuffix("/v1") + path
    content = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data=content, timeout=10) as response:
        return json.load(response)
