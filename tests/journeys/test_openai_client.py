"""OpenAI's Python client: what apps do with it, in its current major version and in the one before.

`scripts/test` runs this file in both environments (docs/adr/0003).
"""

import asyncio
import json

import openai
import pydantic
import pytest

pytestmark = pytest.mark.client("openai for Python", "openai")
ANNA = "Anna Schmidt (anna.schmidt@example.com) asks for her invoice."
ASKED = [{"role": "user", "content": ANNA}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class City(pydantic.BaseModel):
    city: str


@pytest.mark.feature("chat")
def test_chat(client):
    raw = client.chat.completions.with_raw_response.create(model="chat", messages=ASKED)

    assert raw.parse().choices[0].message.content == ANNA
    assert raw.headers["x-llmguard-preset"] == "chat@1"


@pytest.mark.feature("a preset with no parameters")
def test_preset_without_parameters_takes_what_the_client_sends_by_itself(client):
    assert ANNA in client.chat.completions.create(model="echo", messages=ASKED).choices[0].message.content


@pytest.mark.feature("chat, streamed, with usage")
def test_streamed_chat(client):
    chunks = list(
        client.chat.completions.create(
            model="by-char", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
    )

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANNA
    assert chunks[-1].usage.total_tokens > 0


@pytest.mark.feature("chat, asynchronous, many at once")
def test_many_at_once(gateway, key):
    async def ask():
        async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key=key) as client:
            calls = [client.chat.completions.create(model="chat", messages=ASKED) for _ in range(8)]
            return await asyncio.gather(*calls)

    assert [answer.choices[0].message.content for answer in asyncio.run(ask())] == [ANNA] * 8


@pytest.mark.feature("tools, streamed")
def test_streamed_tool_call(client):
    with client.chat.completions.stream(model="tools", messages=ASKED, tools=[WEATHER]) as stream:
        events = [event.type for event in stream]
        [call] = stream.get_final_completion().choices[0].message.tool_calls

    assert "tool_calls.function.arguments.done" in events
    assert json.loads(call.function.arguments) == {"city": ANNA}


@pytest.mark.feature("structured output")
def test_parsed_answer(client, provider):
    provider.queue('text={"city": "Bremen"}')
    answer = client.chat.completions.parse(model="agent", messages=ASKED, response_format=City)

    assert answer.choices[0].message.parsed == City(city="Bremen")


@pytest.mark.feature("responses")
def test_response(client):
    assert client.responses.create(model="chat", input=ANNA).output_text == ANNA


@pytest.mark.feature("responses, streamed")
def test_streamed_response(client):
    with client.responses.stream(model="by-char", input=ANNA) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text == ANNA


@pytest.mark.feature("responses, structured output")
def test_parsed_response(client, provider):
    provider.queue('text={"city": "Bremen"}')

    assert client.responses.parse(model="agent", input=ANNA, text_format=City).output_parsed == City(city="Bremen")


@pytest.mark.feature("completions")
def test_completion(client):
    assert client.completions.create(model="chat", prompt=ANNA).choices[0].text == ANNA


@pytest.mark.feature("embeddings")
def test_embeddings(client):
    vectors = client.embeddings.create(model="vectors", input=["Hello", "there"]).data

    assert [vector.embedding for vector in vectors] == [[2.5, 36.0, 50.5], [2.5, 58.0, 52.0]]


@pytest.mark.feature("models")
def test_models(client):
    assert "chat" in [model.id for model in client.models.list()]
    assert client.models.retrieve("chat@1").id == "chat@1"


@pytest.mark.feature("errors as exceptions, not retried in vain")
def test_errors(client, gateway):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4o", messages=ASKED)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="chat", messages=ASKED, temperature=1.5)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=gateway.base_url, api_key="sk-lg_wrong").models.list()

    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert refused.value.body["hint"].startswith("Send temperature from 0 to 0.5")


@pytest.mark.feature("error in a stream as an exception")
def test_error_in_a_stream(client, provider):
    provider.script("sse_error")
    with pytest.raises(openai.APIError) as broken:
        list(client.chat.completions.create(model="chat", messages=ASKED, stream=True))

    assert broken.value.code == "provider_error"
