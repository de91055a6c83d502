"""A chat of twenty turns that resends its history, with streamed tool calls cut at every byte, comes back exactly."""

import json

import pytest

from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry

LIVE_SECONDS = 60  # one is promised; the others are for a busy machine

TOOL = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Note what was said.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
}
PEOPLE = ["Margaret Thompson", "Robert Miller", "Anna Schmidt", "Carlos Fernandez", "Priya Patel"]


def said_in_turn(turn):
    person, other = PEOPLE[turn % 5], PEOPLE[(turn + 2) % 5]
    mail = f"{person.lower().replace(' ', '.')}{turn}@example.com"
    return f'Turn {turn}: {person} told {other} to write to "{mail}"\nor call 212-555-01{turn:02}.'


def streamed_call(stream):
    arguments, call_id = "", None
    for chunk in stream:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                call_id = call.id or call_id
                arguments += call.function.arguments or ""
    return call_id, arguments


@pytest.mark.parametrize("cut", ["bytes=1", "bytes=3", "chars=1", ""])
def test_twenty_turns_with_streamed_tool_calls_come_back_exactly(client, provider, cut):
    provider.script(f"tools+{cut}")
    messages = []
    for turn in range(20):
        text = said_in_turn(turn)
        messages.append({"role": "user", "content": text})

        stream = client.chat.completions.create(model="tools", messages=messages, tools=[TOOL], stream=True)
        call_id, arguments = streamed_call(stream)

        assert json.loads(arguments) == {"text": text}
        function = {"name": "note", "arguments": arguments}
        messages += [
            {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": call_id, "content": json.dumps({"noted": text})},
        ]
    seen = bytes(provider.raw).decode()
    assert [person for person in PEOPLE if person in seen] == []
    assert "@example.com" not in seen
    assert "212-555-01" not in seen


def test_one_person_has_one_placeholder_in_every_turn(client, provider):
    messages = [{"role": "user", "content": said_in_turn(turn)} for turn in range(10)]
    client.chat.completions.create(model="chat", messages=messages)

    texts = [message["content"] for message in provider.received[-1].json["messages"][1:]]
    tellers = [text.split(": ")[1].split(" told ")[0] for text in texts]
    told = [text.split(" told ")[1].split(" to write")[0] for text in texts]
    assert len(set(tellers)) == 5
    assert tellers[:5] == tellers[5:]
    assert told == tellers[2:7] + tellers[2:7]


def test_allowed_word_is_live_without_a_restart(tmp_path, provider):
    with Gateway(tmp_path, a_registry(provider.base_url), own_rules=True) as gateway:
        key = gateway.issue_key("helpdesk")
        body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "Write to info@example.com"}]})

        def seen_by_the_provider():
            gateway.send("POST", "/v1/chat/completions", body.encode(), key)
            return provider.received[-1].json["messages"][-1]["content"]

        assert "info@example.com" not in seen_by_the_provider()
        with (gateway.redaction / "allow.txt").open("a") as allowed:
            allowed.write("info@example.com\n")

        gateway.wait_until(lambda: "info@example.com" in seen_by_the_provider(), seconds=LIVE_SECONDS)
