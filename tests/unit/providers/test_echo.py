"""Echo answers by fixed rules, counts exactly, and streams what it would have said whole."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.domain.errors import Refusal
from llmguard.providers.calling import Providers
from llmguard.providers.tokens import TokenCounter
from llmguard.providers.usage import read_usage
from tests.support.builders import NOON, FrozenClock, a_model

COUNTER = TokenCounter()
TRACE = "019aafd0-0000-7000-8000-000000000001"


def a_body(text="Hello there", **more):
    return {"model": "summarise", "messages": [{"role": "user", "content": text}], **more}


def a_tool(name="lookup", **schema):
    properties = schema or {"query": {"type": "string"}}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


async def ask(body, **model):
    providers = Providers(environ={}, clock=FrozenClock(), tokens=COUNTER)
    async with providers.call([a_model(**model)], body, trace_id=TRACE) as call:
        return [chunk async for came in call.answer for chunk in came]


async def answer_of(body, **model):
    (answer,) = await ask(body, **model)
    return answer


async def message_of(body):
    return (await answer_of(body))["choices"][0]["message"]


def put_together(chunks, index=0):
    """Return the message and the finish_reason that a stream's deltas add up to."""
    message, reason = {"content": "", "tool_calls": []}, None
    for chunk in chunks:
        for choice in (one for one in chunk["choices"] if one["index"] == index):
            message["content"] += choice["delta"].get("content") or ""
            for called in choice["delta"].get("tool_calls", []):
                if "id" in called:
                    message["tool_calls"].append({"name": called["function"]["name"], "arguments": ""})
                message["tool_calls"][called["index"]]["arguments"] += called["function"]["arguments"]
            reason = reason or choice["finish_reason"]
    return message, reason


async def test_answer_is_a_chat_completion_that_repeats_the_last_user_message():
    answer = await answer_of(a_body("What is this?"))

    assert answer["id"] == f"chatcmpl-{TRACE}"
    assert (answer["object"], answer["model"], answer["created"]) == (
        "chat.completion",
        "echo-1",
        int(NOON.timestamp()),
    )
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Echo: What is this?", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


async def test_same_request_gets_the_same_answer():
    assert await ask(a_body()) == await ask(a_body())


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "one"),
        ([{"role": "user", "content": "one"}, {"role": "tool", "content": "three", "tool_call_id": "c"}], "three"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"text": "b"}]}], "a\nb"),
        ([{"role": "user", "content": None}], ""),
        ([{"role": "system", "content": "secret"}], ""),
    ],
    ids=["assistant last", "tool last", "parts", "no content", "no user"],
)
async def test_text_is_that_of_the_last_user_or_tool_message(messages, text):
    assert (await message_of({"messages": messages}))["content"] == f"Echo: {text}"


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=80),
    limit=st.none() | st.integers(1, 20),
    count=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
async def test_stream_says_what_the_whole_answer_says_and_usage_is_exact(text, limit, count):
    body = a_body(text, n=count, **({"max_tokens": limit} if limit else {}))

    whole = await answer_of(body)
    chunks = await ask({**body, "stream": True})

    for index in range(count):
        message, reason = put_together(chunks, index)
        assert message["content"] == whole["choices"][index]["message"]["content"]
        assert reason == whole["choices"][index]["finish_reason"]
    usage = read_usage(whole)
    assert not chunks[-1]["choices"]
    assert read_usage(chunks[-1]) == usage
    assert usage.input_tokens == COUNTER.input_allowance(body, a_model())
    assert limit is None or usage.output_tokens <= limit * count
    assert (whole["choices"][0]["finish_reason"] == "length") is (
        whole["choices"][0]["message"]["content"] != f"Echo: {text}"
    )


async def test_stream_comes_in_words():
    chunks = await ask(a_body("one two  three", stream=True))

    said = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    assert said == ["", "Echo: ", "one ", "two  ", "three", None]


@pytest.mark.parametrize(
    ("stop", "said"), [("there", "Echo: Hello "), (["x", "lo", "Hell"], "Echo: "), ([], None), (["", 5], None)]
)
async def test_stop_sequences_cut_the_answer(stop, said):
    message = await message_of(a_body("Hello there", stop=stop))

    assert message["content"] == ("Echo: Hello there" if said is None else said)


async def test_longer_output_limit_name_is_honoured():
    answer = await answer_of(a_body("word " * 50, max_tokens=7), max_tokens_field="max_completion_tokens")

    assert (read_usage(answer).output_tokens, answer["choices"][0]["finish_reason"]) == (7, "length")


@pytest.mark.parametrize(
    ("text", "choice", "called"),
    [
        ("please call lookup now", None, ["lookup"]),
        ("call look, then call lookup and call look", None, ["look", "lookup"]),
        ("call look-up or call lookups", None, []),
        ("please call lookup now", "none", []),
        ("nothing", "auto", []),
        ("nothing", "required", ["look"]),
        ("call lookup", "required", ["lookup"]),
        ("nothing", {"type": "function", "function": {"name": "lookup"}}, ["lookup"]),
    ],
)
async def test_tools_are_called_when_asked_for_or_forced(text, choice, called):
    body = a_body(text, tools=[a_tool("look"), a_tool("lookup")], **({"tool_choice": choice} if choice else {}))

    whole = await answer_of(body)
    message, reason = put_together(await ask({**body, "stream": True}))

    calls = whole["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == called
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"query": text}] * len(called)
    assert message["tool_calls"] == [call["function"] for call in calls]
    assert reason == whole["choices"][0]["finish_reason"] == ("tool_calls" if called else "stop")
    assert len({call["id"] for call in calls}) == len(calls)
    assert all(len(call["id"]) <= 40 for call in calls)


async def test_tool_result_is_answered_in_words():
    messages = [*a_body("call lookup")["messages"], {"role": "tool", "tool_call_id": "c", "content": "It is 42."}]

    message = await message_of({"messages": messages, "tools": [a_tool()]})

    assert message["content"] == "Echo: It is 42."


@pytest.mark.parametrize("limit", range(1, 40))
async def test_tool_calls_never_exceed_the_output_limit(limit):
    body = a_body("call one and call two", tools=[a_tool("one"), a_tool("two")], max_tokens=limit)

    answer = await answer_of(body)

    calls = answer["choices"][0]["message"]["tool_calls"]
    whole = len(calls) == 2 and all(call["function"]["arguments"].endswith("}") for call in calls)
    assert read_usage(answer).output_tokens <= limit
    assert answer["choices"][0]["finish_reason"] == ("tool_calls" if whole else "length")


async def test_json_object_is_json():
    message = await message_of(a_body('He said "hi"', response_format={"type": "json_object"}))

    assert json.loads(message["content"]) == {"echo": 'He said "hi"'}


async def test_json_schema_is_followed():
    schema = {
        "type": "object",
        "properties": {"summary": {"type": "string"}, "score": {"type": "integer", "minimum": 3}},
        "required": ["summary", "score"],
        "additionalProperties": False,
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    message = await message_of(a_body("text", response_format=response_format))

    assert json.loads(message["content"]) == {"summary": "text", "score": 3}
    jsonschema.validate(json.loads(message["content"]), schema)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [a_tool()], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tools": [a_tool(x={"type": "string", "minLength": "five"})], "tool_choice": "required"}, "tools"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"anyOf": 5}}}}, "response_format"),
        ({"n": "two"}, "n"),
        ({"n": 1000}, "n"),
    ],
    ids=["no such tool", "broken tool", "broken schema", "n is no number", "n is too large"],
)
async def test_request_that_contradicts_itself_is_refused(more, param):
    with pytest.raises(Refusal) as caught:
        await ask(a_body("text", **more))

    assert (caught.value.code, caught.value.param) == ("invalid_request", param)


@pytest.mark.parametrize("tools", [[{"type": "custom", "custom": {"name": "x"}}], [{"type": "function"}], []])
async def test_tools_that_are_no_functions_are_not_called(tools):
    assert (await message_of(a_body("call x", tools=tools, tool_choice="required")))["content"] == "Echo: call x"


async def test_input_beyond_the_context_is_refused():
    with pytest.raises(Refusal) as caught:
        await ask(a_body("word " * 100), context_tokens=50)

    assert caught.value.code == "context_length_exceeded"
    assert "50" in caught.value.message
