import json
import re

import pytest

from llmguard.redaction.redactor import Redactor
from tests.support.builders import a_chat_request
from tests.support.finder import PatternFinder, a_profile

MASK = re.compile(r"<[A-Z]+(?:_[A-Z]+)+>")


async def masked(request, finder=None):
    """Return a redacted request as JSON text, with # for each placeholder, and what the finder read."""
    finder = finder or PatternFinder()
    result = await Redactor(finder, b"s" * 32).redact(request, app="claims-bot", profile="standard")
    document = {"messages": result.request.messages, "parameters": result.request.parameters}
    return json.loads(MASK.sub("#", json.dumps(document))), finder.read


async def masked_message(message):
    document, _ = await masked(a_chat_request(messages=[message]))
    return document["messages"][0]


async def masked_parameters(**parameters):
    document, _ = await masked(a_chat_request(parameters=parameters))
    return document["parameters"]


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "function"])
async def test_content_of_every_role_is_read(role):
    assert await masked_message({"role": role, "content": "Bob Miller"}) == {"role": role, "content": "#"}


async def test_parts_are_read_and_media_left_alone():
    parts = [
        {"type": "text", "text": "Bob Miller", "cache_control": {"type": "ephemeral"}},
        {"type": "refusal", "refusal": "not for Bob Miller"},
        {"type": "image_url", "image_url": {"url": "https://x.de/Bob Miller.png"}},
        {"type": "input_audio", "input_audio": {"data": "Bob Miller", "format": "wav"}},
        {"type": "file", "file": {"file_data": "Bob Miller", "filename": "Bob Miller.pdf"}},
        {"type": "novelty", "caption": "Bob Miller"},
        "Bob Miller",
    ]

    message = await masked_message({"role": "user", "content": parts})

    assert message["content"] == [
        {"type": "text", "text": "#", "cache_control": {"type": "ephemeral"}},
        {"type": "refusal", "refusal": "not for #"},
        parts[2],
        parts[3],
        {"type": "file", "file": {"file_data": "Bob Miller", "filename": "#.pdf"}},
        {"type": "novelty", "caption": "#"},
        "#",
    ]


async def test_other_fields_of_a_message_are_read():
    message = {
        "role": "assistant",
        "content": None,
        "name": "Bob Miller",
        "refusal": "Bob Miller",
        "reasoning_content": "Bob Miller",
        "annotations": [{"title": "Bob Miller", "nested": [["Bob Miller", 491701234567, True, None]]}],
        "audio": {"id": "a1", "transcript": "Bob Miller"},
    }

    assert await masked_message(message) == {
        "role": "assistant",
        "content": None,
        "name": "#",
        "refusal": "#",
        "reasoning_content": "#",
        "annotations": [{"title": "#", "nested": [["#", "#", True, None]]}],
        "audio": {"id": "a1", "transcript": "#"},
    }


async def test_ids_and_names_of_functions_are_left_alone_unless_an_id_looks_like_data():
    calls = [
        {"id": "call_1", "type": "function", "function": {"name": "Bob Miller", "arguments": "{}"}},
        {"id": "bob@example.com", "type": "function", "function": {"name": "f", "arguments": '{"a": "Bob Miller"}'}},
        {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "for Bob Miller"}},
        "odd",
    ]

    message = await masked_message({"role": "assistant", "content": None, "tool_calls": calls})

    assert message["tool_calls"] == [
        calls[0],
        {"id": "#", "type": "function", "function": {"name": "f", "arguments": '{"a": "#"}'}},
        {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "for #"}},
        "odd",
    ]
    assert await masked_message({"role": "tool", "tool_call_id": "bob@example.com", "content": "x"}) == {
        "role": "tool",
        "tool_call_id": "#",
        "content": "x",
    }


async def test_legacy_function_call_is_read():
    call = {"name": "f", "arguments": '{"to": "Bob Miller"}', "note": "Bob Miller"}

    message = await masked_message({"role": "assistant", "content": None, "function_call": call})

    assert message["function_call"] == {"name": "f", "arguments": '{"to": "#"}', "note": "#"}
    assert await masked_message({"role": "assistant", "function_call": {"name": "f"}}) == {
        "role": "assistant",
        "function_call": {"name": "f"},
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a": 1.50, "b":"Bob Miller" , "c": 1e5}', '{"a": 1.50, "b":"#" , "c": 1e5}'),
        (r'{"a": "\/x \ud83d\ude00 \"Bob Miller\"\n"}', r'{"a": "\/x \ud83d\ude00 \"#\"\n"}'),
        (r'["Zo\u00eb Gr\u00fcn"]', '["#"]'),
        ('{"phone": 491701234567}', '{"phone": "#"}'),
        ('{"employee_id": 4711, "age": 4711.0}', '{"employee_id": "#", "age": 4711.0}'),
        ('{"bob@example.com": {"Bob Miller": 1}}', '{"#": {"#": 1}}'),
        ('{"mail of bob@example.com": 1}', '{"mail of #": 1}'),
        ('{"a": "Bob Miller"', '{"a": "#"'),
        ("Bob Miller", "#"),
        ('"Bob Miller"', '"#"'),
        ("[" * 3000 + "]" * 3000, "[" * 3000 + "]" * 3000),
    ],
    ids=[
        "layout",
        "escapes",
        "unicode",
        "number",
        "labelled number",
        "key",
        "part of key",
        "cut",
        "text",
        "string",
        "deep",
    ],
)
async def test_tool_arguments_change_only_where_something_is_hidden(before, after):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": before}}

    message = await masked_message({"role": "assistant", "content": None, "tool_calls": [call]})

    assert message["tool_calls"][0]["function"]["arguments"] == after


async def test_tool_result_that_is_json_stays_valid_json():
    message = await masked_message(
        {"role": "tool", "tool_call_id": "c", "content": '{"name": "Bob Miller", "n": 491701234567}'}
    )

    assert json.loads(message["content"]) == {"name": "#", "n": "#"}


async def test_leaves_of_json_are_read_beside_their_labels_in_one_text():
    _, read = await masked(a_chat_request('{"name": "Bo", "ids": [12345, 1], "deep": {"city": "Rome"}, "last": "x"}'))

    assert read == ["name: Bo\nids: 12345\ncity: Rome\nlast: x\n"]


async def test_finding_over_two_leaves_hides_both_and_no_label():
    finder = PatternFinder(people=("Bo\nlast: Ek",))

    document, _ = await masked(a_chat_request('{"first": "Bo", "last": "Ek"}'), finder)

    assert document["messages"][0]["content"] == '{"first": "#", "last": "#"}'


async def test_texts_of_tools_are_read_and_their_vocabulary_is_not():
    schema = {
        "type": "object",
        "description": "For Bob Miller",
        "properties": {
            "Bob Miller": {"type": "string", "enum": ["Bob Miller", "x"], "default": "Bob Miller"},
            "name": {"type": "string", "description": "as Bob Miller", "pattern": "Bob Miller"},
            "phone": {"const": 491701234567, "examples": [{"type": "Bob Miller"}]},
            "list": {"items": {"anyOf": [{"title": "Bob Miller"}]}},
        },
        "required": ["Bob Miller"],
    }
    tool = {"type": "function", "function": {"name": "Bob Miller", "description": "Bob Miller", "parameters": schema}}

    parameters = await masked_parameters(tools=[tool])

    assert parameters["tools"][0]["function"] == {
        "name": "Bob Miller",
        "description": "#",
        "parameters": {
            "type": "object",
            "description": "For #",
            "properties": {
                "Bob Miller": {"type": "string", "enum": ["#", "x"], "default": "#"},
                "name": {"type": "string", "description": "as #", "pattern": "Bob Miller"},
                "phone": {"const": "#", "examples": [{"type": "#"}]},
                "list": {"items": {"anyOf": [{"title": "#"}]}},
            },
            "required": ["Bob Miller"],
        },
    }


async def test_schema_of_the_response_format_is_read():
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"properties": {"a": {"const": "Bob Miller"}}}},
    }

    parameters = await masked_parameters(response_format=wanted)

    assert parameters["response_format"]["json_schema"]["schema"] == {"properties": {"a": {"const": "#"}}}


async def test_other_parameters_are_read_and_structural_ones_are_not():
    parameters = await masked_parameters(
        user="Bob Miller",
        metadata={"bob@example.com": "Bob Miller", "z": "x"},
        stop=["Bob Miller", "END"],
        prediction={"type": "content", "content": [{"type": "text", "text": "Dear Bob Miller"}]},
        tool_choice={"type": "function", "function": {"name": "Bob Miller"}},
        seed=491701234567,
        novelty={"deep": [{"x": "Bob Miller"}]},
    )

    assert parameters == {
        "user": "#",
        "metadata": {"#": "#", "z": "x"},
        "stop": ["#", "END"],
        "prediction": {"type": "content", "content": [{"type": "text", "text": "Dear #"}]},
        "tool_choice": {"type": "function", "function": {"name": "Bob Miller"}},
        "seed": 491701234567,
        "novelty": {"deep": [{"x": "#"}]},
    }
    assert list(parameters["metadata"]) == ["#", "z"]


async def test_empty_texts_are_not_read():
    _, read = await masked(a_chat_request("", "  \n", parameters={"user": ""}))

    assert read == []


async def test_content_of_a_shape_that_nobody_knows_is_read():
    assert await masked_message({"role": "user", "content": {"text": "Bob Miller"}}) == {
        "role": "user",
        "content": {"text": "#"},
    }


async def test_dropped_key_is_renamed_in_place():
    document, _ = await masked(
        a_chat_request(parameters={"metadata": {"a": "1", "bob@example.com": "2", "c": "3"}}),
        PatternFinder(a_profile(EMAIL_ADDRESS="drop")),
    )

    assert list(document["parameters"]["metadata"]) == ["a", "#", "c"]
