"""The litellm provider against a server that speaks Anthropic's and Gemini's wire formats."""

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from llmguard.domain.chat import Usage
from llmguard.domain.errors import Fault, GuardError, Refusal
from llmguard.providers.calling import Providers
from llmguard.providers.tokens import TokenCounter
from llmguard.providers.usage import read_usage
from tests.support.builders import FrozenClock, a_model, a_provider
from tests.support.foreign_wires import WIRES
from tests.support.provider_server import ProviderServer

ROOT = Path(__file__).parents[2]
TRACE = "019aafd0-0000-7000-8000-000000000001"
KEY = "sk-ant-upstream-secret-1234567890"
SAID = "Grüße an Dana Müller, dana@example.com, 😀"


@pytest.fixture
def server():
    with ProviderServer(wires=WIRES) as running:
        yield running


@pytest.fixture
async def providers():
    running = Providers(environ={"FOREIGN_KEY": KEY}, clock=FrozenClock(), tokens=TokenCounter())
    await running.start(["litellm"])
    yield running
    await running.close()


def claude(server, **changes):
    base_url = server.base_url.removesuffix("/v1")
    facts = {"name": "claude", "kind": "litellm", "base_url": base_url, "api_key_env": "FOREIGN_KEY", "max_retries": 0}
    return a_model(name="claude", target="anthropic/claude-sonnet-4-5", provider=a_provider(**(facts | changes)))


def gemini(server):
    base_url = server.base_url.removesuffix("/v1")
    provider = a_provider(name="google", kind="litellm", base_url=base_url, api_key_env="FOREIGN_KEY", max_retries=0)
    return a_model(name="gemini", target="gemini/gemini-2.5-flash", provider=provider)


TOO_LONG = "prompt%20is%20too%20long:%20210000%20tokens%20%3E%20200000"  # in Anthropic's words
MODELS = pytest.mark.parametrize("model_at", [claude, gemini])


def a_body(text=SAID, **more):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return {"model": "summarise", "messages": messages, "max_tokens": 100, **more}


def a_tool():
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    return {"type": "function", "function": {"name": "lookup", "description": "Looks up.", "parameters": parameters}}


async def collect(call):
    async with call:
        return [chunk async for came in call.answer for chunk in came]


def deltas_of(chunks):
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


@pytest.fixture
def shown(caplog, capfd):
    """Return what was logged and printed so far."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text + "".join(capfd.readouterr())


@MODELS
async def test_answer_is_translated_both_ways(providers, server, model_at):
    call = providers.call([model_at(server)], a_body(temperature=0.2), trace_id=TRACE)

    (answer,) = await collect(call)

    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == SAID
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert read_usage(answer).output_tokens == 7
    got = server.received[0]
    assert got.request_id == TRACE
    assert KEY in (got.headers.get("x-api-key"), got.headers.get("x-goog-api-key"))
    json.dumps(answer)


async def test_anthropic_gets_the_translated_request_and_nothing_else(providers, server):
    await collect(providers.call([claude(server)], a_body(temperature=0.2), trace_id=TRACE))

    assert server.received[0].json == {
        "model": "claude-sonnet-4-5",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": SAID}]}],
        "temperature": 0.2,
        "max_tokens": 100,
    }


async def test_cached_tokens_of_anthropic_are_part_of_the_input(providers, server):
    (answer,) = await collect(providers.call([claude(server)], a_body(), trace_id=TRACE))

    assert read_usage(answer) == Usage(input_tokens=16, output_tokens=7, cached_tokens=4)


@MODELS
async def test_stream_is_translated_chunk_by_chunk(providers, server, model_at):
    chunks = await collect(providers.call([model_at(server)], a_body(stream=True), trace_id=TRACE))

    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert "".join(delta.get("content") or "" for delta in deltas_of(chunks)) == SAID
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "stop"
    usages = [usage for usage in map(read_usage, chunks) if usage]
    assert len(usages) == 1
    assert usages[0].output_tokens == 7


@MODELS
@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_are_translated(providers, server, model_at, stream):
    body = a_body(tools=[a_tool()], tool_choice="auto", stream=stream)

    answers = await collect(providers.call([model_at(server)], body, trace_id=TRACE))

    if stream:
        called = [call for delta in deltas_of(answers) for call in delta.get("tool_calls") or []]
        arguments = "".join(call["function"]["arguments"] for call in called)
        names = [call["function"]["name"] for call in called if call["function"].get("name")]
    else:
        (call,) = answers[0]["choices"][0]["message"]["tool_calls"]
        arguments, names = call["function"]["arguments"], [call["function"]["name"]]
    assert names == ["lookup"]
    assert json.loads(arguments) == {"query": SAID}


@pytest.mark.parametrize(
    "failing",
    [
        ("status=400", "invalid_request", False),
        (f"status=400+error_text={TOO_LONG}", "context_length_exceeded", False),
        ("status=401+code=authentication_error", "provider_error", False),
        ("status=403+code=permission_error", "provider_error", False),
        ("status=404+code=not_found_error", "provider_error", False),
        ("status=429+code=rate_limit_error", "provider_error", False),
        ("status=500+code=api_error", "provider_error", True),
        ("status=529+code=overloaded_error", "provider_error", True),
        ("never", "provider_timeout", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_failure_has_its_code_and_gives_nothing_away(providers, server, shown, failing, stream):
    behaviour, code, may_have_cost = failing
    server.script(behaviour)
    model = claude(server, first_byte_timeout_seconds=1.0 if behaviour == "never" else 60.0)
    call = providers.call([model], a_body(stream=stream), trace_id=TRACE)

    with pytest.raises(GuardError) as caught:
        await collect(call)

    failure = caught.value
    assert (failure.code, call.reached, call.may_have_cost) == (code, True, may_have_cost)
    assert len(server.received) == 1  # LiteLLM repeats nothing on its own
    told = f"{failure} {failure!r} {failure.hint} {failure.param} {call!r} {call.attempts} {shown()}"
    for secret in (KEY, "dana@example.com", "Müller", "127.0.0.1"):
        assert secret not in told
    assert failure.__cause__ is None
    assert failure.__context__ is None or failure.__suppress_context__


@pytest.mark.parametrize("behaviour", ["close=half", "close=half+politely"])
async def test_stream_that_breaks_off_is_an_error_and_not_an_end(providers, server, behaviour):
    server.script(behaviour)
    chunks = []

    with pytest.raises(Fault) as caught:
        async with providers.call([claude(server)], a_body(stream=True), trace_id=TRACE) as call:
            async for came in call.answer:
                chunks += came

    assert caught.value.code == "provider_error"
    text = "".join(delta.get("content") or "" for delta in deltas_of(chunks))
    assert text
    assert SAID.startswith(text)
    assert not any(choice["finish_reason"] for chunk in chunks for choice in chunk["choices"])


async def test_leaving_the_call_hangs_up(providers, server):
    server.script("pause=0.05")

    async with providers.call([claude(server)], a_body(stream=True), trace_id=TRACE) as call:
        await anext(call.answer)

    gone = await asyncio.to_thread(server.wait_for, lambda: server.received[0].outcome == "hung_up")
    assert gone


async def test_nobody_listening_is_tried_again_and_then_a_fault(providers, server):
    model = claude(server, base_url="http://127.0.0.1:9", max_retries=1)
    call = providers.call([model], a_body(), trace_id=TRACE)

    with pytest.raises(Fault) as caught:
        await collect(call)

    assert caught.value.code == "provider_error"
    assert len(call.attempts) == 2


async def test_answer_that_is_no_answer_is_a_fault(providers, server):
    server.script("garbage")

    with pytest.raises(Fault) as caught:
        await collect(providers.call([claude(server)], a_body(), trace_id=TRACE))

    assert caught.value.code == "provider_error"


async def test_cancelling_the_call_hangs_up(providers, server):
    server.script("never")
    running = asyncio.create_task(collect(providers.call([claude(server)], a_body(), trace_id=TRACE)))
    assert await asyncio.to_thread(server.wait_for, lambda: server.received)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(server.wait_for, lambda: server.received[0].outcome == "hung_up")


async def test_vendor_that_litellm_does_not_know_is_the_operators_fault(providers, server):
    model = a_model(target="nobody/knows", provider=a_provider(kind="litellm", max_retries=0))

    with pytest.raises(Fault) as caught:
        await collect(providers.call([model], a_body(), trace_id=TRACE))

    assert "operator" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["api_base", "mock_response", "fallbacks", "extra_headers", "custom_llm_provider", "metadata", "brand_new"]
)
async def test_switches_of_litellm_are_out_of_an_apps_reach(providers, server, name):
    call = providers.call([claude(server)], a_body(**{name: "x"}), trace_id=TRACE)

    with pytest.raises(Refusal) as caught:
        await collect(call)

    assert (caught.value.code, caught.value.param, call.reached) == ("invalid_request", name, False)
    assert server.received == []


async def test_key_that_is_missing_reaches_nobody(server):
    providers = Providers(environ={}, clock=FrozenClock(), tokens=TokenCounter())
    call = providers.call([claude(server)], a_body(), trace_id=TRACE)

    with pytest.raises(Fault, match="FOREIGN_KEY"):
        await collect(call)

    assert not call.reached
    assert server.received == []


async def test_parameter_that_the_target_does_not_know_is_refused_and_not_dropped(providers, server):
    call = providers.call([claude(server)], a_body(logit_bias={"50256": -100}), trace_id=TRACE)

    with pytest.raises(GuardError) as caught:
        await collect(call)

    assert caught.value.code == "invalid_request"
    assert server.received == []


OFFLINE_SCRIPT = """
import asyncio, json, resource, socket, sys, threading

strangers = []
def watched(name):
    plain = getattr(socket.socket, name)
    def connect(self, address):
        if self.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "::1"}:
            strangers.append(str(address))
            raise OSError("no network")
        return plain(self, address)
    setattr(socket.socket, name, connect)
watched("connect"); watched("connect_ex")
look_up = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if host not in {"127.0.0.1", "localhost", None}:
        strangers.append(host)
        raise OSError("no network")
    return look_up(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo

from llmguard.providers.calling import Providers
from llmguard.providers.tokens import TokenCounter
from tests.contract.test_provider_litellm import a_body, a_tool, claude, collect
from tests.support.builders import FrozenClock
from tests.support.foreign_wires import WIRES
from tests.support.provider_server import ProviderServer

async def main():
    providers = Providers(environ={"FOREIGN_KEY": "sk-x"}, clock=FrozenClock(), tokens=TokenCounter())
    assert "litellm" not in sys.modules
    with ProviderServer(wires=WIRES) as server:
        for body in (a_body(), a_body(stream=True), a_body(tools=[a_tool()])):
            assert await collect(providers.call([claude(server)], body, trace_id="t"))
    await providers.close()
    await asyncio.sleep(0.2)  # what LiteLLM does behind our back has its chance
    print(json.dumps({"strangers": strangers, "imported": "litellm" in sys.modules}))

asyncio.run(main())
"""


def test_litellm_is_imported_at_the_first_call_and_talks_to_nobody_else():
    done = subprocess.run([sys.executable, "-c", OFFLINE_SCRIPT], capture_output=True, text=True, check=True, cwd=ROOT)

    assert json.loads(done.stdout) == {"strangers": [], "imported": True}
    assert done.stderr == ""
