import json

import pytest

from llmguard.domain.errors import Fault
from llmguard.domain.pieces import Pieces
from llmguard.gateway.answer import filtered, plain_answer
from llmguard.gateway.structure import SchemaChecks, structured
from llmguard.redaction.redactor import Redactor
from tests.support.builders import a_chat_request, a_preset
from tests.support.redaction_rules import example_analyzer

KEY = "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0" * 2
TEXT = f"Use {KEY} for anna.schmidt@example.com"


def a_completion(text):
    message = {"role": "assistant", "content": text}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}


def the_chunks(text, size):
    return [
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text[at : at + size]}}]}
        for at in range(0, len(text), size)
    ]


async def an_answer(*filters, stream):
    redactor = Redactor(example_analyzer(), b"a secret for tests only")
    redacted = await redactor.redact(a_chat_request("Hello", stream=stream), app="a", profile="standard")
    return filtered(plain_answer(redacted), a_preset(response_filters=filters), redactor, redacted)


async def passed(items, *filters, stream=False):
    answer = await an_answer(*filters, stream=stream)
    came = [chunk for item in items for chunk in answer.feed([item])]
    return came + await answer.close()


async def test_secret_that_the_model_wrote_never_reaches_the_app():
    [answer] = await passed([a_completion(TEXT)], "no_secrets")

    assert answer["choices"][0]["message"]["content"] == "Use <API_KEY> for anna.schmidt@example.com"


@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_stream_is_filtered_wherever_it_is_cut(size):
    chunks = await passed(the_chunks(TEXT, size), "no_secrets", stream=True)

    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert text == "Use <API_KEY> for anna.schmidt@example.com"


@pytest.mark.parametrize("first", [[], [{"object": "", "choices": [], "prompt_filter_results": []}]])
async def test_stream_that_does_not_say_what_it_is_is_filtered(first):
    chunks = [{"choices": chunk["choices"]} for chunk in the_chunks(TEXT, 5)]

    chunks = await passed([*first, *chunks], "no_secrets", stream=True)

    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta["content"] for delta in deltas) == "Use <API_KEY> for anna.schmidt@example.com"


async def test_pieces_of_a_stream_are_filtered_as_one_text_and_leave_as_they_came():
    first, *rest = [{"choices": chunk["choices"]} for chunk in the_chunks(TEXT, 5)]
    pieces = Pieces(first, [chunk["choices"][0]["delta"]["content"] for chunk in [first, *rest]])

    chunks = await passed([pieces], "no_secrets", stream=True)

    texts = [chunk["choices"][0]["delta"]["content"] for chunk in chunks]
    assert "".join(texts) == "Use <API_KEY> for anna.schmidt@example.com"
    assert len(texts) == len(pieces.texts)


async def test_preset_without_filters_passes_each_chunk_as_it_comes():
    chunks = the_chunks(TEXT, 7)

    assert await passed(chunks) == chunks


async def test_answer_without_secrets_is_left_alone():
    answer = a_completion("Nothing secret here, anna.schmidt@example.com")

    assert await passed([answer], "no_secrets") == [answer]
    assert KEY not in json.dumps(await passed([], "no_secrets"))


async def test_stream_under_a_filter_does_not_leave_when_it_is_not_what_was_asked_for():
    request = a_chat_request("Hello", stream=True, parameters={"response_format": {"type": "json_object"}})
    answer = await structured(await an_answer("no_secrets", stream=True), request, SchemaChecks())
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}

    assert answer.feed([*the_chunks("This is no JSON.", 5), ended]) == []
    with pytest.raises(Fault, match="not valid JSON"):
        await answer.close()
