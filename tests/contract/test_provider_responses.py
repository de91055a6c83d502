"""Models with `api: responses` against a server that speaks OpenAI's Responses API, in the shapes of its own client."""

import json
from urllib.parse import quote

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from llmguard.providers.adapter import AttemptFailed
from llmguard.providers.responses_request import responses_request
from llmguard.providers.usage import read_usage
from tests.support.builders import PATIENT
from tests.support.calls import KEY, SAID, TRACE, a_body, a_remote, a_tool, collect, failure_of, text_of
from tests.support.responses_wire import (
    a_call,
    a_message,
    a_reasoning,
    a_refusal,
    a_response,
    events_of,
)

EVENTS = TypeAdapter(ResponseStreamEvent)
CALLS = [a_call("lookup", {"query": SAID}, number=0), a_call("book", {"query": "ü"}, number=1)]
ANSWERS = {
    "text": a_response([a_message(SAID)]),
    "refusal": a_response([a_refusal("I will not.")]),
    "parallel calls": a_response([a_reasoning("First.", "Then."), *CALLS]),
    "text and call": a_response([a_message("Looking."), CALLS[0]]),
    "reasoning": a_response([a_reasoning("First.", "Then."), a_message(SAID)]),
    "silent reasoning": a_response([a_reasoning(), a_message(SAID)]),
    "cut off": a_response([a_message("Half")], status="incomplete", reason="max_output_tokens"),
    "filtered": a_response([], status="incomplete", reason="content_filter"),
}
MESSAGES = {
    "text": ({"content": SAID}, "stop"),
    "refusal": ({"content": None, "refusal": "I will not."}, "stop"),
    "parallel calls": ({"content": None, "reasoning_content": "First.\n\nThen."}, "tool_calls"),
    "text and call": ({"content": "Looking."}, "tool_calls"),
    "reasoning": ({"content": SAID, "reasoning_content": "First.\n\nThen."}, "stop"),
    "silent reasoning": ({"content": SAID}, "stop"),
    "cut off": ({"content": "Half"}, "length"),
    "filtered": ({"content": None}, "content_filter"),
}
NUMBER_OF_CALLS = {"parallel calls": 2, "text and call": 1}
SHAPES = pytest.mark.parametrize("name", ANSWERS)


def a_model(server, behaviour="", **changes):
    return a_remote(server, behaviour, api="responses", circuit=PATIENT, max_retries=0, **changes)


def whole(response):
    return f"answer={quote(json.dumps(response))}"


def streamed(events):
    return f"events={quote(json.dumps(events))}"


async def ask(providers, server, behaviour, **body):
    server.queue(behaviour)
    return await collect(providers.call([a_model(server)], a_body(**body), trace_id=TRACE))


@SHAPES
def test_fixtures_are_what_openais_own_client_reads(name):
    Response.model_validate(ANSWERS[name], strict=True)
    for event in events_of(ANSWERS[name]):
        EVENTS.validate_python(event)


@SHAPES
async def test_whole_response_becomes_a_completion(providers, server, name):
    (answer,) = await ask(providers, server, whole(ANSWERS[name]))

    (choice,) = answer["choices"]
    said, reason = MESSAGES[name]
    calls = choice["message"].pop("tool_calls", [])
    assert choice["message"] == {"role": "assistant", "refusal": None} | said
    assert [call["function"] for call in calls] == functions(name)
    assert (choice["finish_reason"], answer["object"], answer["id"]) == (reason, "chat.completion", "resp_1")
    usage = read_usage(answer)
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (36, 87, 4, 16)


@SHAPES
@pytest.mark.parametrize("cut", ["", "+bytes=1"])
async def test_streamed_response_becomes_the_chunks_of_the_same_completion(providers, server, name, cut):
    chunks = await ask(providers, server, streamed(events_of(ANSWERS[name])) + cut, stream=True)

    said, reason = MESSAGES[name]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    for field in ("content", "refusal", "reasoning_content"):
        assert "".join(delta.get(field) or "" for delta in deltas) == (said.get(field) or "")
    assert assembled(deltas) == functions(name)
    assert deltas[0]["role"] == "assistant"
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + [reason]
    assert [not chunk["choices"] and "usage" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert read_usage(chunks[-1]).reasoning_tokens == 16
    assert {chunk["id"] for chunk in chunks} == {"resp_1"}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


def functions(name):
    return [{"name": call["name"], "arguments": call["arguments"]} for call in CALLS[: NUMBER_OF_CALLS.get(name, 0)]]


def assembled(deltas):
    calls = {}
    for delta in deltas:
        for piece in delta.get("tool_calls", []):
            call = calls.setdefault(piece["index"], {"name": "", "arguments": ""})
            call["name"] += piece["function"].get("name", "")
            call["arguments"] += piece["function"]["arguments"]
    return [calls[index] for index in range(len(calls))]


async def test_texts_that_come_without_deltas_are_not_lost(providers, server):
    events = [event for event in events_of(ANSWERS["parallel calls"]) if not event["type"].endswith(".delta")]

    chunks = await ask(providers, server, streamed(events), stream=True)

    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert assembled(deltas) == functions("parallel calls")


async def test_connection_is_used_again_after_whole_and_streamed_responses(providers, server):
    for behaviour, stream in [(streamed(events_of(ANSWERS["text"])), True), (whole(ANSWERS["text"]), False)] * 2:
        await ask(providers, server, behaviour, stream=stream)

    assert server.connections == 1


async def test_request_is_sent_in_the_shape_of_responses(providers, server):
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "And kind."},
        {"role": "user", "content": [{"type": "text", "text": "Look"}, an_image(), a_file()]},
        {"role": "assistant", "content": "On it.", "tool_calls": [chat_call("call_1"), chat_call("call_2")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "found"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "more"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Here."}]},
        {"role": "assistant", "refusal": "No."},
        {"role": "user", "content": "Thanks"},
    ]
    schema = {"name": "letter", "schema": {"type": "object"}, "strict": True}
    server.queue(whole(ANSWERS["text"]))
    body = {
        "model": "summarise", "messages": history, "tools": [a_tool(), strict_tool()], "max_tokens": 50, "n": 1,
        "tool_choice": {"type": "function", "function": {"name": "lookup"}}, "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": schema}, "verbosity": "low",
        "reasoning_effort": "low", "temperature": 0.1, "logprobs": True,
        "top_logprobs": 2, "previous_response_id": "resp_0", "store": True,
    }  # fmt: skip

    await collect(providers.call([a_model(server, max_tokens_field="max_completion_tokens")], body, trace_id=TRACE))

    (got,) = server.received
    assert (got.path, got.headers["authorization"], got.request_id) == ("/v1/responses", f"Bearer {KEY}", TRACE)
    assert got.json == {
        "model": "gpt-4o-mini",
        "instructions": "Be brief.",
        "input": [
            {"role": "developer", "content": "And kind."},
            {"role": "user", "content": [
                {"type": "input_text", "text": "Look"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
            ]},
            {"role": "assistant", "content": "On it."},
            {"type": "function_call", "call_id": "call_1", "name": "lookup", "arguments": "{}"},
            {"type": "function_call", "call_id": "call_2", "name": "lookup", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "found"},
            {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "more"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Here."}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [
            {"type": "function", "strict": False, **a_tool()["function"]},
            {"type": "function", **strict_tool()["function"]},
        ],
        "tool_choice": {"type": "function", "name": "lookup"},
        "parallel_tool_calls": False,
        "text": {"verbosity": "low", "format": {"type": "json_schema", **schema}},
        "reasoning": {"effort": "low"},
        "max_output_tokens": 50,
        "temperature": 0.1,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "previous_response_id": "resp_0",
        "store": True,
    }  # fmt: skip


async def test_nothing_is_stored_unless_it_is_asked_for(providers, server):
    await ask(providers, server, streamed(events_of(ANSWERS["text"])), stream=True)

    assert server.received[0].json == {
        "model": "gpt-4o-mini",
        "input": [{"role": "user", "content": SAID}],
        "stream": True,
        "store": False,
    }


def an_image():
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}


def a_file():
    return {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}}


def chat_call(call_id):
    return {"id": call_id, "type": "function", "function": {"name": "lookup", "arguments": "{}"}}


def strict_tool():
    return {"type": "function", "function": {"name": "strict", "parameters": {"type": "object"}, "strict": True}}


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"seed": 7},
        {"stop": ["x"]},
        {"presence_penalty": 0.5},
        {"logit_bias": {"1": 5}},
        {"functions": [{"name": "f"}]},
        {"brand_new": 1},
        {"tools": [{"type": "web_search"}]},
        {"tool_choice": {"type": "mcp"}},
        {"response_format": {"type": "odd"}},
        {"messages": [{"role": "function", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "custom": {}}]}]},
        {"messages": [{"role": "assistant", "function_call": {"name": "f"}}]},
    ],
    ids=str,
)
async def test_what_responses_do_not_know_is_refused_and_not_dropped(providers, server, more):
    call = providers.call([a_model(server)], a_body() | more, trace_id=TRACE)

    refusal = await failure_of(call)

    assert (refusal.code, refusal.param) == ("invalid_request", next(iter(more)))
    assert (call.reached, server.received) == (False, [])


def test_what_asks_for_nothing_is_dropped(server):
    body = a_body(n=1, presence_penalty=0, frequency_penalty=0.0, logit_bias={}, stop=[], modalities=["text"])

    assert responses_request(a_model(server), body) == responses_request(a_model(server), a_body())


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"object": "chat.completion", "choices": []},
        ANSWERS["text"] | {"id": 5},
        ANSWERS["text"] | {"created_at": "now"},
        ANSWERS["text"] | {"status": "in_progress"},
        ANSWERS["text"] | {"status": "incomplete", "incomplete_details": None},
        ANSWERS["text"] | {"output": "text"},
        ANSWERS["text"] | {"output": ["text"]},
        ANSWERS["text"] | {"output": [{"type": "mcp_call"}]},
        ANSWERS["text"] | {"output": [{"type": "message", "content": [{"type": "output_text", "text": 5}]}]},
        ANSWERS["text"] | {"output": [{"type": "message", "content": [{"type": "sound"}]}]},
        ANSWERS["text"] | {"output": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
        ANSWERS["text"] | {"output": [{"type": "reasoning", "summary": [{"text": 5}]}]},
    ],
    ids=lambda response: json.dumps(response)[-60:],
)
async def test_response_that_is_none_is_not_passed_on(providers, server, response):
    call = providers.call([a_model(server, whole(response))], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, call.attempts[-1].outcome) == ("provider_error", "not_understood")


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (a_response([], status="failed"), "error_in_answer"),
        ({"error": {"message": "no"}}, "error_in_answer"),
    ],
)
async def test_response_that_failed_is_an_error(providers, server, response, outcome):
    call = providers.call([a_model(server, whole(response))], a_body(), trace_id=TRACE)

    await failure_of(call)

    assert call.attempts[-1].outcome == outcome


TEXT_EVENTS = events_of(ANSWERS["text"])
BAD_ENDS = {
    "nothing more": [],
    "failed": [{"type": "response.failed", "response": a_response([], status="failed"), "sequence_number": 9}],
    "error": [{"type": "error", "code": "server_error", "message": "secret", "param": None, "sequence_number": 9}],
    "no type": [{"response": {}}],
    "unfinished": [{"type": "response.completed", "response": ANSWERS["text"] | {"status": "queued"}}],
    "no response": [{"type": "response.completed"}],
    "text as index": [{"type": "response.output_text.delta", "output_index": "0", "content_index": 0, "delta": "x"}],
    "number as text": [{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": 5}],
    "another text": [{"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "else"}],
    "strange item": [{"type": "response.output_item.added", "output_index": 1, "item": {"type": "mcp_call"}}],
    "arguments of nothing": [{"type": "response.function_call_arguments.delta", "output_index": 7, "delta": "x"}],
}


@pytest.mark.parametrize("end", BAD_ENDS.values(), ids=BAD_ENDS)
async def test_stream_that_goes_wrong_gives_its_chunks_and_then_the_error(providers, server, end):
    good = [event for event in TEXT_EVENTS if not event["type"].endswith((".done", ".completed"))]
    server.queue(streamed([*good, *end]))
    call = providers.call([a_model(server)], a_body(stream=True), trace_id=TRACE)
    chunks = []

    with pytest.raises(Exception, match="provider of") as caught:
        async with call:
            async for came in call.answer:
                chunks += came

    assert caught.value.code == "provider_error"
    assert "secret" not in str(caught.value)
    assert text_of(chunks) == SAID
    assert call.may_have_cost


async def test_failure_before_the_first_word_goes_to_the_next_model(providers, server):
    begun = [event for event in TEXT_EVENTS if event["type"] in {"response.created", "response.in_progress"}]
    server.queue(streamed([*begun, *BAD_ENDS["failed"]]), "text=Hi")
    call = providers.call([a_model(server), a_remote(server, name="second")], a_body(stream=True), trace_id=TRACE)

    chunks = await collect(call)

    assert text_of(chunks) == "Hi"
    assert [attempt.outcome for attempt in call.attempts] == ["error_in_answer", "answered"]


async def test_words_before_the_response_is_named_are_none(providers, server):
    server.queue(streamed(TEXT_EVENTS[1:]))
    call = providers.call([a_model(server)], a_body(stream=True), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, call.attempts[-1].outcome) == ("provider_error", "not_understood")


def test_refusal_of_a_request_names_what_it_is_about(server):
    with pytest.raises(AttemptFailed) as caught:
        responses_request(a_model(server), a_body(seed=1))

    assert "seed" in caught.value.error.message
