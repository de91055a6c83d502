"""Vendors' wire formats through LiteLLM, as documented: what is sent to them, and what an app gets of them."""

import json
import logging

import pytest

from llmguard.domain.errors import GuardError
from llmguard.providers.calling import Providers
from llmguard.providers.usage import read_usage
from tests.support.builders import PATIENT, FrozenClock, a_model, a_provider
from tests.support.calls import KEY, SAID, TRACE, a_tool, collect
from tests.support.provider_server import ProviderServer
from tests.support.vendor_recordings import (
    Replay,
    claude_answer,
    claude_call,
    claude_error,
    claude_stream,
    claude_text,
    gemini_answer,
    gemini_call,
    gemini_error,
    gemini_stream,
    ollama_answer,
    ollama_error,
    ollama_stream,
)

TARGETS = {
    "claude": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "ollama": "ollama_chat/llama3.2",
}
QUERIES = ["Grüße", "😀 two"]


@pytest.fixture(scope="module")
def replay():
    return Replay()


@pytest.fixture(scope="module")
def server(replay):
    with ProviderServer(wires={"/": replay}) as running:
        yield running


@pytest.fixture
def shown(caplog, capfd):
    """Return what was logged and printed so far."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text + "".join(capfd.readouterr())


@pytest.fixture
async def providers(tokens, server):
    server.received.clear()
    running = Providers(environ={"UPSTREAM_KEY": KEY}, clock=FrozenClock(), tokens=tokens)
    await running.start(["litellm"])
    yield running
    await running.close()


def remote(server, vendor):
    provider = a_provider(
        name=vendor,
        kind="litellm",
        base_url=server.base_url.removesuffix("/v1"),
        api_key_env="UPSTREAM_KEY",
        max_retries=0,
        circuit=PATIENT,
    )
    return a_model(name=vendor, target=TARGETS[vendor], provider=provider)


def asked(*messages, **more):
    messages = messages or ({"role": "user", "content": SAID},)
    return {"model": "x", "messages": list(messages), "max_tokens": 100, **more}


class Answer:
    """A completion or its chunks, put together as an app does."""

    def __init__(self, answers):
        self.text, self.calls, self.reasons, self.usages = "", {}, [], [*filter(None, map(read_usage, answers))]
        for choice in (choice for answer in answers for choice in answer["choices"]):
            said = choice.get("message") or choice.get("delta")
            self.text += said.get("content") or ""
            self.reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
            for position, call in enumerate(said.get("tool_calls") or []):
                known = self.calls.setdefault(call.get("index", position), {"id": None, "name": None, "arguments": ""})
                known["id"] = known["id"] or call.get("id")
                known["name"] = known["name"] or call["function"].get("name")
                known["arguments"] += call["function"].get("arguments") or ""

    @property
    def queries(self):
        return [json.loads(self.calls[index]["arguments"])["query"] for index in sorted(self.calls)]


async def ask(providers, server, replay, vendor, recording, body):
    replay.recording = recording
    return Answer(await collect(providers.call([remote(server, vendor)], body, trace_id=TRACE)))


PARALLEL = {
    "claude": claude_answer(claude_text("I look."), *map(claude_call, [1, 2], QUERIES), stop="tool_use"),
    "claude stream": claude_stream(claude_text("I look."), *map(claude_call, [1, 2], QUERIES), stop="tool_use"),
    "gemini": gemini_answer({"text": "I look."}, *map(gemini_call, QUERIES)),
    "gemini stream": gemini_stream({"text": "I look."}, *map(gemini_call, QUERIES)),
    "ollama": ollama_answer(calls=QUERIES),
    "ollama stream": ollama_stream(calls=QUERIES),
}
TEXTS = {
    "claude": claude_answer(claude_text(SAID)),
    "claude stream": claude_stream(claude_text(SAID)),
    "gemini": gemini_answer({"text": SAID}),
    "gemini stream": gemini_stream({"text": SAID[:5]}, {"text": SAID[5:]}),
    "ollama": ollama_answer(SAID),
    "ollama stream": ollama_stream(SAID),
}


@pytest.mark.parametrize("name", TEXTS)
async def test_text_and_usage_come_back(providers, server, replay, name):
    vendor, _, stream = name.partition(" ")

    answer = await ask(providers, server, replay, vendor, TEXTS[name], asked(stream=bool(stream)))

    assert (answer.text, answer.reasons) == (SAID, ["stop"])
    (usage,) = answer.usages
    assert (usage.input_tokens, usage.output_tokens) == (27, 9)
    assert usage.cached_tokens == (0 if vendor == "ollama" else 4)


@pytest.mark.parametrize("name", PARALLEL)
async def test_parallel_calls_come_back_with_their_arguments(providers, server, replay, name):
    vendor, _, stream = name.partition(" ")
    body = asked(tools=[a_tool()], stream=bool(stream))

    answer = await ask(providers, server, replay, vendor, PARALLEL[name], body)

    assert answer.queries == QUERIES
    assert [call["name"] for call in answer.calls.values()] == ["lookup", "lookup"]
    assert len({call["id"] for call in answer.calls.values()} - {None, ""}) == 2
    assert answer.text == ("" if vendor == "ollama" else "I look.")
    assert answer.reasons == ["tool_calls"]


def asked_for_answers(server):
    """Return the requests but those in which LiteLLM, behind our back, asks Ollama what a model is like."""
    return [got for got in server.received if got.path != "/api/show"]


def a_history():
    """Return a turn in which two tools were called and answered, with a picture."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    calls = [
        {"id": f"toolu_{n}", "type": "function", "function": {"name": "lookup", "arguments": json.dumps({"query": q})}}
        for n, q in enumerate(QUERIES, start=1)
    ]
    return (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "one"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "two"},
    )


async def test_anthropic_gets_calls_results_and_pictures_in_its_own_shape(providers, server, replay):
    await ask(providers, server, replay, "claude", TEXTS["claude"], asked(*a_history(), tools=[a_tool()]))

    (got,) = asked_for_answers(server)
    sent = got.json
    assert (got.path, got.headers["x-api-key"]) == ("/v1/messages", KEY)
    assert [block["text"] for block in sent["system"]] == ["Be brief."]
    first, called, results = sent["messages"]
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert first["content"] == [{"type": "text", "text": "Look"}, {"type": "image", "source": source}]
    assert called == {
        "role": "assistant",
        "content": [
            {"type": "tool_use", "id": f"toolu_{n}", "name": "lookup", "input": {"query": query}}
            for n, query in enumerate(QUERIES, start=1)
        ],
    }
    assert results["role"] == "user"
    assert [(item["type"], item["tool_use_id"]) for item in results["content"]] == [
        ("tool_result", "toolu_1"),
        ("tool_result", "toolu_2"),
    ]
    assert [tool["name"] for tool in sent["tools"]] == ["lookup"]
    assert sent["tools"][0]["input_schema"] == a_tool()["function"]["parameters"]


async def test_gemini_gets_calls_results_and_pictures_in_its_own_shape(providers, server, replay):
    await ask(providers, server, replay, "gemini", TEXTS["gemini"], asked(*a_history(), tools=[a_tool()]))

    (got,) = asked_for_answers(server)
    sent = got.json
    assert ":generateContent" in got.path
    assert KEY not in got.path
    assert got.headers["x-goog-api-key"] == KEY
    assert sent["system_instruction"]["parts"] == [{"text": "Be brief."}]
    first, called, results = sent["contents"]
    assert first["parts"][0] == {"text": "Look"}
    (picture,) = [part["inline_data"] for part in first["parts"] if "inline_data" in part]
    assert picture == {"mime_type": "image/png", "data": "iVBORw0KGgo="}
    assert (called["role"], results["role"]) == ("model", "user")
    assert [part["function_call"]["args"] for part in called["parts"]] == [{"query": query} for query in QUERIES]
    assert [part["function_response"]["name"] for part in results["parts"]] == ["lookup", "lookup"]
    assert sent["generationConfig"]["max_output_tokens"] == 100


async def test_ollama_gets_its_own_shape(providers, server, replay):
    await ask(providers, server, replay, "ollama", TEXTS["ollama"], asked(temperature=0.2))

    (got,) = asked_for_answers(server)
    assert got.path == "/api/chat"
    assert got.json["model"] == "llama3.2"
    assert got.json["messages"] == [{"role": "user", "content": SAID, "images": []}]
    assert got.json["options"] == {"temperature": 0.2, "num_predict": 100}


async def test_answer_that_gemini_filters_says_so(providers, server, replay):
    recording = gemini_answer({"text": "I"}, finish="SAFETY")

    answer = await ask(providers, server, replay, "gemini", recording, asked())

    assert answer.reasons == ["content_filter"]


SECRET = f"{KEY} at http://10.0.0.7:9000/internal said {SAID}"
ERRORS = [
    ("claude", claude_error(401, "authentication_error", SECRET), "provider_error", "401"),
    ("claude", claude_error(429, "rate_limit_error", SECRET, retry_after=7), "provider_error", "429"),
    ("claude", claude_error(529, "overloaded_error", SECRET), "provider_error", "500"),  # LiteLLM's own word for it
    ("claude", claude_error(400, "invalid_request_error", f"prompt is too long: 210000 tokens > 200000: {SECRET}"),
     "context_length_exceeded", "context_length_exceeded"),
    ("claude", claude_error(400, "invalid_request_error", SECRET), "invalid_request", "400"),
    ("gemini", gemini_error(400, "INVALID_ARGUMENT", SECRET), "invalid_request", "400"),
    ("gemini", gemini_error(403, "PERMISSION_DENIED", SECRET), "provider_error", "403"),
    ("gemini", gemini_error(429, "RESOURCE_EXHAUSTED", SECRET), "provider_error", "429"),
    ("gemini", gemini_error(503, "UNAVAILABLE", SECRET), "provider_error", "503"),
    ("gemini", gemini_error(400, "INVALID_ARGUMENT",
     f"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576). {SECRET}"),
     "context_length_exceeded", "context_length_exceeded"),
    ("ollama", ollama_error(404, SECRET), "provider_error", "404"),
    ("ollama", ollama_error(500, SECRET), "provider_error", "500"),
]  # fmt: skip


@pytest.mark.parametrize("failing", ERRORS)
@pytest.mark.parametrize("stream", [False, True])
async def test_error_has_its_code_and_gives_nothing_away(providers, server, replay, shown, failing, stream):
    vendor, recording, code, outcome = failing
    replay.recording = recording
    call = providers.call([remote(server, vendor)], asked(stream=stream), trace_id=TRACE)

    with pytest.raises(GuardError) as caught:
        await collect(call)

    assert (caught.value.code, call.attempts[-1].outcome) == (code, outcome)
    assert caught.value.retry_after_seconds == recording.retry_after
    told = f"{caught.value} {caught.value!r} {caught.value.hint} {call.attempts} {shown()}"
    for secret in (KEY, "10.0.0.7", "127.0.0.1", "dana@example.com"):
        assert secret not in told


async def test_error_in_the_middle_of_a_stream_ends_it(providers, server, replay):
    replay.recording = claude_stream(claude_text(SAID), broken=True)
    call = providers.call([remote(server, "claude")], asked(stream=True), trace_id=TRACE)
    chunks = []

    with pytest.raises(GuardError) as caught:
        async with call:
            async for came in call.answer:
                chunks += came

    assert caught.value.code == "provider_error"
    assert Answer(chunks).text == SAID
    assert Answer(chunks).reasons == []
