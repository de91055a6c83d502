import http.client
import json
import socket
import stat
import threading

import msgspec
import pytest

from llmguard.traces.door import Address, Door
from llmguard.traces.errors import TraceQueryError
from llmguard.traces.line import decode_line, encode_line
from llmguard.traces.places import Places
from llmguard.traces.queries import TraceQueries
from llmguard.traces.store import TraceStore
from tests.support.builders import a_trace

ENDLESS = "SELECT count(*) AS n FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7 AND random() < 2"


@pytest.fixture
def store(tmp_path):
    places = Places(tmp_path)
    places.create()
    store = TraceStore(places)
    store.commit([decode_line(encode_line(a_trace()))], {})
    yield store
    store.close()


@pytest.fixture
def door(store, tmp_path):
    queries = TraceQueries(store.connection, timeout_seconds=0.3)
    door = Door(queries, lambda: True, tmp_path / "ingester.json")
    yield door
    door.close()
    queries.close()


@pytest.fixture
def address(door, tmp_path):
    return msgspec.json.decode((tmp_path / "ingester.json").read_bytes(), type=Address)


def post(address, body, *, key=None, path="/read"):
    connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=10)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, content, {"authorization": f"Bearer {key or address.key}"})
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def test_the_owner_is_answered(address):
    status, body = post(address, {"operation": "count", "arguments": {"filters": {}}})

    assert (status, body) == (200, {"result": 1, "fresh": True})


def test_only_the_owner_can_read_the_address(address, tmp_path):
    assert stat.S_IMODE((tmp_path / "ingester.json").stat().st_mode) == 0o600


def test_a_wrong_key_is_refused(address):
    status, body = post(address, {"operation": "count", "arguments": {"filters": {}}}, key="wrong")

    assert status == 401
    assert "result" not in body


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"nonsense", 400, "no question"),
        ({"operation": "drop", "arguments": {}}, 400, "no question 'drop'"),
        ({"operation": "count", "arguments": {"where": "1=1"}}, 400, "not the arguments"),
        ({"operation": "query", "arguments": {"sql": ENDLESS, "parameters": [], "limit": 1}}, 400, "0.3 seconds"),
    ],
    ids=["nonsense", "unknown", "arguments", "too slow"],
)
def test_what_cannot_be_answered_is_said(address, body, status, words):
    given, answer = post(address, body)

    assert given == status
    assert words in answer["error"]


def test_other_paths_and_empty_bodies_are_refused(address):
    assert post(address, {"operation": "count", "arguments": {}}, path="/")[0] == 404
    assert post(address, b"")[0] == 404


def test_a_silent_caller_does_not_keep_others_from_their_answer(address):
    with socket.create_connection(("127.0.0.1", address.port)):
        assert post(address, {"operation": "count", "arguments": {"filters": {}}})[0] == 200


def test_a_broken_store_is_an_error_without_the_words_of_duckdb(store, tmp_path):
    queries = TraceQueries(store.connection)
    door = Door(queries, lambda: True, tmp_path / "other.json")
    address = msgspec.json.decode((tmp_path / "other.json").read_bytes(), type=Address)
    queries.close()

    status, body = post(address, {"operation": "count", "arguments": {"filters": {}}})

    door.close()
    assert status == 503
    assert body == {"error": "the trace store cannot be read now"}


def test_closing_stops_questions_under_way_and_removes_the_address(store, tmp_path):
    queries = TraceQueries(store.connection, timeout_seconds=60)
    door = Door(queries, lambda: True, tmp_path / "other.json")
    address = msgspec.json.decode((tmp_path / "other.json").read_bytes(), type=Address)
    answers = []
    question = {"operation": "query", "arguments": {"sql": ENDLESS, "parameters": [], "limit": 1}}
    asking = threading.Thread(target=lambda: answers.append(post(address, question)))
    asking.start()
    while not queries.is_busy:
        pass

    door.close()
    asking.join()

    assert answers[0][0] == 400
    assert "stopped" in answers[0][1]["error"]
    assert not (tmp_path / "other.json").exists()
    queries.close()


def test_an_answer_beyond_all_bounds_is_refused(store, monkeypatch):
    monkeypatch.setattr("llmguard.traces.queries._MAX_BYTES", 1000)
    queries = TraceQueries(store.connection)

    with pytest.raises(TraceQueryError, match="larger than"):
        queries.query(sql="SELECT repeat('x', 600) AS x FROM range(3)", parameters=[], limit=10)
    queries.close()
