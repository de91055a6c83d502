"""The main promise: the provider sees no personal data, nothing keeps it, and the app gets it back."""

import json

import pytest

PLANTED = {
    "name": "Margaret Thompson",
    "email": "margaret.thompson@example.com",
    "phone": "212-555-0187",
    "iban": "DE89 3704 0044 0532 0130 00",
    "card": "4111 1111 1111 1111",
}
LETTER = (
    "Hello, my name is {name} and I am writing about my order. You can reach me at {email} or by phone at {phone}. "
    "Please refund to IBAN {iban} or to my credit card {card}."
).format(**PLANTED)
TOOL = {
    "type": "function",
    "function": {
        "name": "create_ticket",
        "description": "Create a ticket.",
        "parameters": {"type": "object", "properties": {"summary": {"type": "string"}}},
    },
}


def assert_nowhere(content: bytes):
    found = [
        kind
        for kind, value in PLANTED.items()
        for form in (value, value.replace(" ", ""), value.casefold())
        if form.encode() in content
    ]
    assert found == []


def text_of(stream):
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_whole_answer_brings_everything_back(client, provider, gateway):
    answer = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": LETTER}])

    assert answer.choices[0].message.content == LETTER
    assert_nowhere(bytes(provider.raw))


def test_stream_of_single_characters_brings_everything_back(client, provider):
    stream = client.chat.completions.create(
        model="by-char", messages=[{"role": "user", "content": LETTER}], stream=True
    )

    assert text_of(stream) == LETTER
    assert_nowhere(bytes(provider.raw))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_stream_cut_anywhere_in_its_bytes_brings_everything_back(client, provider, size):
    provider.script(f"bytes={size}")

    stream = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": LETTER}], stream=True)

    assert text_of(stream) == LETTER


def test_tool_arguments_come_back_as_valid_json(client, provider):
    answer = client.chat.completions.create(
        model="tools", messages=[{"role": "user", "content": LETTER + '\n"quoted"'}], tools=[TOOL]
    )

    [call] = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"summary": LETTER + '\n"quoted"'}
    assert_nowhere(bytes(provider.raw))


def test_streamed_tool_arguments_come_back_as_valid_json(client, provider):
    stream = client.chat.completions.create(
        model="tools", messages=[{"role": "user", "content": LETTER}], tools=[TOOL], stream=True
    )

    arguments = "".join(
        call.function.arguments or ""
        for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    )
    assert json.loads(arguments) == {"summary": LETTER}
    assert_nowhere(bytes(provider.raw))


def test_history_with_tool_calls_and_results_is_hidden_too(client, provider):
    arguments = json.dumps({"summary": PLANTED["email"], "account": PLANTED["iban"]})
    function = {"name": "create_ticket", "arguments": arguments}
    messages = [
        {"role": "system", "content": f"You help {PLANTED['name']}."},
        {"role": "user", "content": [{"type": "text", "text": f"I am {PLANTED['name']}"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"phone": PLANTED["phone"], "ok": True})},
        {"role": "user", "content": f"Send it to {PLANTED['email']}"},
    ]

    answer = client.chat.completions.create(model="tools", messages=messages, tools=[TOOL])

    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {
        "summary": f"Send it to {PLANTED['email']}"
    }
    assert_nowhere(bytes(provider.raw))
    sent = provider.received[-1].json["messages"]
    assert json.loads(sent[2]["tool_calls"][0]["function"]["arguments"])["account"].startswith("<IBAN_CODE_")
    assert json.loads(sent[3]["content"])["ok"] is True


def test_two_people_in_two_messages_never_swap(client):
    messages = [
        {"role": "user", "content": "My name is Margaret Thompson."},
        {"role": "assistant", "content": "Hello Margaret Thompson."},
        {"role": "user", "content": "And my colleague is called Robert Miller."},
    ]

    answer = client.chat.completions.create(model="chat", messages=messages)

    assert answer.choices[0].message.content == "And my colleague is called Robert Miller."


def test_placeholder_that_the_caller_typed_is_nobodys_data(client, provider):
    client.chat.completions.create(model="chat", messages=[{"role": "user", "content": LETTER}])
    hidden = provider.received[-1].json["messages"][-1]["content"]
    typed = next(word for word in hidden.split() if word.startswith("<PERSON_"))

    answer = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": f"Who is {typed}"}])

    assert answer.choices[0].message.content == f"Who is {typed}"


def test_what_the_model_makes_up_reaches_the_app_and_not_the_store(client, provider, gateway):
    made_up = "Write to john.fictional@example.org or call 202-555-0143."
    provider.script("text=" + made_up.replace(" ", "%20"))

    answer = client.chat.completions.with_raw_response.create(
        model="chat", messages=[{"role": "user", "content": "Who can help?"}]
    )

    assert answer.parse().choices[0].message.content == made_up
    trace = gateway.trace(answer.headers["x-llmguard-trace-id"])
    assert "john.fictional" not in json.dumps(trace)
    assert "<EMAIL_ADDRESS_" in trace["response"]["choices"][0]["message"]["content"]


def test_headers_say_what_was_hidden(client):
    answer = client.chat.completions.with_raw_response.create(
        model="chat", messages=[{"role": "user", "content": LETTER}]
    )

    counts = dict(item.split("=") for item in answer.headers["x-llmguard-redactions"].split(","))
    assert {"PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "CREDIT_CARD"} <= set(counts)
    assert counts["EMAIL_ADDRESS"] == "1"


def test_nothing_that_was_hidden_is_in_any_byte_of_the_data_folder_or_the_logs(client, provider, gateway):
    client.chat.completions.create(model="chat", messages=[{"role": "user", "content": LETTER}])
    gateway.traces()

    assert_nowhere(gateway.every_byte())
    assert_nowhere(bytes(provider.raw))
    assert b"sk-upstream-secret" not in gateway.every_byte()
