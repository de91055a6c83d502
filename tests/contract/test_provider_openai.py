"""The openai provider and the calling step against a real server that misbehaves."""

import asyncio
import base64
import contextlib
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from llmguard.domain.errors import Fault, GuardError, Refusal
from llmguard.providers.adapter import AttemptFailed, prepare_body
from llmguard.providers.answer import AnswerLimits
from llmguard.providers.calling import Providers, Waiting
from llmguard.providers.openai import OpenAiAdapter
from llmguard.providers.tokens import TokenCounter
from llmguard.providers.usage import is_usage_chunk, read_usage
from tests.support.builders import FrozenClock, a_model, a_provider
from tests.support import provider_server
from tests.support.provider_server import ProviderServer

TRACE = "019aafd0-0000-7000-8000-000000000001"
KEY = "sk-upstream-secret-1234567890"
SAID = "Grüße an Dana Müller, dana@example.com – 😀"


@pytest.fixture(scope="module")
def tokens():
    return TokenCounter()


@pytest.fixture
def server():
    with ProviderServer() as running:
        yield running


class Pauses:
    """Records the pauses between attempts instead of sleeping; draws always 0.5."""

    def __init__(self):
        self.seconds = []

    async def sleep(self, seconds):
        self.seconds.append(seconds)

    @property
    def waiting(self):
        return Waiting(sleep=self.sleep, random=lambda: 0.5)


@pytest.fixture
def pauses():
    return Pauses()


@pytest.fixture
async def providers(tokens, pauses):
    running = Providers(
        environ={"UPSTREAM_KEY": KEY}, clock=FrozenClock(), tokens=tokens, waiting=pauses.waiting, connection_limit=10
    )
    await running.start()
    yield running
    await running.close()


def a_remote(server, behaviour="", *, name="gpt-4o-mini", **changes):
    model = {field: changes.pop(field) for field in ("max_tokens_field", "context_tokens") if field in changes}
    facts = {"name": "openai", "kind": "openai", "base_url": server.base_url, "api_key_env": "UPSTREAM_KEY"}
    target = f"gpt-4o-mini+{behaviour}" if behaviour else "gpt-4o-mini"
    return a_model(name=name, target=target, provider=a_provider(**(facts | changes)), **model)


def a_body(text=SAID, **more):
    return {"model": "summarise", "messages": [{"role": "user", "content": text}], **more}


def a_tool(name="lookup"):
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


async def collect(call):
    async with call:
        return [chunk async for chunk in call.chunks]


def text_of(chunks):
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def failure_of(call):
    with pytest.raises(GuardError) as caught:
        await collect(call)
    return caught.value


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
    assert [is_usage_chunk(chunk) for chunk in chunks].count(True) == 1
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


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_passing_trouble_is_tried_again(providers, server, pauses, status):
    call = providers.call([a_remote(server, f"fail={status}x2")], a_body(), trace_id=TRACE)

    answers = await collect(call)

    assert answers[0]["choices"][0]["message"]["content"] == SAID
    assert [attempt.outcome for attempt in call.attempts] == [str(status), str(status), "answered"]
    assert pauses.seconds == [0.125, 0.25]
    assert {got.request_id for got in server.received} == {TRACE}


async def test_retry_waits_as_long_as_the_provider_asks(providers, server, pauses):
    await collect(providers.call([a_remote(server, "fail=429x1+retry_after=3")], a_body(), trace_id=TRACE))

    assert pauses.seconds == [3.0]


async def test_provider_that_asks_for_too_long_a_wait_is_not_waited_for(providers, server, pauses):
    call = providers.call([a_remote(server, "status=429+retry_after=3600")], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, fault.retry_after_seconds, pauses.seconds) == ("provider_error", 3600.0, [])
    assert len(server.received) == 1
    assert call.reached
    assert not call.may_have_cost


async def test_provider_that_says_no_to_retries_is_obeyed(providers, server):
    await failure_of(providers.call([a_remote(server, "status=500+no_retry")], a_body(), trace_id=TRACE))

    assert len(server.received) == 1


async def test_retries_end(providers, server, pauses):
    call = providers.call([a_remote(server, "status=500", max_retries=3)], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, fault.status, len(server.received), len(pauses.seconds)) == ("provider_error", 502, 4, 3)
    assert call.may_have_cost


@pytest.mark.parametrize(
    "behaviour",
    ["status=500", "status=401", "status=403", "status=404", "status=302", "status=429+code=insufficient_quota",
     "close=before", "close=half", "garbage", "never", "stall", "usage=missing+type=text/html+stream"],
)  # fmt: skip
async def test_next_model_answers_when_the_first_cannot(providers, server, behaviour):
    first = a_remote(server, behaviour, name="first", max_retries=0, first_byte_timeout_seconds=0.2)
    second = a_remote(server, "prefix=4", name="second")
    stream = behaviour.endswith("stream")
    if stream:
        first = a_remote(server, "type=text/html", name="first")
    call = providers.call([first, second], a_body(stream=stream), trace_id=TRACE)

    answers = await collect(call)

    answered = text_of(answers) if stream else answers[0]["choices"][0]["message"]["content"]
    assert answered == SAID[:4]
    assert call.model is second
    assert call.body["model"] == second.target
    assert [(attempt.model, attempt.outcome) for attempt in call.attempts][-1] == ("second", "answered")
    assert len(call.attempts) == 2


async def test_request_that_is_wrong_everywhere_is_not_sent_to_the_next_model(providers, server):
    models = [a_remote(server, "status=400+code=invalid_value+param=tools[0].function"), a_remote(server)]
    call = providers.call(models, a_body(), trace_id=TRACE)

    refusal = await failure_of(call)

    assert (refusal.code, refusal.param) == ("invalid_request", "tools[0].function")
    assert "invalid_value" in refusal.message
    assert len(server.received) == 1
    assert call.reached
    assert not call.may_have_cost


@pytest.mark.parametrize(
    ("behaviour", "code", "status"),
    [
        ("status=400", "invalid_request", 400),
        ("status=422", "invalid_request", 400),
        ("status=400+code=context_length_exceeded", "context_length_exceeded", 400),
        ("status=413", "request_too_large", 413),
        ("status=401", "provider_error", 502),
        ("status=403", "provider_error", 502),
        ("status=404", "provider_error", 502),
        ("status=302", "provider_error", 502),
        ("status=429", "provider_error", 502),
        ("status=429+code=insufficient_quota", "provider_error", 502),
        ("status=500", "provider_error", 502),
        ("close=before", "provider_error", 502),
        ("close=half", "provider_error", 502),
        ("garbage", "provider_error", 502),
        ("never", "provider_timeout", 504),
        ("stall", "provider_timeout", 504),
    ],
)
async def test_failure_has_its_code_and_gives_nothing_away(providers, server, caplog, behaviour, code, status):
    model = a_remote(server, behaviour, max_retries=0, first_byte_timeout_seconds=0.2)
    call = providers.call([model], a_body(), trace_id=TRACE)

    failure = await failure_of(call)

    assert (failure.code, failure.status) == (code, status)
    shown = f"{failure} {failure!r} {failure.hint} {failure.param} {call!r} {call.attempts} {caplog.text}"
    for secret in (KEY, "dana@example.com", "127.0.0.1", server.base_url):
        assert secret not in shown
    assert failure.__cause__ is None
    assert failure.__suppress_context__ or failure.__context__ is None


async def test_credentials_that_the_provider_refuses_are_named_by_their_variable(providers, server):
    fault = await failure_of(providers.call([a_remote(server, "status=401")], a_body(), trace_id=TRACE))

    assert "llmguard's own credentials" in fault.message
    assert "UPSTREAM_KEY" in fault.hint


@pytest.mark.parametrize("key", [None, "", "  ", "line\nbreak", "schlüssel"])
async def test_key_that_is_missing_or_unusable_reaches_nobody(tokens, server, key):
    environ = {} if key is None else {"UPSTREAM_KEY": key}
    providers = Providers(environ=environ, clock=FrozenClock(), tokens=tokens)
    call = providers.call([a_remote(server)], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, call.reached, call.may_have_cost) == ("provider_error", False, False)
    assert "UPSTREAM_KEY" in fault.message
    assert server.received == []
    await providers.close()


async def test_key_is_read_at_each_call(tokens, server):
    environ = {}
    providers = Providers(environ=environ, clock=FrozenClock(), tokens=tokens)
    await failure_of(providers.call([a_remote(server)], a_body(), trace_id=TRACE))
    environ["UPSTREAM_KEY"] = "sk-new\n"

    await collect(providers.call([a_remote(server)], a_body(), trace_id=TRACE))

    assert server.received[0].headers["authorization"] == "Bearer sk-new"
    await providers.close()


async def test_nobody_listening_is_not_reached_and_tried_again(providers, pauses):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        model = a_model(provider=a_provider(kind="openai", base_url=base_url))
        call = providers.call([model], a_body(), trace_id=TRACE)

        fault = await failure_of(call)

    assert (fault.code, call.reached, call.may_have_cost) == ("provider_error", False, False)
    assert [attempt.outcome for attempt in call.attempts] == ["not_connected"] * 3
    assert len(pauses.seconds) == 2


async def test_full_backlog_is_a_timeout_that_reached_nobody(providers):
    with socket.socket() as full, contextlib.ExitStack() as fillers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        provider = a_provider(kind="openai", base_url=base_url, connect_timeout_seconds=0.1, max_retries=0)
        call = providers.call([a_model(provider=provider)], a_body(), trace_id=TRACE)

        fault = await failure_of(call)

    assert (fault.code, call.reached) == ("provider_timeout", False)
    assert call.attempts[0].outcome == "timeout_connection"


@pytest.mark.parametrize(
    "base_url", ["nonsense", "http://", "ftp://example.invalid/v1", "http://[::1", "http://a b/v1"]
)
async def test_address_that_makes_no_sense_is_the_operators_fault(providers, base_url):
    provider = a_provider(kind="openai", base_url=base_url, max_retries=0)
    call = providers.call([a_model(provider=provider)], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert fault.code == "provider_error"
    assert base_url not in f"{fault} {fault.hint}"


@pytest.mark.parametrize("behaviour", ["close=half", "garbage", "sse_error", "sse_error=named", "no_finish", "stall"])
async def test_stream_that_goes_wrong_gives_its_chunks_and_then_the_error(providers, server, behaviour):
    model = a_remote(server, behaviour + "+chars=4", total_timeout_seconds=0.5)
    chunks = []

    with pytest.raises(Fault) as caught:
        async with providers.call([model], a_body(stream=True), trace_id=TRACE) as call:
            async for chunk in call.chunks:
                chunks.append(chunk)  # noqa: PERF401 - what came before the error counts

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


async def test_whole_answer_may_have_less_time_than_the_first_byte(providers, server):
    model = a_remote(server, "never", total_timeout_seconds=0.1)

    fault = await failure_of(providers.call([model], a_body(), trace_id=TRACE))

    assert fault.code == "provider_timeout"
    assert "whole answer" in fault.message


async def test_error_without_json_is_understood_by_its_status(providers, server):
    model = a_remote(server, "status=400+garbage")

    refusal = await failure_of(providers.call([model], a_body(), trace_id=TRACE))

    assert (refusal.code, refusal.param) == ("invalid_request", None)


async def test_text_that_no_utf8_can_carry_is_refused_and_not_sent(providers, server):
    call = providers.call([a_remote(server)], a_body("half \ud800"), trace_id=TRACE)

    refusal = await failure_of(call)

    assert (refusal.code, call.reached, server.received) == ("invalid_request", False, [])


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("Mon, 23 Nov 2026 12:00:04 GMT", 4.0), ("Mon, 23 Nov 2026 11:00:00 GMT", 0.125), ("soon", 0.125), ("inf", None)],
)
async def test_retry_after_is_read_in_every_form(providers, server, pauses, asked, seconds):
    model = a_remote(server, f"fail=429x1+retry_after={asked.replace(' ', '%20')}")
    call = providers.call([model], a_body(), trace_id=TRACE)

    if seconds is None:
        assert (await failure_of(call)).retry_after_seconds == 24 * 3600
    else:
        await collect(call)
        assert pauses.seconds == [seconds]


async def test_leaving_the_call_hangs_up_at_once(providers, server):
    model = a_remote(server, "chars=1+pause=0.05")

    async with providers.call([model], a_body("x" * 1000, stream=True), trace_id=TRACE) as call:
        await anext(call.chunks)

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
async def test_answer_that_is_too_large_is_cut_off(server, behaviour, stream):
    limits = AnswerLimits(answer_bytes=10_000, event_bytes=2_000)
    adapter = OpenAiAdapter({}, FrozenClock(), limits=limits)
    model = a_remote(server, behaviour, api_key_env=None)

    with pytest.raises(AttemptFailed) as caught:
        async for _ in adapter.attempt(model, prepare_body(model, a_body(stream=stream)), trace_id=TRACE):
            pass

    assert caught.value.outcome == "too_large"
    await adapter.close()


async def test_call_with_no_model_is_a_defect(providers):
    with pytest.raises(IndexError):
        providers.call([], a_body(), trace_id=TRACE)


async def test_total_time_covers_the_retries(tokens, server):
    providers = Providers(environ={}, clock=FrozenClock(), tokens=tokens, waiting=Waiting(random=lambda: 1.0))
    model = a_remote(server, "status=503+retry_after=5", api_key_env=None, total_timeout_seconds=3.0)

    await failure_of(providers.call([model], a_body(), trace_id=TRACE))

    assert len(server.received) == 1
    await providers.close()


async def test_fifty_callers_share_the_connections(providers, server):
    calls = [providers.call([a_remote(server)], a_body(f"text {i}"), trace_id=f"{i}") for i in range(50)]

    answers = await asyncio.gather(*map(collect, calls))

    assert [answer[0]["choices"][0]["message"]["content"] for answer in answers] == [f"text {i}" for i in range(50)]
    assert server.connections <= 10


async def test_server_runs_alone_and_tells_what_it_got(tokens):
    script = Path(provider_server.__file__)
    providers = Providers(environ={"UPSTREAM_KEY": KEY}, clock=FrozenClock(), tokens=tokens)
    with subprocess.Popen([sys.executable, "-I", script, "--port", "0"], stdout=subprocess.PIPE) as process:
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
