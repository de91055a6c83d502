"""Kill -9 at random moments: what was acknowledged is in the store once, and the chain holds."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmguard.traces.chain import first_bad_row
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.segments import segment_paths
from llmguard.traces.store import TraceStore

ROUNDS = 10

# Acknowledges a trace the way the gateway does: only after `append` has returned.
WRITER = """
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.trace import Trace
from llmguard.traces.spool import Spool, SpoolLimits

spool = Spool(Path(sys.argv[1]) / "spool", sys.argv[2], limits=SpoolLimits(segment_bytes=200_000))
while True:
    now = datetime.now(UTC)
    trace = Trace(new_trace_id(now), now, "/v1/chat/completions", status=200, request={"text": "x" * 2000})
    spool.append(trace)
    sys.stdout.write(trace.trace_id + "\\n")
    sys.stdout.flush()
    time.sleep(0.0005)
"""


def a_writer(places, name, acknowledged):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(places.data), name], stdout=acknowledged)


def an_ingester(places, **options):
    command = [sys.executable, "-m", "llmguard.traces.ingest", "--data", str(places.data)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, **options)


def wait_until_it_works(ingester, places):
    while not (places.address.exists() and f'"pid":{ingester.pid}}}' in places.address.read_text()):
        time.sleep(0.01)


@pytest.fixture
def places(tmp_path):
    places = Places(tmp_path / "data")
    places.create()
    return places


def acknowledged_ids(path):
    return [line for line in path.read_text().split("\n") if len(line) == 36]  # the kill may cut the last one


def stored_ids(places):
    store = TraceStore(places)
    try:
        assert first_bad_row(store.chain()) is None
        return [row for (row,) in store.connection.execute("SELECT trace_id::VARCHAR FROM traces").fetchall()]
    finally:
        store.close()


def test_what_was_acknowledged_is_stored_once_whoever_is_killed_whenever(places, tmp_path):
    chance = random.Random(2611)
    log = tmp_path / "acknowledged"
    with log.open("wb") as acknowledged:
        ingester = an_ingester(places)
        for number in range(ROUNDS):
            before = log.stat().st_size
            writer = a_writer(places, f"w{number}", acknowledged)
            while number % 2 and log.stat().st_size == before:  # others may have said nothing
                time.sleep(0.01)
            time.sleep(0.2 + chance.random() * 0.4)
            victims = chance.choice([[writer], [ingester, writer], [writer, ingester]])
            for victim in victims:
                victim.kill()
                victim.wait()
            if ingester in victims:
                ingester = an_ingester(places)
        wait_until_it_works(ingester, places)
        ingester.send_signal(signal.SIGTERM)

    assert ingester.wait() == 0
    acknowledged_before = acknowledged_ids(log)
    count = TraceReader(places.data).count()  # takes what the last ingester may have been too early for
    stored = stored_ids(places)

    assert len(acknowledged_before) > ROUNDS
    assert set(acknowledged_before) <= set(stored)
    assert len(stored) == len(set(stored)) == count
    assert len(stored) - len(acknowledged_before) <= ROUNDS  # at most one per writer, killed before it could tell
    assert segment_paths(places.spool) == []
    assert not (places.spool / "rejected").exists()


def test_after_a_kill_of_everything_a_reader_alone_shows_each_trace_once(places, tmp_path):
    log = tmp_path / "acknowledged"
    with log.open("wb") as acknowledged:
        ingester, writer = an_ingester(places), a_writer(places, "w", acknowledged)
        while not places.address.exists() or TraceReader(places.data).count() < 50:
            time.sleep(0.01)
        ingester.kill()
        writer.kill()
        ingester.wait()
        writer.wait()

    shown = [row["trace_id"] for row in TraceReader(places.data).list(limit=100_000)]

    assert set(acknowledged_ids(log)) <= set(shown)
    assert len(shown) == len(set(shown))
    assert not places.address.exists()


def test_on_sigterm_the_ingester_takes_everything_and_ends_with_zero(places, tmp_path):
    log = tmp_path / "acknowledged"
    ingester = an_ingester(places)
    wait_until_it_works(ingester, places)
    with log.open("wb") as acknowledged:
        writer = a_writer(places, "w", acknowledged)
        while len(acknowledged_ids(log)) < 500:
            time.sleep(0.01)
        writer.kill()
        writer.wait()

    ingester.send_signal(signal.SIGTERM)

    assert ingester.wait() == 0
    assert set(acknowledged_ids(log)) <= set(stored_ids(places))
    assert not places.store.with_name("traces.duckdb.wal").exists()
    assert {path.stat().st_mode & 0o077 for path in places.data.iterdir()} == {0}


@pytest.mark.parametrize("is_session", [True, False])
def test_workers_go_before_it_and_the_session_of_others_stays_as_it_is(places, is_session):
    ours = group_of("self")
    ingester = an_ingester(places, start_new_session=is_session)
    wait_until_it_works(ingester, places)
    nice = os.getpriority(os.PRIO_PROCESS, ingester.pid) - os.getpriority(os.PRIO_PROCESS, 0)
    group = group_of(ingester.pid)
    ingester.kill()
    ingester.wait()

    assert (nice, group_of("self")) == (10, ours)
    assert group is None or (group.endswith(" nice 10") if is_session else group == ours)


def group_of(pid):
    """Return the name and niceness of a process's group; None where Linux makes none."""
    file = Path(f"/proc/{pid}/autogroup")
    return file.read_text().strip() or None if file.exists() else None
