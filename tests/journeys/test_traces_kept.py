"""A real gateway whose processes are killed at random moments, and whose traces are erased while it serves."""

import json
import os
import random
import signal
import threading
import time
import urllib.error
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry

ROUNDS = int(os.environ.get("LLMGUARD_TEST_KILLS", "2"))  # 50 before a release
CALLERS = 4
MARKER = "Zeppelinfeld"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """Two workers; spool and store are encrypted, so that both are tried at once."""
    environ = {"LLMGUARD_TRACES_ENCRYPTION": "true", "LLMGUARD_SECRET": "a secret that is not in the folder"}
    with Gateway(tmp_path_factory.mktemp("kept"), a_registry(), workers=2, environ=environ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def key(gateway):
    return gateway.issue_key("helpdesk")


class Callers:
    """Threads that ask on and on, and note the trace of each whole answer that came."""

    def __init__(self, gateway, key):
        self._gateway, self._key = gateway, key
        self._stop = threading.Event()
        self.answered = []
        self.failed = 0
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CALLERS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number):
        while not self._stop.is_set():
            body = {"model": "echo", "messages": [{"role": "user", "content": f"{MARKER} {number}"}]}
            streams = number % 2 == 0
            try:
                status, headers, content = self._gateway.send(
                    "POST", "/v1/chat/completions", json.dumps(body | {"stream": streams}).encode(), self._key
                )
            except (OSError, urllib.error.URLError, HTTPException):
                self.failed += 1  # the worker died with it
                continue
            if status == 200 and (not streams or content.endswith(b"data: [DONE]\n\n")):
                self.answered.append(headers["x-llmguard-trace-id"])


def worker_pids(gateway):
    return [pid for lock in (gateway.data / "workers").iterdir() if (pid := served_by(lock.name, gateway)) is not None]


def served_by(name, gateway):
    """Return the pid of a lock if a process of this gateway has it."""
    pid = name.partition("-")[0]
    try:
        return int(pid) if str(gateway.data).encode() in Path(f"/proc/{pid}/environ").read_bytes() else None
    except (OSError, ValueError):
        return None


def ingester_pid(gateway):
    try:
        return json.loads((gateway.data / "ingester.json").read_bytes())["pid"]
    except (OSError, ValueError):
        return None


def kill(pid):
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_each_answered_request_is_stored_once_whoever_is_killed_whenever(gateway, key, record_property):
    chance = random.Random(4711)
    kills = {"worker": 0, "ingester": 0}
    with Callers(gateway, key) as callers:
        for _ in range(ROUNDS):
            enough = len(callers.answered) + 6
            time.sleep(0.2 + chance.random())
            victims = chance.choice([("worker",), ("ingester",), ("worker", "ingester"), ("worker", "worker")])
            for victim in victims:
                pids = worker_pids(gateway) if victim == "worker" else [ingester_pid(gateway)]
                if pids:
                    kill(chance.choice(pids))
                    kills[victim] += 1
            gateway.wait_until(lambda enough=enough: len(callers.answered) >= enough)  # it serves again

    ids = exported_ids(gateway)

    record_property("kills", f"{ROUNDS} rounds: {kills}; {len(callers.answered)} answered, {callers.failed} cut off")
    assert len(callers.answered) > ROUNDS * 5
    assert set(callers.answered) <= set(ids)
    assert len(ids) == len(set(ids))
    verified = gateway.run("traces", "verify")
    assert verified.returncode == 0, verified.stdout
    number, words = verified.stdout.split(" ", 1)
    assert words.startswith("traces hold.")
    assert int(number) >= len(ids)  # what the killed had in flight may be traced meanwhile


def exported_ids(gateway):
    lines = gateway.run("traces", "export").stdout.splitlines()
    return [json.loads(line)["trace_id"] for line in lines]


def test_no_byte_of_the_data_folder_holds_what_was_asked(gateway, key):
    body = {"model": "echo", "messages": [{"role": "user", "content": f"{MARKER} once more"}]}
    assert gateway.send("POST", "/v1/chat/completions", json.dumps(body).encode(), key)[0] == 200

    assert gateway.traces("--text", MARKER.lower(), "--since", "1h")  # it is there
    for name in (MARKER, MARKER.lower(), "helpdesk@", "once more"):
        assert name.encode() not in gateway.every_byte()


def test_traces_are_erased_while_the_gateway_serves(gateway, key):
    with Callers(gateway, key) as callers:
        gateway.wait_until(lambda: len(callers.answered) > 5)
        before = list(callers.answered)
        erased = gateway.ask("traces", "erase", "--app", "helpdesk", "--reason", "CASE-9", "--yes")
        gateway.wait_until(lambda: len(callers.answered) > len(before) + 20)

    assert erased["traces"] >= len(before)
    assert all(gateway.trace(trace_id)["request"] is None for trace_id in before[:3])
    assert gateway.trace(callers.answered[-1])["request"] is not None
    assert set(callers.answered) <= set(exported_ids(gateway))
    assert gateway.run("traces", "verify").returncode == 0
