"""Embeddings by all three kinds of provider: one shape of answer, checked, whatever the wire was."""

import base64
import json
import math
import struct
from urllib.parse import quote

import pytest

from llmguard.domain.errors import GuardError
from llmguard.providers.usage import read_usage
from tests.support.builders import a_model, a_provider
from tests.support.calls import KEY, TRACE, a_remote, collect, failure_of
from tests.support.foreign_wires import WIRES
from tests.support.provider_server import ProviderServer, vector_of

TEXTS = ["Grüße", "an Dana", ""]


def asking(*texts, **more):
    return {"model": "find", "input": list(texts or TEXTS), **more}


def floats(vector):
    content = base64.b64decode(vector, validate=True)
    return list(struct.unpack(f"<{len(content) // 4}f", content))


async def embed(providers, model, body):
    (answer,) = await collect(providers.call([model], body, trace_id=TRACE))
    assert answer["object"] == "list"
    assert [(item["object"], item["index"]) for item in answer["data"]] == [
        ("embedding", index) for index in range(len(body["input"]))
    ]
    return answer, [floats(item["embedding"]) for item in answer["data"]]


@pytest.mark.parametrize("behaviour", ["", "floats"])
async def test_openai_wire_is_asked_for_base64_and_any_answer_becomes_it(providers, server, behaviour):
    body = asking(dimensions=5, max_tokens=100)

    answer, vectors = await embed(providers, a_remote(server, behaviour), body)

    assert vectors == [vector_of(text, 5) for text in TEXTS]
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert (read_usage(answer).input_tokens, read_usage(answer).output_tokens) == (3, 0)
    (got,) = server.received
    assert got.path == "/v1/embeddings"
    assert got.headers["authorization"] == f"Bearer {KEY}"
    model = "gpt-4o-mini" + (f"+{behaviour}" if behaviour else "")
    assert got.json == {"model": model, "input": TEXTS, "dimensions": 5, "encoding_format": "base64"}


async def test_vectors_come_in_the_order_of_their_texts(providers, server):
    data = [{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [0.0]}]

    _, vectors = await embed(providers, a_remote(server, f"vectors={quote(json.dumps(data))}"), asking("a", "b"))

    assert vectors == [[0.0], [1.0]]


async def test_usage_that_the_provider_does_not_report_is_counted(providers, server, tokens):
    answer, _ = await embed(providers, a_remote(server, "usage=missing"), asking())

    counted = sum(tokens.count_tokens(text, "gpt-4o-mini") for text in TEXTS)
    assert answer["usage"] == {"prompt_tokens": counted, "total_tokens": counted}


def an_item(index=0, embedding=(0.5, 1.0)):
    return {"index": index, "embedding": embedding}


@pytest.mark.parametrize(
    "data",
    [
        "text",
        [],
        [an_item()],
        [an_item(), an_item(1), an_item(2)],
        [an_item(), an_item()],
        [an_item(), an_item(2)],
        [an_item(), an_item(-1)],
        [an_item(), an_item(index=True)],
        [an_item(), an_item("1")],
        [an_item(), "text"],
        [an_item(), an_item(1, [])],
        [an_item(), an_item(1, [1.0])],
        [an_item(), an_item(1, [1.0, "2"])],
        [an_item(), an_item(1, [1.0, True])],
        [an_item(), an_item(1, [1.0, None])],
        [an_item(), an_item(1, [1.0, 1e300])],
        [an_item(), an_item(1, [1.0, 10**400])],
        [an_item(), an_item(1, [1.0] * 65_537)],
        [an_item(), an_item(1, "not base64!")],
        [an_item(), an_item(1, "AAAA")],
        [an_item(), an_item(1, base64.b64encode(struct.pack("<2f", 1, math.nan)).decode())],
        [an_item(), an_item(1, base64.b64encode(struct.pack("<2f", 1, math.inf)).decode())],
        [an_item(), an_item(1, "AAAA" * 200_000)],
        [an_item(), {"index": 1}],
    ],
    ids=lambda data: json.dumps(data)[-40:],
)
async def test_answer_that_is_not_one_sound_vector_a_text_is_not_passed_on(providers, server, data):
    server.script(f"vectors={quote(json.dumps(data))}")
    call = providers.call([a_remote(server, max_retries=0)], asking("a", "b"), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, call.attempts[-1].outcome) == ("provider_error", "not_understood")
    assert call.may_have_cost


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [("status=400", "invalid_request"), ("status=401", "provider_error"), ("garbage", "provider_error")],
)
async def test_failures_are_those_of_any_call(providers, server, behaviour, code):
    failure = await failure_of(providers.call([a_remote(server, behaviour)], asking(), trace_id=TRACE))

    assert failure.code == code


async def test_text_that_no_utf8_can_carry_is_refused_and_not_sent(providers, server):
    call = providers.call([a_remote(server)], asking("half \ud800"), trace_id=TRACE)

    refusal = await failure_of(call)

    assert (refusal.code, refusal.param, server.received) == ("invalid_request", "input", [])


async def test_echo_answers_unit_vectors_that_depend_on_model_and_text_alone(providers, tokens):
    model, other = a_model(mode="embedding"), a_model(target="echo-2", mode="embedding")

    answer, vectors = await embed(providers, model, asking("a", "b", "a"))
    _, elsewhere = await embed(providers, other, asking("a"))

    assert [len(vector) for vector in vectors] == [256] * 3
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-6) for vector in vectors)
    assert vectors[0] == vectors[2]
    assert vectors[0] != vectors[1]
    assert vectors[0] != elsewhere[0]
    counted = tokens.input_allowance(asking("a", "b", "a"), model)
    assert answer["usage"] == {"prompt_tokens": counted, "total_tokens": counted}
    assert vectors[0][:2] == pytest.approx([0.054597, -0.049960], abs=1e-6)  # on every machine, in every version


async def test_echo_honours_dimensions(providers):
    _, vectors = await embed(providers, a_model(mode="embedding"), asking("a", dimensions=3))

    assert [len(vector) for vector in vectors] == [3]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (asking(dimensions=0), "invalid_request", "dimensions"),
        (asking(dimensions=100_000), "invalid_request", "dimensions"),
        ({"input": []}, "invalid_request", "input"),
        ({"input": [[1, 2]]}, "invalid_request", "input"),
        (asking("word " * 50), "context_length_exceeded", "input"),
    ],
)
async def test_echo_refuses_what_openai_refuses(providers, body, code, param):
    model = a_model(mode="embedding", context_tokens=20)

    refusal = await failure_of(providers.call([model], body, trace_id=TRACE))

    assert (refusal.code, refusal.param) == (code, param)


@pytest.fixture
def foreign():
    with ProviderServer(wires=WIRES) as running:
        yield running


def litellm(server, target, path=""):
    base_url = server.base_url + path
    provider = a_provider(name="other", kind="litellm", base_url=base_url, api_key_env="UPSTREAM_KEY", max_retries=0)
    return a_model(name="embedder", target=target, provider=provider, mode="embedding")


async def test_litellm_translates_openais_own_wire(providers, foreign):
    answer, vectors = await embed(providers, litellm(foreign, "openai/text-embedding-3-small"), asking(dimensions=4))

    assert vectors == [vector_of(text, 4) for text in TEXTS]
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert foreign.received[0].json["dimensions"] == 4
    assert foreign.received[0].headers["x-request-id"] == TRACE


async def test_litellm_translates_ollamas_wire(providers, foreign):
    model = litellm(foreign, "ollama/nomic-embed-text")

    answer, vectors = await embed(providers, model, asking())

    assert vectors == [vector_of(text, 3) for text in TEXTS]
    assert answer["usage"]["prompt_tokens"] == 3
    assert foreign.received[-1].json["input"] == TEXTS


@pytest.mark.parametrize("name", ["api_base", "extra_headers", "encoding", "metadata"])
async def test_switches_of_litellm_are_out_of_an_apps_reach(providers, foreign, name):
    model = litellm(foreign, "openai/text-embedding-3-small")

    refusal = await failure_of(providers.call([model], asking(**{name: "x"}), trace_id=TRACE))

    assert (refusal.code, refusal.param, foreign.received) == ("invalid_request", name, [])


async def test_failure_by_litellm_gives_nothing_away(providers, foreign, caplog):
    foreign.script("status=401")
    call = providers.call([litellm(foreign, "openai/text-embedding-3-small")], asking(), trace_id=TRACE)

    with pytest.raises(GuardError) as caught:
        await collect(call)

    told = f"{caught.value} {caught.value.hint} {call.attempts} {caplog.text}"
    assert caught.value.code == "provider_error"
    assert not any(secret in told for secret in (KEY, "127.0.0.1", "Dana"))
