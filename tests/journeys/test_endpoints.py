"""The other endpoints of OpenAI's API: the same nine steps, in other words."""

import base64
import json
import struct

import openai
import pytest

ANNA = "Anna Schmidt (anna.schmidt@example.com) asks for her invoice."
HELLO = [{"role": "user", "content": "Hello there"}]
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather somewhere.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
FORM = {
    "type": "json_schema",
    "json_schema": {
        "name": "order",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "mail": {"type": "string", "pattern": "^[^@]+@[^@]+$"}},
            "required": ["number", "mail"],
            "additionalProperties": False,
        },
    },
}


def refused(call, **arguments):
    with pytest.raises(openai.APIStatusError) as caught:
        call(**arguments)
    return caught.value


def written(body):
    return json.dumps(body).replace("%", "%25").replace("+", "%2B").replace("=", "%3D")


def test_response_is_governed_like_a_chat(client, gateway, provider):
    raw = client.responses.with_raw_response.create(model="chat", instructions="Be kind.", input=ANNA)
    response = raw.parse()

    assert response.output_text == ANNA
    assert (response.object, response.status, response.output[0].type) == ("response", "completed", "message")
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert raw.headers["x-llmguard-preset"] == "chat@1"
    assert "EMAIL_ADDRESS=1" in raw.headers["x-llmguard-redactions"]
    sent = provider.received[-1].json
    assert [message["content"] for message in sent["messages"][:2]] == ["You answer briefly.", "Be kind."]
    assert "anna" not in json.dumps(sent).lower()
    trace = gateway.trace(raw.headers["x-llmguard-trace-id"])
    assert (trace["endpoint"], trace["status"]) == ("/v1/responses", 200)
    assert response.id == "resp_" + trace["trace_id"].replace("-", "")


def test_streamed_response_has_the_events_of_a_message_in_order(client):
    with client.responses.create(model="by-char", input=ANNA, stream=True) as stream:
        events = list(stream)

    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events[4:-4]) == ANNA == events[-1].response.output_text
    assert events[-1].response.usage.output_tokens > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_function_calls_of_a_response_go_out_and_back(client, provider, stream):
    question = [{"role": "user", "content": "Weather for Anna Schmidt in Bremen?"}]
    answer = client.responses.create(model="tools", input=question, tools=[WEATHER], stream=stream)
    if stream:
        events = list(answer)
        called = next(event for event in events if event.type == "response.function_call_arguments.done")
        assert (
            "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta") == called.arguments
        )
        answer = events[-1].response
    [call] = [item for item in answer.output if item.type == "function_call"]

    assert "Anna Schmidt" in json.loads(call.arguments)["city"]
    provider.queue("text=Sunny")
    turn = [*question, call.model_dump(exclude_none=True), {"type": "function_call_output", "call_id": call.call_id}]
    turn[-1]["output"] = json.dumps({"sky": "clear", "asked_by": "Anna Schmidt"})
    after = client.responses.create(model="chat", input=turn)
    sent = provider.received[-1].json["messages"]
    assert after.output_text == "Sunny"
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"] == call.call_id
    assert "Anna" not in json.dumps(sent)


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"previous_response_id": "resp_0123456789abcdef"}, "previous_response_id", "invalid_request"),
        ({"previous_response_id": "Anna Schmidt"}, "previous_response_id", "invalid_request"),
        ({"background": True}, "background", "invalid_request"),
        ({"conversation": "conv_1"}, "conversation", "invalid_request"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]", "invalid_request"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "invalid_request"),
        ({"input": []}, "input", "invalid_request"),
        ({"max_output_tokens": 5000}, "max_output_tokens", "parameter_not_allowed"),
        ({"reasoning": {"effort": "low"}}, "reasoning.effort", "parameter_not_allowed"),
        ({"truncation": "auto"}, "truncation", "invalid_request"),
        ({"store": True}, "store", "parameter_not_allowed"),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]}
                ]
            },
            "input[1].content",
            "parameter_not_allowed",
        ),
    ],
)
def test_what_a_response_cannot_have_is_refused_in_its_own_words(client, changes, param, code):
    given = {"model": "chat", "instructions": "Be kind.", "input": "Hello"} | changes
    error = refused(client.responses.create, **given)

    assert (error.status_code, error.code, error.param) == (400, code, param)
    assert error.response.headers["x-should-retry"] == "false"
    assert error.body["hint"]


def test_response_that_is_cut_off_says_so(client, provider):
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Half"}, "finish_reason": "length"}]}
    provider.script("answer=" + written(body))
    response = client.responses.create(model="chat", input="Hello")

    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_stream_of_a_response_that_breaks_raises_in_the_client(client, provider):
    provider.script("sse_error")
    with pytest.raises(openai.APIError) as caught:
        list(client.responses.create(model="chat", input="Hello there, how are you today?", stream=True))

    assert caught.value.code == "provider_error"


def test_legacy_completion_is_a_chat_in_other_words(client, provider):
    whole = client.completions.create(model="chat", prompt=ANNA, echo=True)
    pieces = list(client.completions.create(model="by-char", prompt=[ANNA], stream=True))

    assert whole.object == "text_completion"
    assert whole.choices[0].text == ANNA + ANNA
    assert whole.usage.total_tokens > 0
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == ANNA
    assert pieces[-1].choices[0].finish_reason == "stop"
    assert "anna" not in json.dumps(provider.received[-1].json).lower()


@pytest.mark.parametrize("changes", [{"prompt": ["a", "b"]}, {"suffix": "x"}, {"best_of": 2}, {"prompt": ""}])
def test_what_a_legacy_completion_cannot_have_is_refused(client, changes):
    error = refused(client.completions.create, **({"model": "chat", "prompt": "Hello"} | changes))

    assert (error.status_code, error.code, error.param) == (400, "invalid_request", next(iter(changes)))


def test_vectors_are_those_of_the_redacted_texts(client, gateway, provider):
    before = gateway.standing("helpdesk")["requests_per_minute"]["used"]
    raw = client.embeddings.with_raw_response.create(model="vectors", input=[ANNA, "Hello"])
    sent = provider.received[-1].json["input"]
    plain = client.embeddings.create(model="vectors", input=[ANNA, "Hello"], encoding_format="float")

    assert "anna" not in json.dumps(sent).lower()
    assert sent[1] == "Hello"
    vectors = [one.embedding for one in raw.parse().data]
    assert vectors == [pytest.approx(one.embedding) for one in plain.data]
    trace = gateway.trace(raw.headers["x-llmguard-trace-id"])
    assert (trace["endpoint"], trace["output_tokens"]) == ("/v1/embeddings", 0)
    assert trace["input_tokens"] == raw.parse().usage.prompt_tokens > 0
    stored = trace["response"]["data"][0]["embedding"]
    assert struct.unpack(f"<{len(vectors[0])}f", base64.b64decode(stored)) == pytest.approx(vectors[0])
    assert gateway.standing("helpdesk")["requests_per_minute"]["used"] >= before + 1


def test_texts_that_come_as_tokens_are_read_all_the_same(client, provider):
    client.embeddings.create(model="vectors", input=[[9906, 1070], [9906]])  # cl100k_base: "Hello there", "Hello"
    texts = provider.received[-1].json["input"]
    client.embeddings.create(model="vectors", input=[9906])

    assert texts == ["Hello there", "Hello"]
    assert provider.received[-1].json["input"] == ["Hello"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [10**9]}, "input"),
        ({"dimensions": 4096}, "dimensions"),
    ],
)
def test_what_vectors_cannot_be_made_of_is_refused(client, changes, param):
    error = refused(client.embeddings.create, **({"model": "vectors", "input": "Hello"} | changes))

    assert (error.status_code, error.param) == (400, param)


def test_each_preset_says_what_it_is_for_and_answers_nothing_else(client):
    asked = refused(client.chat.completions.create, model="vectors", messages=HELLO)
    embedded = refused(client.embeddings.create, model="chat", input="Hello")
    modes = {model.id: model.llmguard["mode"] for model in client.models.list()}

    assert (asked.code, embedded.code) == ("invalid_request", "invalid_request")
    assert (asked.param, embedded.param) == ("model", "model")
    assert (modes["vectors"], modes["chat"]) == ("embedding", "chat")


def test_structured_answer_is_checked_after_values_are_back(client, provider):
    provider.script("text=" + written({"number": 7, "mail": "anna.schmidt@example.com"}))
    asked = [{"role": "user", "content": "Order 7 of anna.schmidt@example.com"}]
    whole = client.chat.completions.create(model="forms", messages=asked, response_format=FORM)
    flat = {"type": "json_schema", **FORM["json_schema"]}
    response = client.responses.create(model="forms", input=asked, text={"format": flat})

    assert json.loads(whole.choices[0].message.content)["mail"] == "anna.schmidt@example.com"
    assert json.loads(response.output_text)["number"] == 7
    assert provider.received[-1].json["response_format"] == FORM


@pytest.mark.parametrize("text", ["Sorry, no.", '{"number": "seven", "mail": "a@b"}', '{"number": 7}'])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_structured_answer_that_breaks_its_schema_is_a_fault(client, gateway, provider, text, stream):
    provider.script("text=" + text.replace("%", "%25").replace("+", "%2B").replace("=", "%3D"))
    client = client.with_options(max_retries=0)
    with pytest.raises(openai.APIError) as caught:
        answer = client.chat.completions.create(model="forms", messages=HELLO, response_format=FORM, stream=stream)
        list(answer)

    assert caught.value.code == "provider_error"
    assert "charged" in caught.value.message
    trace = gateway.trace(caught.value.body["trace_id"])
    assert (trace["status"], trace["code"]) == (502, "provider_error")
    assert trace["output_tokens"] > 0


@pytest.mark.parametrize(
    "schema",
    [{"type": 7}, {"$ref": "http://127.0.0.1:9/schema.json"}, {"properties": {"a": {"pattern": "("}}}],
    ids=["wrong", "elsewhere", "pattern"],
)
def test_schema_that_cannot_be_used_is_refused_before_anything_is_sent(client, provider, schema):
    before = len(provider.received)
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    error = refused(client.chat.completions.create, model="forms", messages=HELLO, response_format=form)

    assert (error.status_code, error.code, error.param) == (400, "invalid_request", "response_format")
    assert len(provider.received) == before


def test_fields_and_media_pass_where_the_preset_says_so(client, provider):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    client.chat.completions.create(model="forms", messages=asked, extra_body={"brand_new": {"a": 1}})
    error = refused(client.chat.completions.create, model="chat", messages=HELLO, extra_body={"brand_new": 1})

    sent = provider.received[-1].json
    assert sent["brand_new"] == {"a": 1}
    assert sent["messages"][-1]["content"][1] == image
    assert (error.code, error.param) == ("parameter_not_allowed", "brand_new")
