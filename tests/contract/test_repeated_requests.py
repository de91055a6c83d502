"""`Idempotency-Key` through the whole door: one answer and one charge, however often a request is repeated."""

import json
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import openai
import pytest

from llmguard.idempotency import claims
from llmguard.web import data_plane
from tests.support.builders import a_quota
from tests.support.provider_server import ProviderServer
from tests.support.served import Served, a_registry_at

LETTER = [{"role": "user", "content": "Write to anna.schmidt@example.com"}]
ANSWERED = {"model": "summarise", "messages": LETTER}


@pytest.fixture(scope="module")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory, provider):
    registry = a_registry_at(provider.base_url, quota=a_quota(requests_per_minute=1_000))
    with Served(tmp_path_factory.mktemp("repeats"), registry=registry) as served:
        yield served


@pytest.fixture(autouse=True)
def _ordinary_provider(provider):
    yield
    provider.script("")


@contextmanager
def a_client(served):
    with openai.OpenAI(base_url=served.base_url, api_key=served.key, max_retries=0) as client:
        yield client


def asked(served, key, **changes):
    with a_client(served) as client:
        answer = client.chat.completions.with_raw_response.create(
            **(ANSWERED | changes), extra_headers={"idempotency-key": key}
        )
        answer.http_response.read()
        return answer


def charged(served):
    with a_client(served) as client:
        me = client.get("/me", cast_to=object)
    return next(row["used"] for row in me["quota"] if row["name"] == "requests_per_minute")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_repeated_request_gets_the_first_answer_and_no_second_charge(served, provider, stream):
    sent, used = len(provider.received), charged(served)
    first, second = (asked(served, f"repeat-{stream}", stream=stream) for _ in range(2))

    assert first.content == second.content
    assert b"anna.schmidt@example.com" in first.content
    assert (len(provider.received), charged(served)) == (sent + 1, used + 1)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-llmguard-preset"] == first.headers["x-llmguard-preset"]
    assert second.headers["x-llmguard-redactions"] == first.headers["x-llmguard-redactions"]
    trace = served.reader.show(second.headers["x-llmguard-trace-id"])
    assert trace["decision"]["repeats"] == first.headers["x-llmguard-trace-id"]
    assert (trace["status"], trace["cost_usd"], trace["request"]) == (200, None, None)


def test_stream_that_is_too_long_to_be_kept_is_answered_anew_and_whole(served, provider, monkeypatch):
    for module in (claims, data_plane):
        monkeypatch.setattr(module, "LARGEST_ANSWER_BYTES", 2_000)
    provider.script("chars=1")
    sent = len(provider.received)
    first, second = (asked(served, "long", stream=True) for _ in range(2))

    assert len(provider.received) == sent + 2
    assert len(first.content) > 2_000
    assert [one.content.endswith(b"data: [DONE]\n\n") for one in (first, second)] == [True, True]
    assert "idempotent-replayed" not in second.headers


def test_other_request_under_the_same_key_is_refused_for_good(served):
    asked(served, "reused")
    with pytest.raises(openai.APIStatusError) as caught:
        asked(served, "reused", max_tokens=7)

    assert (caught.value.status_code, caught.value.code) == (422, "idempotency_key_reuse")
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_those_who_ask_at_the_same_time_wait_for_the_first(served, provider):
    provider.script("delay=0.3")
    sent = len(provider.received)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(asked(served, "together").text)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(answers)) == 1
    assert len(answers) == 5
    assert len(provider.received) == sent + 1


def test_refusals_and_faults_are_not_kept(served, provider):
    provider.queue("status=500", "")
    with pytest.raises(openai.InternalServerError):
        asked(served, "second-try")

    assert asked(served, "second-try").parse().choices[0].message.content.endswith("anna.schmidt@example.com")


@pytest.mark.parametrize("key", ["a b", "x" * 256, "ä"])
def test_what_is_no_key_is_refused(served, key):
    with pytest.raises(openai.BadRequestError) as caught:
        asked(served, key.encode() if key == "ä" else key)

    assert caught.value.code == "invalid_request"


def test_whoever_hangs_up_on_a_stream_can_come_back_for_it(served, provider):
    provider.script("chars=1+pause=0.01")
    sent = len(provider.received)
    body = json.dumps(ANSWERED | {"stream": True}, separators=(",", ":")).encode()
    headers = {"authorization": f"Bearer {served.key}", "idempotency-key": "gone"}
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: test", f"content-length: {len(body)}"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    host, port = served.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 60
    while provider.received[-1].outcome == "pending":
        assert time.monotonic() < deadline
        time.sleep(0.02)

    answer = httpx.post(f"{served.base_url}/chat/completions", content=body, headers=headers, timeout=60)

    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert answer.headers["idempotent-replayed"] == "true"
    assert len(provider.received) == sent + 1
