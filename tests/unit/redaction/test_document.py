import json
import re

import pytest

from llmguard.redaction.document import message_units, request_units
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


@pytest.mark.parametrize(
    "role", ["system", "developer", "user", "assistant", "tool", "function", "Bob Miller", 1, None]
)
@pytest.mark.parametrize("content", ["", "hello", '{"a": ["Bob Miller", 12345]}', "\\u0042ob Miller", None, 123456])
def test_message_of_a_role_and_a_text_is_read_like_any_other(role, content):
    message = {"role": role, "content": content}

    units = request_units(a_chat_request(messages=[message]))

    assert [facts_of(unit) for unit in units] == [facts_of(unit) for unit in message_units(message, ("messages", 0))]


def facts_of(unit):
    return unit.text, [
        (slot.start, slot.end, slot.form, slot.raw_start, slot.raw_end, slot.places, slot.field.path, slot.field.source)
        for slot in unit.slots
    ]


async def test_parts_are_read_and_media_left_alone():
    parts = [
        {"type": "text", "text": "Bob Miller", "cache_control": {"type": "ephemeral"}},
        {"type": "refusal", "refusal": "not for Bob Miller"},
        {"type": "image_url", "image_url": {"url": "https://x.de/Bob%20Miller.png"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRgAA\r\nUklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,Qm9i", "filename": "Bob Miller.pdf"}},
        {"type": "novelty", "caption": "Bob Miller"},
        "Bob Miller",
    ]

    message = await masked_message({"role": "user", "content": parts})

    assert message["content"] == [
        {"type": "text", "text": "#", "cache_control": {"type": "ephemeral"}},
        {"type": "refusal", "refusal": "not for #"},
        parts[2],
        parts[3],
        {"type": "file", "file": {"file_data": "data:text/plain;base64,Qm9i", "filename": "#.pdf"}},
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
        {"id": "call_1", "type": "function", "function": {"name": "Get_Weather", "arguments": "{}"}},
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


async def test_texts_of_tools_are_read_and_their_vocabulary_only_if_it_looks_like_data():
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
        "name": "#",
        "description": "#",
        "parameters": {
            "type": "object",
            "description": "For #",
            "properties": {
                "#": {"type": "string", "enum": ["#", "x"], "default": "#"},
                "name": {"type": "string", "description": "as #", "pattern": "#"},
                "phone": {"const": "#", "examples": [{"type": "#"}]},
                "list": {"items": {"anyOf": [{"title": "#"}]}},
            },
            "required": ["#"],
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
        "tool_choice": {"type": "function", "function": {"name": "#"}},
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


LEAK = "Bob Miller bob@example.com"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM = {"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}


@pytest.mark.parametrize(
    "key", ["image_url", "image", "input_audio", "audio", "file", "file_data", "video_url", "video"]
)
@pytest.mark.parametrize("value", [LEAK, {"url": LEAK}, {"data": LEAK, "deep": [{"file_data": LEAK}]}])
@pytest.mark.parametrize("kind", ["text", "refusal", "novelty", None])
async def test_media_key_hides_nothing_in_a_part_that_is_no_such_medium(kind, key, value):
    message = await masked_message({"role": "user", "content": [{"type": kind, "text": "hi", key: value}]})

    assert "ob" not in json.dumps(message["content"][0][key])


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": LEAK}},
        {"type": "image_url", "image_url": LEAK},
        {"type": "input_audio", "input_audio": {"data": LEAK, "format": "wav"}},
        {"type": "file", "file": {"file_data": LEAK}},
        {"type": "file", "file": {"file_data": f"data:text/plain,{LEAK}"}},
    ],
    ids=str,
)
async def test_text_in_place_of_the_data_of_a_medium_is_read(part):
    content = (await masked_message({"role": "user", "content": [part]}))["content"]

    assert "ob" not in json.dumps(content[0])


async def test_what_stands_beside_the_data_of_a_medium_is_read():
    parts = [
        {"type": "image_url", "image_url": {"url": "data:x", "detail": LEAK, "note": LEAK}, "audio": LEAK},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}, "image_url": {"url": LEAK}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
    ]

    content = (await masked_message({"role": "user", "content": parts}))["content"]

    assert content[0] == {
        "type": "image_url",
        "image_url": {"url": "data:x", "detail": "# #", "note": "# #"},
        "audio": "# #",
    }
    assert content[1]["image_url"] == {"url": "# #"}
    assert content[2] == parts[2]


@pytest.mark.parametrize(
    "message",
    [
        {LEAK: "x"},
        {"content": [{"type": "text", "text": "x", LEAK: 1}]},
        {"content": [{"type": LEAK}]},
        {"role": LEAK, "content": "x"},
        {"name": "Bob_Miller"},
        {"name": "Bob.Miller"},
        {"name": LEAK},
        {"role": "tool", "tool_call_id": LEAK, "name": LEAK},
        {"tool_calls": LEAK},
        {"tool_calls": [LEAK]},
        {"tool_calls": [CALL | {"type": LEAK}]},
        {"tool_calls": [CALL | {"index": LEAK}]},
        {"tool_calls": [CALL | {"index": 491701234567}]},
        {"tool_calls": [CALL | {"note": LEAK}]},
        {"tool_calls": [CALL | {LEAK: 1}]},
        {"tool_calls": [CALL | {"function": {"name": LEAK, "arguments": "{}"}}]},
        {"tool_calls": [CALL | {"function": {"name": "f", "arguments": {"a": LEAK}}}]},
        {"tool_calls": [CUSTOM | {"custom": {"name": LEAK, "input": "x"}}]},
        {"tool_calls": [CUSTOM | {"custom": {"name": "f", "input": "x", "note": LEAK}}]},
        {"tool_calls": [CUSTOM | {"custom": {"name": "f", "input": {"a": LEAK}}}]},
        {"function_call": {"name": LEAK, "arguments": "{}"}},
        {"audio": {"id": LEAK}},
        {"audio": {"data": LEAK}},
    ],
    ids=json.dumps,
)
async def test_no_place_of_a_message_is_unread(message):
    text = json.dumps(await masked_message({"role": "assistant"} | message))

    assert "ob" not in re.sub("491701234567", "ob", text).replace("object", "")


def a_tool(**schema):
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"} | schema}}]}


@pytest.mark.parametrize(
    "parameters",
    [
        {"tools": [{"type": LEAK}]},
        {"tools": [{"type": "function", "function": {"name": LEAK}}]},
        {"tools": [{"type": "function", "function": {"name": "f"}, "name": LEAK, LEAK: 1}]},
        a_tool(properties={LEAK: {}}),
        a_tool(required=[LEAK]),
        a_tool(type=["object", LEAK]),
        a_tool(pattern=LEAK),
        a_tool(format=LEAK),
        a_tool(**{"$id": LEAK}),
        a_tool(**{"$schema": LEAK}),
        a_tool(**{"$ref": LEAK}),
        a_tool(novelty={"type": LEAK, "name": LEAK}),
        a_tool(novelty={"name": "Bob Miller"}),
        a_tool(items=[{"name": "Bob Miller"}]),
        {"response_format": {"type": LEAK}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": LEAK, "schema": {}}}},
        {"parallel_tool_calls": LEAK},
        {"tool_choice": LEAK},
        {"tool_choice": {"type": "function", "function": {"name": "f", "note": LEAK}}},
        {"function_call": {"name": LEAK}},
        {"logit_bias": {LEAK: 1}},
        {"logit_bias": {"50256": LEAK}},
        {"logit_bias": {"491701234567": 1}},
        {"service_tier": LEAK},
        {"store": LEAK},
        {"reasoning_effort": LEAK},
        {"temperature": 491701234567},
        {"top_p": 491701234567.0},
        {"seed": LEAK},
        {"prediction": {"type": "content", "content": "x", "note": LEAK}},
        {"prediction": {"type": LEAK, LEAK: 1}},
        {"prediction": {"type": "content", "content": {"a": LEAK}}},
        {LEAK: 1},
    ],
    ids=json.dumps,
)
async def test_no_place_of_the_parameters_is_unread(parameters):
    text = json.dumps(await masked_parameters(**parameters))

    assert "#" in text
    assert "ob@" not in text
    assert "Bob" not in text
    assert "491701234567" not in text


async def test_tools_that_look_like_code_are_not_read():
    tool = {
        "type": "function",
        "function": {
            "name": "Get_Weather",
            "strict": True,
            "parameters": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"Home_City": {"$ref": "#/$defs/City"}, "day": {"type": ["string", "null"]}},
                "required": ["Home_City", "day"],
                "additionalProperties": False,
                "$defs": {"City": {"type": "string", "format": "date-time"}},
            },
        },
    }
    request = a_chat_request(
        "",
        parameters={
            "tools": [tool],
            "tool_choice": {"type": "function", "function": {"name": "Get_Weather"}},
            "response_format": {"type": "json_object"},
            "logit_bias": {"199999": -100},
            "max_tokens": 128_000,
            "temperature": 0.7,
        },
    )

    _, read = await masked(request)

    assert read == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r'Here: {"name":"Zo\u00eb Gr\u00fcn","mail":"bob\u0040example.com"}', 'Here: {"name":"#","mail":"#"}'),
        ("```json\n" + r'{"name":"Zo\u00eb Gr\u00fcn"}' + "\n```", '```json\n{"name":"#"}\n```'),
        (r'in {"a": "{\"b\": \"Zo\\u00eb Gr\\u00fcn\"}"}', r'in {"a": "{\"b\": \"#\"}"}'),
        (r"C:\users \ud83d\ude00 Bob\u0020Miller \ud83d \u12", r"C:\users \ud83d\ude00 # \ud83d \u12"),
        (json.dumps({"p": json.dumps({"n": "Zoë Grün", "t": 491701234567})}), r'{"p": "{\"n\": \"#\", \"t\": #}"}'),
        (json.dumps({"p": json.dumps({"bob@example.com": 1})}), r'{"p": "{\"#\": 1}"}'),
        (json.dumps({"p": r"note Zo\u00eb Gr\u00fcn"}), '{"p": "note #"}'),
    ],
    ids=["prose", "fence", "json in json in prose", "other backslashes", "json in json", "key", "escapes in a string"],
)
async def test_escapes_are_read_as_what_they_say(before, after):
    assert (await masked_message({"role": "user", "content": before}))["content"] == after


async def test_json_in_strings_is_read_three_levels_deep():
    text = json.dumps("Zoë Grün")
    for _ in range(4):
        text = json.dumps({"p": text}, ensure_ascii=True)

    assert "Gr" not in (await masked_message({"role": "user", "content": text}))["content"]


async def test_escapes_in_broken_arguments_and_metadata_are_read():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": r'{"n":"Zo\u00eb Gr\u00fcn"'}}

    document, _ = await masked(
        a_chat_request(
            messages=[{"role": "assistant", "content": None, "tool_calls": [call]}],
            parameters={"metadata": {"a": r"by Zo\u00eb Gr\u00fcn", "b": json.dumps({"n": "Zoë Grün"})}},
        )
    )

    assert document["messages"][0]["tool_calls"][0]["function"]["arguments"] == '{"n":"#"'
    assert document["parameters"]["metadata"] == {"a": "by #", "b": '{"n": "#"}'}
