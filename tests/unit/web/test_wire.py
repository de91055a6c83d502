import pytest

from llmguard.domain.errors import Fault, Refusal
from llmguard.web.wire import encode_json, error_body, parse_chat, sse

PATH = "/v1/chat/completions"


def a_body(**changes):
    return encode_json({"model": "summarise", "messages": [{"role": "user", "content": "Hi"}]} | changes)


def nested(depth):
    return [nested(depth - 1)] if depth else "auto"


def test_body_is_parsed_into_a_request():
    request = parse_chat(
        a_body(stream=True, stream_options={"include_usage": True}, temperature=0.2, seed=None, user="u"), PATH
    )

    assert (request.endpoint, request.model, request.stream, request.include_usage) == (PATH, "summarise", True, True)
    assert request.parameters == {"temperature": 0.2, "user": "u"}


def test_unknown_fields_are_kept_for_the_preset_to_judge():
    assert parse_chat(a_body(brand_new_field={"a": 1}), PATH).parameters == {"brand_new_field": {"a": 1}}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0]"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, "messages[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": "x"}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "messages[0].tool_calls"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": "usage"}, "stream_options"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"tools": {"a": 1}}, "tools"),
        ({"functions": ["f"]}, "functions"),
        ({"tools": [{"type": "function", "function": {"name": "Anna Schmidt"}}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": "f"}]}, "tools[0]"),
        ({"tools": [{"type": 7}]}, "tools[0]"),
        ({"parallel_tool_calls": "Anna Schmidt"}, "parallel_tool_calls"),
        ({"tool_choice": "Anna Schmidt"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "Anna Schmidt"}}}, "tool_choice"),
        ({"tool_choice": {"note": "hello"}}, "tool_choice"),
        ({"tool_choice": {"tools": nested(400)}}, "tool_choice"),
        ({"function_call": {"name": "anna@example.com"}}, "function_call"),
        ({"function_call": 7}, "function_call"),
        ({"model": "x" * 300}, "model"),
    ],
)
def test_wrong_shape_is_refused_by_the_name_of_its_field(changes, param):
    with pytest.raises(Refusal) as refused:
        parse_chat(a_body(**changes), PATH)

    assert refused.value.code == "invalid_request"
    assert refused.value.param == param
    assert refused.value.hint


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff\xfe", b'{"a": "\xff"}', b"[" * 100_000])
def test_body_that_is_no_json_object_is_refused_without_quoting_it(body):
    with pytest.raises(Refusal) as refused:
        parse_chat(body, PATH)

    assert refused.value.code == "invalid_request"
    assert refused.value.__cause__ is None


def test_parts_and_tool_calls_of_the_right_shape_pass():
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]

    assert parse_chat(a_body(messages=messages), PATH).messages == messages


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        {"type": "function", "function": {"name": "f"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "name": "f"}]}},
    ],
    ids=["word", "named", "listed"],
)
def test_choices_of_tools_pass(choice):
    assert parse_chat(a_body(tool_choice=choice), PATH).parameters == {"tool_choice": choice}


def test_chunk_becomes_one_event():
    assert sse({"a": 1}) == b'data: {"a":1}\n\n'


def test_error_body_has_the_fields_of_the_contract():
    error = Fault("provider_error", "It broke.", hint="Try again.", param="model")

    assert error_body(error, "id-1", "http://h/why/id-1") == {
        "error": {
            "message": "It broke.",
            "type": "server_error",
            "param": "model",
            "code": "provider_error",
            "hint": "Try again.",
            "trace_id": "id-1",
            "why": "http://h/why/id-1",
        }
    }


def test_body_of_hundreds_of_thousands_of_parts_is_refused_before_it_is_read():
    with pytest.raises(Refusal) as refused:
        parse_chat(a_body(stop=["x"] * 500_000), PATH)

    assert refused.value.code == "request_too_large"


def test_thousands_of_messages_are_refused():
    with pytest.raises(Refusal) as refused:
        parse_chat(a_body(messages=[{"role": "user", "content": "x"}] * 20_000), PATH)

    assert (refused.value.code, refused.value.param) == ("invalid_request", "messages")
