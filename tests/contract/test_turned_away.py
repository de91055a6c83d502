"""Requests that come while nobody else may even wait, over real sockets."""

import json
import logging
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import openai
import pytest

from llmguard.gateway.sample import Sample
from llmguard.web.connection import READ_AT_ONCE
from llmguard.web.slots import Slots
from tests.support.builders import FrozenClock
from tests.support.provider_server import ProviderServer
from tests.support.raw_http import Wire, chunked
from tests.support.served import Served, a_registry_at

POST = "POST /v1/chat/completions HTTP/1.1"
WHICH = "that came in this test"
BODY = json.dumps({"model": "summarise", "messages": [{"role": "user", "content": "hello"}]}).encode()
STREAM = BODY.replace(b"{", b'{"stream": true, ', 1)


@pytest.fixture
def provider():
    with ProviderServer() as server:
        yield server


class Crowded:
    """A gateway whose one slot is taken, where eight others wait and so many more are traced; until they `leave`."""

    def __init__(self, folder, provider, *, traced=0):
        self.provider = provider
        self.slots = Slots(1, wait_seconds=60)
        self.served = Served(folder, registry=a_registry_at(provider.base_url), slots=self.slots)
        self.waiting = ExitStack()
        self.traced = traced

    def __enter__(self):
        self.provider.queue("delay=60")
        self.served.__enter__()
        for _ in range(9):
            ask(self.waiting.enter_context(Wire(self.served.base_url)), self.served, STREAM)
        assert self.provider.wait_for(lambda: self.slots.is_crowded)
        self.served.recorder.turned_away = Sample(FrozenClock(), WHICH, at_once=self.traced)
        return self.served

    def leave(self):
        self.waiting.close()

    def __exit__(self, *error):
        self.leave()
        self.served.__exit__(*error)


def ask(wire, served, body=BODY, **headers):
    wire.send(POST, about(served, body) | headers, body)


def about(served, body=BODY):
    return {
        "Authorization": f"Bearer {served.key}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }


def answer_to(served, body=BODY, **headers):
    with Wire(served.base_url) as wire:
        ask(wire, served, body, **headers)
        return wire.receive()


def is_traced(served, answer):
    return served.reader.show(answer.error["trace_id"]) is not None


def get(served, path):
    with urllib.request.urlopen(served.base_url.removesuffix("/v1") + path, timeout=20) as answer:
        return answer.read().decode()


def without_counts(message):
    return "".join(letter for letter in message if not letter.isdigit())


def test_a_refusal_without_a_trace_looks_like_one_with_a_trace(tmp_path, provider):
    own = {"X-Request-Id": "my-own.id", "Origin": "https://app.example.com"}
    with Crowded(tmp_path, provider, traced=1) as served:
        traced, other = answer_to(served, **own), answer_to(served, **own)

        assert [is_traced(served, each) for each in (traced, other)] == [True, False]
    assert (traced.status, other.status) == (503, 503)
    assert traced.head.split("\r\n")[0] == other.head.split("\r\n")[0]
    assert set(traced.headers) == set(other.headers)
    assert other.headers["retry-after"] == "1"
    assert other.headers["connection"] == "close"
    assert other.headers["x-request-id"] == "my-own.id"
    assert other.headers["x-llmguard-trace-id"] == other.error["trace_id"]
    same = {"type", "param", "code", "hint"}
    assert {name: traced.error[name] for name in same} == {name: other.error[name] for name in same}
    assert without_counts(traced.error["message"]) == without_counts(other.error["message"])
    assert other.error["why"] == f"{served.base_url.removesuffix('/v1')}/why/{other.error['trace_id']}"


def test_every_refusal_is_counted_and_the_log_says_how_many_have_no_trace(tmp_path, provider, caplog):
    with Crowded(tmp_path, provider, traced=2) as served, caplog.at_level(logging.WARNING):
        answers = [answer_to(served) for _ in range(7)]
        traced = [is_traced(served, answer) for answer in answers]
        metrics = get(served, "/metrics")

    assert traced == [True] * 2 + [False] * 5
    assert 'llmguard_requests_total{app="",code="overloaded",preset="",status="503"} 7.0' in metrics
    assert 'llmguard_untraced_total{code="overloaded"} 5.0' in metrics
    told = [record.getMessage() for record in caplog.records if "without a trace" in record.getMessage()]
    assert told == [f"5 requests {WHICH} were refused without a trace"]


def test_openais_client_comes_again_and_is_answered(tmp_path, provider):
    crowded = Crowded(tmp_path, provider)
    with (
        crowded as served,
        ThreadPoolExecutor(1) as callers,
        openai.OpenAI(base_url=served.base_url, api_key=served.key, max_retries=9) as client,
    ):
        create = client.chat.completions.with_raw_response.create
        messages = [{"role": "user", "content": "hello"}]
        asked = callers.submit(create, model="summarise", messages=messages)
        refused = 'llmguard_requests_total{app="",code="overloaded",preset="",status="503"}'
        assert provider.wait_for(lambda: refused in get(served, "/metrics"))
        assert len(provider.received) == 1  # the one that has the slot
        crowded.leave()
        answer = asked.result()

    assert answer.parse().choices[0].message.content == "hello"
    assert answer.retries_taken >= 1


def test_whoever_looks_after_it_is_still_answered(tmp_path, provider):
    with Crowded(tmp_path, provider) as served:
        begun = time.monotonic()
        assert get(served, "/healthz") == "ok\n"
        assert "llmguard_requests_total" in get(served, "/metrics")
        with Wire(served.base_url) as wire:
            wire.send("GET /v1/models HTTP/1.1", {"Authorization": f"Bearer {served.key}"})
            assert wire.receive().status == 200
        with Wire(served.base_url) as wire:
            wire.send("POST /console/nothing HTTP/1.1", {"Content-Length": "0"})
            assert wire.receive().status == 404

    assert time.monotonic() - begun < 20  # nobody waited for a slot


def test_a_body_that_comes_slowly_is_waited_for(tmp_path, provider):
    with Crowded(tmp_path, provider) as served, Wire(served.base_url) as wire:
        wire.send(POST, about(served))
        for byte in BODY:
            time.sleep(0.002)
            wire.write(bytes([byte]))
        answer = wire.receive()

        assert not is_traced(served, answer)
        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert wire.rest() == b""  # and then the connection ends


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Length": str(READ_AT_ONCE + 1)}, b" " * (READ_AT_ONCE + 1)),
        ({"Content-Length": f"{len(BODY):05000}"}, BODY),
        ({"Transfer-Encoding": "chunked"}, chunked(BODY)),
        ({"Content-Length": str(len(BODY)), "Expect": "100-continue"}, BODY),
    ],
    ids=["long", "of a length with thousands of zeros", "of unknown length", "sent when it is asked for"],
)
def test_other_bodies_go_the_usual_way_and_are_traced(tmp_path, provider, headers, body):
    with Crowded(tmp_path, provider) as served, Wire(served.base_url) as wire:
        wire.send(POST, {"Authorization": f"Bearer {served.key}"} | headers, body)
        answer = wire.receive()

        assert answer.error["code"] == "overloaded"
        assert is_traced(served, answer)


def test_a_connection_that_was_answered_before_is_closed_too(tmp_path, provider):
    with Crowded(tmp_path, provider) as served, Wire(served.base_url) as wire:
        wire.send("GET /healthz HTTP/1.1", {})
        assert wire.receive().status == 200
        ask(wire, served)
        answer = wire.receive()

        assert not is_traced(served, answer)
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert wire.rest() == b""


def test_what_comes_behind_a_request_that_is_turned_away_is_not_read(tmp_path, provider):
    with Crowded(tmp_path, provider) as served, Wire(served.base_url) as wire:
        ask(wire, served, BODY + BODY, **{"Content-Length": str(len(BODY))})
        answer = wire.receive()
        assert wire.rest() == b""
        metrics = get(served, "/metrics")

    assert answer.status == 503
    assert 'llmguard_untraced_total{code="overloaded"} 1.0' in metrics


def test_what_comes_behind_a_request_that_is_under_way_has_its_answer_behind_that_one(tmp_path, provider):
    with Crowded(tmp_path, provider) as served, Wire(served.base_url) as wire:
        wire.send("GET /v1/models HTTP/1.1", {"Authorization": f"Bearer {served.key}"})
        ask(wire, served)
        first, second = wire.receive(), wire.receive()

    assert (first.status, second.status, second.error["code"]) == (200, 503, "overloaded")
