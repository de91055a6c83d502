import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import duckdb
import pytest

from llmguard.domain.identifiers import new_trace_id
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.traces.ingest import Ingester, Passes, main
from llmguard.traces.lock import ingester_lock
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.segments import segment_paths
from llmguard.traces.spool import Spool
from tests.support.builders import NOON, a_trace


@pytest.fixture
def places(tmp_path):
    places = Places(tmp_path / "data")
    places.create()
    return places


class Running:
    """An ingester in a thread of this process."""

    def __init__(self, data):
        self.ingester = Ingester(data)
        self.results = []
        self.thread = threading.Thread(target=lambda: self.results.append(self.ingester.run()))
        self.thread.start()

    def stop(self):
        self.ingester.stop()
        self.thread.join()
        return self.results


@pytest.fixture(params=["with ingester", "without ingester"])
def reader(request, places):
    """A reader whose answers must not depend on whether an ingester runs."""
    running = Running(places.data) if request.param == "with ingester" else None
    yield TraceReader(places.data)
    if running:
        assert running.stop() == [True]


def spool(places, *traces):
    writer = Spool(places.spool, "w")
    for trace in traces:
        writer.append(trace)
    return writer


def numbered(count, **changes):
    return [
        a_trace(
            **({"trace_id": new_trace_id(NOON), "started_at": NOON + timedelta(seconds=n), "code": f"c{n}"} | changes)
        )
        for n in range(count)
    ]


def test_a_trace_is_found_right_after_it_was_appended(places, reader):
    trace = a_trace(
        app="expense-triage",
        request={"x": [1, {"é": None}]},
        chunks=[{"a": 1}],
        cost_nano_usd=1_500,
        entities={"PERSON": 1},
    )
    spool(places, trace)

    row = reader.show(trace.trace_id)

    assert row["trace_id"] == trace.trace_id
    assert row["started_at"] == "2026-11-23T12:00:00.000000Z"
    assert row["app"] == "expense-triage"
    assert row["request"] == {"x": [1, {"é": None}]}
    assert row["chunks"] == [{"a": 1}]
    assert row["response"] is None
    assert row["decision"] == row["steps"] == {}
    assert row["cost_usd"] == "0.000001500"
    assert row["entities"] == {"PERSON": 1}
    assert row["seq"] == 1


def test_an_unknown_id_has_no_trace(reader):
    assert reader.show(new_trace_id(NOON)) is None
    assert reader.list() == []
    assert reader.count() == 0
    assert reader.find_many([new_trace_id(NOON)]) == {}


def test_the_newest_come_first_and_are_limited(places, reader):
    spool(places, *numbered(5))

    assert [row["code"] for row in reader.list(limit=3)] == ["c4", "c3", "c2"]
    assert reader.count() == 5


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"app": "a"}, ["one", "three"]),
        ({"app": "a", "status": 403}, ["three"]),
        ({"code": "two"}, ["two"]),
        ({"stream": True}, ["two"]),
        ({"since": "2026-11-23T12:00:01Z"}, ["two", "three"]),
        ({"since": NOON + timedelta(seconds=1), "until": NOON + timedelta(seconds=2)}, ["two"]),
        ({"preset": "p", "preset_version": 2, "app": None}, ["three"]),
        ({"app": "'; DROP TABLE traces; --"}, []),
    ],
    ids=str,
)
def test_filters_narrow_the_list_and_the_count(places, filters, expected):
    times = [NOON + timedelta(seconds=n) for n in range(3)]
    spool(
        places,
        a_trace(started_at=times[0], app="a", code="one", status=200),
        a_trace(started_at=times[1], app="b", code="two", status=200, stream=True),
        a_trace(started_at=times[2], app="a", code="three", status=403, preset="p", preset_version=2),
    )
    reader = TraceReader(places.data)

    assert [row["code"] for row in reversed(reader.list(**filters))] == expected
    assert reader.count(**filters) == len(expected)


@pytest.mark.parametrize("filters", [{"nonsense": 1}, {"since": "yesterday-ish"}], ids=str)
def test_an_impossible_filter_is_an_error_of_the_asker(reader, filters):
    with pytest.raises(TraceQueryError):
        reader.list(**filters)


def test_find_many_tells_how_requests_ended(places, reader):
    first, second = (
        a_trace(trace_id=new_trace_id(NOON), status=200, input_tokens=3, output_tokens=4, cost_nano_usd=25 * 10**9 + 1),
        a_trace(trace_id=new_trace_id(NOON), status=499, code="client_disconnected"),
    )
    spool(places, first, second)

    found = reader.find_many([first.trace_id, second.trace_id, new_trace_id(NOON)])

    assert set(found) == {first.trace_id, second.trace_id}
    assert found[first.trace_id]["cost_nano_usd"] == 25_000_000_001
    assert found[first.trace_id]["output_tokens"] == 4
    assert found[second.trace_id]["code"] == "client_disconnected"
    assert found[second.trace_id]["cost_nano_usd"] is None


def test_free_sql_is_answered_in_order_and_with_parameters(places, reader):
    spool(places, *numbered(5))

    rows = reader.query(
        "SELECT code, started_at FROM traces WHERE code <> $1 ORDER BY code DESC -- newest", ["c2"], limit=3
    )

    assert [row["code"] for row in rows] == ["c4", "c3", "c1"]
    assert rows[0]["started_at"].startswith("2026-11-23 12:00:04")
    assert reader.query("SELECT count(*) AS n FROM traces;") == [{"n": 5}]
    assert reader.query("SELECT $a AS a", {"a": "x"}) == [{"a": "x"}]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM traces",
        "SELECT 1; DELETE FROM traces",
        "SELECT 1) q; DELETE FROM traces; --",
        "EXPLAIN ANALYZE DELETE FROM traces",
        "CALL checkpoint()",
        "CREATE TABLE x (i INTEGER)",
        "COPY traces TO '/tmp/x.csv'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "ATTACH '/tmp/x.duckdb'",
        "SET memory_limit = '8GB'",
        "nonsense",
        "SELECT nonsense FROM traces",
        "",
    ],
)
def test_only_a_single_select_on_the_store_is_answered(places, reader, sql):
    spool(places, a_trace())

    with pytest.raises(TraceQueryError):
        reader.query(sql)

    assert reader.count() == 1


def test_a_reader_leaves_no_store_behind_in_an_empty_folder(places):
    reader = TraceReader(places.data)

    assert reader.list() == []
    assert not places.store.exists()


def test_an_absent_folder_is_said_and_not_created(tmp_path):
    with pytest.raises(TraceStoreError, match="no data folder"):
        TraceReader(tmp_path / "typo").list()

    assert not (tmp_path / "typo").exists()


def test_a_reader_without_ingester_leaves_traces_stored_once(places):
    spool(places, *numbered(3)).close()
    reader = TraceReader(places.data)

    assert reader.count() == reader.count() == 3
    assert segment_paths(places.spool) == []
    with duckdb.connect(str(places.store), read_only=True) as plain:
        assert plain.execute("SELECT count(*) FROM traces").fetchone() == (3,)


@pytest.fixture
def foreign_holder(places):
    """Another program that has the DuckDB file open, as a person with the DuckDB CLI has."""
    spool(places, *numbered(1)).close()
    TraceReader(places.data).count()
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(places.store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "open\n"
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_store_held_by_another_program_is_said_with_its_pid(places, foreign_holder):
    with pytest.raises(
        TraceStoreError, match=rf"another program \(PID {foreign_holder.pid}\) has .*traces.duckdb open"
    ):
        TraceReader(places.data).list()


def test_crash_recovery_sees_the_spool_while_another_program_holds_the_store(places, foreign_holder):
    trace = a_trace(trace_id=new_trace_id(NOON), status=200, cost_nano_usd=5)
    spool(places, trace).close()
    (places.spool / "w-2.jsonl").write_bytes(b"nonsense\n")
    reader = TraceReader(places.data)

    found = reader.find_many([trace.trace_id])

    assert found[trace.trace_id]["status"] == 200
    assert found[trace.trace_id]["cost_nano_usd"] == 5
    with pytest.raises(TraceStoreError):  # it may be in the store
        reader.find_many([trace.trace_id, new_trace_id(NOON)])


def test_the_ingester_outlasts_another_program_that_holds_the_store(places, foreign_holder, caplog):
    running = Running(places.data)
    while "traces cannot be stored" not in caplog.text:
        time.sleep(0.01)

    foreign_holder.stdin.close()
    foreign_holder.wait()
    reader = TraceReader(places.data)

    assert reader.count() == 1
    assert running.stop() == [True]


def test_an_ingester_that_cannot_store_says_so_at_its_end(places, foreign_holder, caplog):
    running = Running(places.data)
    while "traces cannot be stored" not in caplog.text:
        time.sleep(0.01)

    assert running.stop() == [False]


def test_a_lock_holder_that_does_not_answer_is_said(places):
    places.address.write_bytes(b'{"port":9,"key":"k","pid":1}')  # nobody listens there
    with ingester_lock(places) as is_ours:
        assert is_ours
        with pytest.raises(TraceStoreError, match="does not answer"):
            TraceReader(places.data, patience_seconds=0.1).list()
        places.address.write_bytes(b"half a fi")
        with pytest.raises(TraceStoreError, match="does not answer"):
            TraceReader(places.data, patience_seconds=0.1).list()


def test_traces_are_read_while_the_spool_cannot_be_moved(places, caplog):
    """A full disk or a bad one: the incident responder still sees what is stored, and is told that it is not all."""
    spool(places, *numbered(2)).close()
    reader = TraceReader(places.data)
    assert reader.count() == 2
    waiting = a_trace(trace_id=new_trace_id(NOON), status=200)
    spool(places, waiting).close()
    places.batch.mkdir()  # where the batch file has to go

    assert reader.count() == 2
    assert "still in the spool" in caplog.text
    assert reader.find_many([waiting.trace_id])[waiting.trace_id]["status"] == 200

    running = Running(places.data)
    while not places.address.exists():
        time.sleep(0.01)
    assert reader.count() == 2
    assert reader.find_many([waiting.trace_id])[waiting.trace_id]["status"] == 200
    places.batch.rmdir()
    assert running.stop() == [True]
    assert reader.count() == 3


def test_a_folder_that_may_only_be_read_is_read(places, monkeypatch):
    spool(places, *numbered(2)).close()
    reader = TraceReader(places.data)
    reader.count()

    def not_allowed(path, *arguments, **keywords):
        raise PermissionError(path)

    monkeypatch.setattr("llmguard.traces.lock.os.open", not_allowed)

    assert reader.count() == 2
    with pytest.raises(TraceQueryError):
        reader.query("DROP TABLE traces")


def test_of_several_ingesters_one_works_and_the_next_takes_over(places):
    first = Running(places.data)
    while not places.address.exists():
        time.sleep(0.01)
    second, third = Running(places.data), Running(places.data)
    spool(places, *numbered(2)).close()

    assert third.stop() == [True]
    assert first.stop() == [True]
    spool(places, *numbered(3)).close()

    assert TraceReader(places.data).count() == 5
    assert second.stop() == [True]
    assert not places.address.exists()


def test_a_pass_that_fails_wakes_those_who_wait_for_it():
    passes = Passes()
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(passes.wait_for_next()))
    waiting.start()
    while not answers:
        passes.rest(0.01)
        passes.begin()
        passes.end(good=False)
    waiting.join()

    assert answers == [False]


def test_main_stops_with_its_parent(places, monkeypatch):
    parents = iter([1234, 1234])
    monkeypatch.setattr("llmguard.traces.ingest.os.getppid", lambda: next(parents, 1))
    monkeypatch.setattr("llmguard.traces.ingest.os.nice", lambda _: None)
    umask = os.umask(0o077)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    spool(places, *numbered(2)).close()
    try:
        assert main(["--data", str(places.data), "--follow-parent", "1234"]) == 0
    finally:
        os.umask(umask)
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)

    assert TraceReader(places.data).count() == 2


def test_an_ingester_that_breaks_ends_with_an_error(places, monkeypatch):
    monkeypatch.setattr("llmguard.traces.ingest.os.nice", lambda _: None)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    umask = os.umask(0o077)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    places.lock.mkdir()
    try:
        assert main(["--data", str(places.data)]) == 1
    finally:
        os.umask(umask)
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)


def test_any_number_of_ids_is_looked_for(places, reader):
    trace = a_trace(trace_id=new_trace_id(NOON), status=200)
    spool(places, trace)

    found = reader.find_many([trace.trace_id] + [new_trace_id(NOON) for _ in range(20_001)])

    assert list(found) == [trace.trace_id]
