"""Every answer, every event and every error follows the schemas that OpenAI publishes."""

import json
from urllib.parse import quote

import pytest

from tests.support.openai_specification import event_objections, objections

pytestmark = pytest.mark.client("OpenAI's published schemas")
ANNA = "Anna Schmidt (anna.schmidt@example.com) asks for her invoice."
ASKED = [{"role": "user", "content": ANNA}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
FLAT_TOOL = {"type": "function", "name": "get_weather", "parameters": CITY}
FORM = {"name": "city", "strict": True, "schema": CITY | {"additionalProperties": False}}
TOKENS = [
    {
        "token": "Hi",
        "logprob": -0.1,
        "bytes": [72, 105],
        "top_logprobs": [{"token": "Hi", "logprob": -0.1, "bytes": None}],
    }
]
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def answer_of(message, reason="stop", **choice):
    """Return the word that makes the provider answer with this message."""
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": reason} | choice
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return "answer=" + quote(json.dumps({"choices": [choice], "usage": usage}), safe="")


def events_of(*deltas, reason="stop", **choice):
    """Return the word that makes the provider stream these deltas."""
    ends = [{"index": 0, "delta": {}, "finish_reason": reason}]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} | choice for delta in deltas] + ends
    return "events=" + quote(json.dumps([{"choices": [choice]} for choice in choices]), safe="")


def assert_none(found):
    assert not (said := sorted({one for several in found for one in several})), "\n".join(said)


KINDS = {  # what the provider says: as a whole, and in a stream
    "text": ("", "chars=5"),
    "cached tokens": ("usage=cached", "usage=cached"),
    "reasoning tokens": ("usage=reasoning", "usage=reasoning"),
    "no usage": ("usage=missing", "usage=missing"),
    "tool calls": ("tools", "tools+chars=5"),
    "cut off": (answer_of({"content": "Half"}, "length"), events_of({"content": "Half"}, reason="length")),
    "filtered": (answer_of({"content": ""}, "content_filter"), events_of({}, reason="content_filter")),
    "refusal": (answer_of({"content": None, "refusal": "No."}), events_of({"refusal": "N"}, {"refusal": "o."})),
    "reasoning": (
        answer_of({"reasoning_content": "Hm.", "content": "Yes"}),
        events_of({"reasoning_content": "Hm"}, {"reasoning_content": "."}, {"content": "Yes"}),
    ),
    "custom tool": (
        answer_of(
            {"content": None, "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
            "tool_calls",
        ),
        events_of({"content": "x"}),
    ),
    "logprobs": (
        answer_of({"content": "Hi"}, logprobs={"content": TOKENS}),
        events_of({"content": "Hi"}, logprobs={"content": TOKENS}),
    ),
    "sloppy": (answer_of({}), events_of({"content": None}, {"role": "assistant"})),
}
SAID = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def post(gateway, key):
    """Return status and body of a POST: JSON, or the events of a stream as JSON."""

    def post(path, **body):
        status, headers, content = gateway.send("POST", f"/v1{path}", json.dumps(body).encode(), key)
        if not headers["content-type"].startswith("text/event-stream"):
            return status, json.loads(content)
        lines = [line.removeprefix("data: ") for line in content.decode().split("\n") if line.startswith("data: ")]
        return status, [json.loads(line) for line in lines if line != "[DONE]"]

    return post


@pytest.mark.feature("chat completions: whole answers and chunks")
@SAID
@STREAMED
def test_chat_follows_the_schemas(post, provider, kind, stream):
    provider.queue(KINDS[kind][stream])
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    status, answer = post("/chat/completions", model="agent", messages=ASKED, tools=[TOOL], **options)

    assert status == 200, answer
    name = "CreateChatCompletionStreamResponse" if stream else "CreateChatCompletionResponse"
    assert_none(objections(name, one) for one in (answer if stream else [answer]))


@pytest.mark.feature("responses: the object and every event")
@SAID
@STREAMED
def test_responses_follow_the_schemas(post, provider, kind, stream):
    provider.queue(KINDS[kind][stream])
    text = {"format": {"type": "json_schema", **FORM}} if kind == "refusal" else {}
    status, answer = post("/responses", model="agent", input=ASKED, tools=[FLAT_TOOL], stream=stream, text=text)

    assert status == 200, answer
    if stream:
        assert answer[-1]["type"] in ("response.completed", "response.incomplete")
        assert_none(event_objections(event) for event in answer)
        answer = answer[-1]["response"]
    assert_none([objections("Response", answer)])


@pytest.mark.feature("completions: whole answers and chunks")
@STREAMED
@pytest.mark.parametrize("options", [{}, {"echo": True}, {"logprobs": 1}], ids=["plain", "echo", "logprobs"])
def test_completions_follow_the_schema(post, provider, options, stream):
    provider.queue(KINDS["logprobs" if "logprobs" in options else "text"][stream])
    status, answer = post("/completions", model="forms", prompt="Hello there", stream=stream, **options)

    assert status == 200, answer
    whole = answer if stream else [answer]
    final = [one | {"choices": [c for c in one["choices"] if c["finish_reason"]]} for one in whole]
    assert_none(objections("CreateCompletionResponse", one) for one in (final if stream else whole))


@pytest.mark.feature("embeddings")
def test_embeddings_follow_the_schema(post):
    status, answer = post("/embeddings", model="vectors", input=["Hello", "there"])

    assert status == 200
    assert_none([objections("CreateEmbeddingResponse", answer)])


@pytest.mark.feature("models")
def test_models_follow_the_schemas(gateway, key):
    listed = json.loads(gateway.get("/v1/models", key)[2])
    shown = json.loads(gateway.get("/v1/models/chat@1", key)[2])

    assert_none([objections("ListModelsResponse", listed), objections("Model", shown)])


@pytest.mark.feature("errors, in streams too")
@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/completions", "/embeddings", "/nowhere"])
def test_errors_follow_the_schema(post, gateway, path):
    said = [post(path, model="gpt-4o", messages=ASKED, input="Hello", prompt="Hello"), post(path)]
    said.append((400, json.loads(gateway.send("POST", f"/v1{path}", b"{}", "sk-lg_wrong")[2])))

    for status, answer in said:
        assert status >= 400
        assert_none([objections("ErrorResponse", answer)])


def test_errors_in_streams_follow_the_schemas(post, provider):
    provider.script("sse_error")
    _, chunks = post("/chat/completions", model="chat", messages=ASKED, stream=True)
    _, events = post("/responses", model="chat", input=ANNA, stream=True)

    assert_none([objections("ErrorResponse", chunks[-1])])
    assert events[-1]["type"] == "error"
    assert_none(event_objections(event) for event in events)


def test_schemas_object_to_what_is_wrong():
    assert objections("ErrorResponse", {"error": {"message": "x"}})
    assert objections("CreateChatCompletionStreamResponse", {"object": "chat.completion.chunk", "choices": [{}]})
    assert event_objections({"type": "response.output_text.delta", "delta": 7})
    assert event_objections({"type": "response.made_up"})
