"""Payloads go from every byte of the data folder, rows and chain stay; plain or encrypted, with ingester or without."""

import hashlib
import random
import re
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from datetime import timedelta

import duckdb
import pytest

from llmguard.audit.log import AuditLog
from llmguard.domain.at_rest import PLAIN, AtRest
from llmguard.domain.clock import SystemClock
from llmguard.domain.identifiers import new_trace_id
from llmguard.evidence.proof import prove
from llmguard.replay.offline import replay_offline
from llmguard.traces.database import open_for_reading
from llmguard.traces.erasing import Order
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.traces.ingest import Ingester
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from llmguard.traces.store import TraceStore
from tests.support.builders import NOON, a_trace

ENCRYPTED = AtRest(encrypts=True, keys=(b"k" * 32,))
ANNA, OTHER = "<PERSON_KOFADELIMORU>", "<PERSON_BATEKINOSAVE>"


class Folder:
    """A data folder with a worker that still writes, and an ingester or none."""

    def __init__(self, path, at_rest, *, ingests):
        self.places = Places(path, at_rest)
        self.places.create()
        self.spool = Spool(self.places.spool, "w", at_rest=at_rest)
        self.reader = TraceReader(path, at_rest)
        self.audit = AuditLog(self.places.state, SystemClock())
        self.ingester = Ingester(path, at_rest) if ingests else None
        self.thread = threading.Thread(target=self.ingester.run) if ingests else None
        if self.thread:
            self.thread.start()

    def close(self):
        if self.ingester:
            self.ingester.stop()
            self.thread.join()
        self.spool.close()

    def put(self, *traces):
        for trace in traces:
            self.spool.append(trace)

    def erase(self, reason="CASE-1", **order):
        order = {"kind": "erasure", "who": "os:dana", "reason": reason} | order
        return self.reader.erase(Order(id=str(uuid.uuid4()), **order))

    def prove(self):
        return prove(self.reader, self.audit)

    def every_byte(self):
        return b"\n".join(path.read_bytes() for path in self.places.data.rglob("*") if path.is_file())


WAYS = {
    "plain with ingester": (PLAIN, True),
    "plain without": (PLAIN, False),
    "encrypted with ingester": (ENCRYPTED, True),
    "encrypted without": (ENCRYPTED, False),
}


@pytest.fixture(params=["plain with ingester"])
def folder(request, tmp_path):
    at_rest, ingests = WAYS[request.param]
    folder = Folder(tmp_path / "data", at_rest, ingests=ingests)
    yield folder
    folder.close()


in_every_way = pytest.mark.parametrize("folder", WAYS, indirect=True)


def a_letter(text, number=0, **changes):
    moment = NOON + timedelta(seconds=number)
    facts = {
        "trace_id": new_trace_id(moment),
        "started_at": moment,
        "app": "claims-bot",
        "status": 200,
        "request": {"messages": [{"content": f"{text} marker-{number}"}]},
        "response": {"choices": [{"message": {"content": f"{text} answer-{number}"}}]},
        "input_tokens": 10,
        "cost_nano_usd": 1_000_000,
    }
    return a_trace(**(facts | changes))


def letters(*apps):
    return [
        a_letter(ANNA if number % 3 == 0 else OTHER, number, app=app)
        for number, app in enumerate(app for _ in range(6) for app in apps)
    ]


@in_every_way
def test_erasing_a_placeholder_takes_the_payloads_that_hold_it_from_every_byte(folder):
    folder.put(*letters("claims-bot", "travel"))
    assert folder.reader.count() == 12
    if folder.places.at_rest is PLAIN:
        assert b"marker-3" in folder.every_byte()  # else the search below would prove nothing

    erased = folder.erase(filters={"placeholders": [ANNA[:-1]]})

    left = folder.every_byte()
    assert erased.rows == 4
    for number in (0, 3, 6, 9):
        assert f'marker-{number}"'.encode() not in left
        assert f'answer-{number}"'.encode() not in left
    rows = list(folder.reader.export())
    assert [row["seq"] for row in rows if row["request"] is None] == [1, 4, 7, 10]
    assert {row["cost_usd"] for row in rows} == {"0.001000000"}  # finance figures stay
    assert f"{OTHER} marker-1" in rows[1]["request"]
    proof = folder.prove()
    assert (proof.fault, proof.rows, proof.erased, proof.unfinished) == (None, 12, 4, ())


def test_erasing_an_app_leaves_others_alone_and_goes_on(folder):
    folder.put(*letters("claims-bot", "travel"))

    assert folder.erase(filters={"app": "travel"}).rows == 6
    folder.put(a_letter(OTHER, 99, app="travel"))

    rows = list(folder.reader.export())
    assert [row["app"] for row in rows if row["request"] is None] == ["travel"] * 6
    assert "marker-99" in rows[-1]["request"]
    assert folder.prove().fault is None
    assert folder.prove().rows == 13


def test_a_dry_run_counts_and_leaves_no_mark(folder):
    folder.put(*letters("claims-bot"))

    assert folder.erase(filters={"app": "claims-bot"}, dry_run=True).rows == 6

    assert list(folder.audit.entries()) == []
    assert all(row["request"] for row in folder.reader.export())


def test_what_is_erased_is_in_the_audit_log_without_anything_personal(folder):
    folder.put(*letters("claims-bot"))
    folder.erase(filters={"app": "claims-bot", "placeholders": [ANNA[:-1]]}, reason="CASE-77")

    begun, done = folder.audit.entries()

    assert (begun.what, done.what, begun.who, begun.app) == (
        "traces.erasure_begun",
        "traces.erased",
        "os:dana",
        "claims-bot",
    )
    assert '"reason":"CASE-77"' in begun.facts
    assert '"rows":2' in begun.facts
    assert "KOFADE" not in begun.facts + done.facts


def test_an_erased_trace_replays_as_erased(folder):
    folder.put(*letters("claims-bot"))
    folder.erase(filters={"app": "claims-bot"})
    assert {replay_offline(row).state for row in folder.reader.export()} == {"erased"}


@in_every_way
def test_retention_goes_by_app_and_age(folder):
    folder.put(*letters("claims-bot", "travel"), a_letter(OTHER, 50, app=None))
    later = (NOON + timedelta(days=1)).isoformat()
    before = (NOON - timedelta(days=1)).isoformat()
    middle = (NOON + timedelta(seconds=6)).isoformat()

    erased = folder.erase(kind="retention", ends={"claims-bot": middle, "travel": before}, otherwise=later)

    gone = [(row["app"], row["seq"]) for row in folder.reader.export() if row["request"] is None]
    assert erased.rows == 4
    assert gone == [("claims-bot", 1), ("claims-bot", 3), ("claims-bot", 5), (None, 13)]
    assert folder.prove().fault is None


def test_erasing_again_finds_nothing_and_keeps_who_erased_first(folder):
    folder.put(*letters("claims-bot"))
    folder.erase(filters={"app": "claims-bot"})
    first = next(folder.reader.export())["erased_by"]

    assert folder.erase(filters={"app": "claims-bot"}).rows == 0

    assert next(folder.reader.export())["erased_by"] == first
    assert folder.prove().fault is None


@in_every_way
def test_parts_of_the_spool_that_were_set_aside_go_too(folder):
    folder.places.rejected.mkdir()
    held, other = folder.places.rejected / "w-1-0", folder.places.rejected / "w-2-0"
    held.write_text(f'{{"v":1,"app":"claims-bot","request":"{ANNA}')
    other.write_text('{"v":1,"app":"travel"')
    folder.put(*letters("claims-bot"))

    assert folder.erase(filters={"placeholders": [ANNA[:-1]]}).rejected_files == 1

    assert (held.exists(), other.exists()) == (False, True)


def test_an_order_for_nobody_is_refused(folder):
    with pytest.raises((TraceQueryError, TraceStoreError), match="of an app or of a placeholder"):
        folder.erase(filters={"status": 200})


@pytest.fixture
def closed(tmp_path):
    folder = Folder(tmp_path / "data", PLAIN, ingests=False)
    folder.put(*letters("claims-bot"))
    yield folder
    folder.close()


def by_force(folder, statement):
    """Change the store as somebody would who can write the file."""
    with duckdb.connect(str(folder.places.store)) as connection:
        connection.execute("SET VARIABLE action = (SELECT any_value(erased_by) FROM traces)")
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE traces SET request = NULL, response = NULL WHERE seq = 2", "row 2, trace .*: request, response or"),
        (
            "UPDATE traces SET request = NULL, response = NULL, erased_by = 'x' WHERE seq = 2",
            "row 2: its payload is gone, and the audit log knows no erasure x",
        ),
        (
            "UPDATE traces SET erased_by = 'x' WHERE seq = 2",
            "row 2, trace .*: its payload was erased, and there is one",
        ),
        (
            "UPDATE traces SET request = NULL, response = NULL, erased_by = getvariable('action') WHERE seq = 2",
            "row 1 or later: erasure .* had 2 rows, and 3 name it",
        ),
        ("UPDATE traces SET erased_by = NULL WHERE seq = 4", "row 4, trace .*: request, response or chunks"),
        ("DELETE FROM traces WHERE seq >= 5", "row 6: the audit log saw it at the end of the chain, and it is missing"),
    ],
    ids=["no name", "unknown name", "still there", "more than said", "name taken away", "end cut off"],
)
def test_payloads_that_were_taken_away_by_force_are_told_from_erased_ones(closed, statement, fault):
    closed.erase(filters={"placeholders": [ANNA[:-1]]})
    assert closed.prove().fault is None
    by_force(closed, statement)
    assert re.match(fault, closed.prove().fault)


def test_a_kill_while_the_copy_is_made_leaves_everything_and_says_what_was_begun(closed):
    script = f"""
import os, signal
from pathlib import Path
from llmguard.traces import reader
from llmguard.traces.erasing import Order
reader.put_in_place = lambda places: os.kill(os.getpid(), signal.SIGKILL)
order = Order(id="a1", kind="erasure", who="os:dana", reason="CASE-1", filters={{"app": "claims-bot"}})
reader.TraceReader(Path({str(closed.places.data)!r})).erase(order)
"""
    assert closed.reader.count() == 6
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9

    proof = closed.prove()
    assert (proof.fault, proof.rows, proof.erased, proof.unfinished) == (None, 6, 0, ("a1",))
    assert closed.erase(filters={"app": "claims-bot"}).rows == 6
    assert not closed.places.fresh_store.exists()
    assert closed.prove().fault is None


def test_without_room_for_a_copy_nothing_is_erased(closed, monkeypatch):
    monkeypatch.setattr("llmguard.traces.copying._SPARE_BYTES", 1 << 60)
    with pytest.raises(TraceStoreError, match="MB free"):
        closed.erase(filters={"app": "claims-bot"})
    assert closed.prove().erased == 0


def test_lines_that_are_already_stored_go_from_a_segment_and_new_ones_stay_readable(closed):
    assert closed.reader.count() == 6  # they are in the store now, and still in the open segment
    closed.erase(filters={"app": "claims-bot"})
    closed.put(a_letter(OTHER, 7))
    [segment] = closed.places.spool.glob("*.jsonl")
    assert b"marker-1" not in segment.read_bytes()
    newest = next(closed.reader.export(after_seq=6))["trace_id"]
    assert closed.reader._find_in_spool({newest}).keys() == {newest}


# Damage: one bit of the file is another one. Blocks that no row of the chain is in are not looked at.

BLOCK_BYTES = 262_144
BLOCKS = """
SELECT DISTINCT block_id FROM pragma_storage_info('traces')
WHERE block_id >= 0 AND column_name IN ('request', 'response', 'digest', 'steps') ORDER BY block_id"""


@pytest.mark.parametrize("at_rest", [PLAIN, ENCRYPTED], ids=["plain", "encrypted"])
def test_one_flipped_bit_in_what_is_stored_is_found_and_a_row_named(tmp_path, at_rest):
    folder = Folder(tmp_path / "data", at_rest, ingests=False)
    folder.put(*(a_letter(hashlib.sha256(b"%d" % number).hexdigest(), number) for number in range(2500)))
    assert folder.reader.count() == 2500
    TraceStore(folder.places).close()  # all in the file, nothing in its log
    store = TraceStore(folder.places)
    blocks = [block for (block,) in store.connection.execute(BLOCKS).fetchall()]
    store.close()
    whole, chance = folder.places.store.read_bytes(), random.Random(26)

    assert blocks
    for block in [*blocks] * 3:
        flipped = bytearray(whole)
        flipped[3 * 4096 + block * BLOCK_BYTES + chance.randrange(BLOCK_BYTES)] ^= 1 << chance.randrange(8)
        folder.places.store.write_bytes(flipped)
        fault = folder.prove().fault
        assert re.match(r"row \d+: ", fault), fault

    folder.places.store.write_bytes(whole)
    assert folder.prove().fault is None
    folder.close()


# Encryption: how files change from one way of keeping to another.


def test_no_byte_of_an_encrypted_folder_tells_anything(tmp_path):
    folder = Folder(tmp_path / "data", ENCRYPTED, ingests=False)
    folder.put(a_letter("zweiundvierzig", 42, preset="unmistakable-preset"))
    before = folder.every_byte()
    assert folder.reader.count(text="zweiundvierzig") == 1
    store = TraceStore(folder.places)
    during = folder.every_byte()  # the log of the store, not checkpointed
    store.close()
    folder.close()
    for found in (before, during, folder.every_byte()):
        for text in (b"zweiundvierzig", b"marker-42", b"unmistakable-preset", b"claims-bot"):
            assert text not in found


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (PLAIN, replace(ENCRYPTED)),
        (ENCRYPTED, AtRest(encrypts=False, keys=ENCRYPTED.keys)),
        (ENCRYPTED, AtRest(encrypts=True, keys=(b"n" * 32, *ENCRYPTED.keys))),
    ],
    ids=["switched on", "switched off", "another secret"],
)
def test_the_ingester_brings_an_older_folder_to_the_present_setting(tmp_path, first, then):
    old = Folder(tmp_path / "data", first, ingests=False)
    old.put(*letters("claims-bot"))
    assert old.reader.count() == 6
    old.put(a_letter(OTHER, 7))  # still in the spool when the setting changes
    old.close()
    assert TraceReader(tmp_path / "data", then).count() == 7  # readable before anything was converted

    inode = old.places.store.stat().st_ino
    new = Folder(tmp_path / "data", then, ingests=True)
    new.put(a_letter(OTHER, 8))
    assert new.reader.count() == 8
    give_up = time.monotonic() + 20
    while new.places.store.stat().st_ino == inode:
        assert time.monotonic() < give_up, "it was not converted"
        time.sleep(0.02)
    new.close()

    only_present = replace(then, keys=then.keys[:1] if then.encrypts else ())
    assert prove(TraceReader(tmp_path / "data", only_present), new.audit).rows == 8
    told = {path.name for path in new.places.data.rglob("*") if path.is_file() and b"claims-bot" in path.read_bytes()}
    assert told == (set() if then.encrypts else {"traces.duckdb"})


def test_without_the_right_secret_nothing_is_read_and_nothing_lost(tmp_path):
    folder = Folder(tmp_path / "data", ENCRYPTED, ingests=False)
    folder.put(a_letter(OTHER, 1))
    wrong = TraceReader(tmp_path / "data", AtRest(encrypts=True, keys=(b"w" * 32,)))

    with pytest.raises(TraceStoreError, match="LLMGUARD_SECRET"):
        wrong.find_many([str(uuid.uuid4())])  # looks into the spool
    assert wrong.count() == 0  # and says in the log that the spool is left alone
    assert folder.reader.count() == 1
    with pytest.raises(TraceStoreError, match="LLMGUARD_SECRET"):
        wrong.count()
    with pytest.raises(TraceStoreError, match="LLMGUARD_SECRET"):
        open_for_reading(Places(tmp_path / "data", PLAIN))
    assert folder.reader.count() == 1
    folder.close()
