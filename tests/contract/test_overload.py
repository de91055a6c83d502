"""More requests than a worker answers at once, over real sockets."""

import http.client
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmguard.web.slots import Slots
from tests.support.provider_server import ProviderServer
from tests.support.served import Served, a_registry_at

CALLERS = 8


@pytest.fixture
def provider():
    with ProviderServer() as server:
        yield server


def ask_and_keep_the_connection(served, content="hello"):
    """Return a connection that waits for the answer to a stream, and stays open after it."""
    caller = http.client.HTTPConnection(*served._socket.getsockname(), timeout=20)
    body = {"model": "summarise", "stream": True, "messages": [{"role": "user", "content": content}]}
    caller.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {served.key}"})
    return caller


def ask_at_once(served, count):
    with ThreadPoolExecutor(count) as callers:
        return list(callers.map(lambda _: served.ask(), range(count)))


def test_beyond_capacity_some_are_answered_and_the_others_refused(tmp_path, provider):
    provider.script("delay=2")  # long beside what callers need to be there
    with Served(tmp_path, registry=a_registry_at(provider.base_url), slots=Slots(2, wait_seconds=0.2)) as served:
        begun = time.monotonic()
        answers = ask_at_once(served, CALLERS)
        took = time.monotonic() - begun
        refused = [(headers, body["error"]) for status, headers, body in answers if status == 503]
        provider.script("")
        after = ask_at_once(served, CALLERS)

    assert Counter(status for status, _, _ in answers) == {200: 2, 503: CALLERS - 2}
    assert {error["code"] for _, error in refused} == {"overloaded"}
    assert {headers["retry-after"] for headers, _ in refused} == {"1"}
    assert all("x-should-retry" not in headers for headers, _ in refused)
    assert len(provider.received) == 2 + CALLERS  # what was refused reached no provider
    assert took < 2 * CALLERS / 2  # they did not take turns
    assert [status for status, _, _ in after] == [200] * CALLERS  # and every slot is free again


def test_what_is_refused_is_traced(tmp_path, provider):
    provider.script("delay=2")
    with Served(tmp_path, registry=a_registry_at(provider.base_url), slots=Slots(1, wait_seconds=0.05)) as served:
        ask_at_once(served, 2)
        codes = [trace["code"] for trace in served.reader.list(limit=10)]

    assert sorted(codes, key=str) == [None, "overloaded"]


def test_only_who_may_not_even_wait_is_hung_up_on(tmp_path, provider):
    provider.script("delay=30")
    slots = Slots(1, wait_seconds=1)
    with Served(tmp_path, registry=a_registry_at(provider.base_url), slots=slots) as served:
        callers = [ask_and_keep_the_connection(served) for _ in range(9)]
        assert provider.wait_for(lambda: slots.is_crowded)
        callers.append(ask_and_keep_the_connection(served))
        callers.append(ask_and_keep_the_connection(served, "hello " * 20_000))  # and who sends more may not hear it
        headers = [caller.getresponse().headers for caller in callers[1:]]  # the first has the slot
        for caller in callers:
            caller.close()

    assert [each["x-llmguard-trace-id"] is not None for each in headers] == [True] * 10
    assert [each["connection"] for each in headers] == [None] * 8 + ["close", None]
    assert {each["retry-after"] for each in headers} == {"1"}


def test_a_stranger_takes_nobodys_place(tmp_path, provider):
    provider.script("delay=2")
    with (
        Served(tmp_path, registry=a_registry_at(provider.base_url), slots=Slots(1, wait_seconds=0.5)) as served,
        ThreadPoolExecutor(1) as callers,
    ):
        running = callers.submit(served.ask)
        provider.wait_for(lambda: provider.received)
        served.key = "sk-lg_wrong"
        status, _, body = served.ask()  # who waits for a place is refused as overloaded before there is one
        assert running.result()[0] == 200

    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
