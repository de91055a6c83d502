import json
import re
import stat
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.trace import Trace
from llmguard.traces.chain import GENESIS, Tip, first_bad_row
from llmguard.traces.database import open_for_reading
from llmguard.traces.drain import Drain
from llmguard.traces.errors import DamagedStoreError, TraceStoreError
from llmguard.traces.line import decode_line, encode_line
from llmguard.traces.places import Places
from llmguard.traces.schema import UPGRADES, schema_version
from llmguard.traces.segments import segment_paths
from llmguard.traces.spool import Spool, SpoolLimits
from llmguard.traces.store import TraceStore
from tests.support.builders import NOON, a_trace


@pytest.fixture
def places(tmp_path):
    places = Places(tmp_path / "data")
    places.create()
    return places


@pytest.fixture
def store(places):
    store = TraceStore(places)
    yield store
    store.close()


def a_full_trace(**changes):
    facts = {
        "trace_id": new_trace_id(NOON),
        "app": "expense-triage",
        "owner": "dana@example.com",
        "cost_center": "4711",
        "key_id": "k1",
        "preset": "summarise",
        "preset_version": 2,
        "registry_digest": "a" * 64,
        "redaction_digest": "b" * 64,
        "policy_digest": "c" * 64,
        "price_version": "litellm",
        "provider": "echo",
        "model": "echo-1",
        "status": 200,
        "decision": {"allowed": True},
        "request": {"messages": [{"content": "Grüße, <PERSON_KOFADE> 🎈\u0000"}]},
        "response": {"n": 1e5, "big": 12345678901234567890123, "f": 1.0},
        "chunks": [{"a": 1}, {"a": 2}],
        "entities": {"PERSON": 2, "EMAIL_ADDRESS": 1},
        "input_tokens": 10,
        "output_tokens": 20,
        "cached_tokens": 1,
        "reasoning_tokens": 2,
        "cost_nano_usd": 123_456_789_012,
        "latency_ms": 12.345,
        "first_token_ms": 1.5,
        "overhead_ms": 0.1,
        "stream": True,
        "replay_of": None,
        "steps": {"parse": 5, "call": 9},
        "team": "finance-ops",
        "cache_write_tokens": 3,
        "cache_write_1h_tokens": 4,
        "audio_input_tokens": 5,
        "audio_output_tokens": 6,
        "service_tier": "flex",
        "price_rate": "flex",
        "cost_basis": "reported",
    }
    return a_trace(**(facts | changes))


def put(store, *traces):
    store.commit([decode_line(encode_line(trace)) for trace in traces], {})


def spooled(places, *traces, **limits):
    spool = Spool(places.spool, "w", limits=SpoolLimits(**limits))
    for trace in traces:
        spool.append(trace)
    return spool


def one(store, columns):
    return store.connection.execute(f"SELECT {columns} FROM traces").fetchone()


def test_a_row_has_the_values_of_its_trace(store):
    put(store, a_full_trace())

    row = one(store, "app, owner, preset_version, status, entities, cost_usd, stream, epoch_us(started_at), latency_ms")

    assert row == (
        *("expense-triage", "dana@example.com", 2, 200, {"EMAIL_ADDRESS": 1, "PERSON": 2}, Decimal("123.456789012")),
        *(True, int(NOON.timestamp() * 1_000_000), 12.345),
    )


def test_the_table_has_every_column_of_the_contract(store):
    types = {name: kind for name, kind, *_ in store.connection.execute("DESCRIBE traces").fetchall()}

    assert list(types) == [
        *("seq", "trace_id", "started_at", "endpoint", "app", "owner", "cost_center", "key_id", "preset"),
        *("preset_version", "registry_digest", "redaction_digest", "policy_digest", "price_version", "provider"),
        *("model", "status", "code", "decision", "request", "response", "chunks", "entities", "input_tokens"),
        *("output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd", "latency_ms", "first_token_ms"),
        *("overhead_ms", "stream", "replay_of", "steps", "payload_digest", "prev_digest", "digest"),
        *("team", "cache_write_tokens", "cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens"),
        *("service_tier", "price_rate", "cost_basis", "preset_digest", "request_id", "w3c_trace_id"),
        *("erased_at", "erased_by"),
    ]
    assert types["trace_id"] == "UUID"
    assert types["started_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["cost_usd"] == "DECIMAL(18,9)"
    assert types["entities"] == "MAP(VARCHAR, INTEGER)"
    assert {types[name] for name in ("decision", "request", "response", "chunks", "steps")} == {"JSON"}


def test_json_is_stored_as_the_worker_wrote_it_byte_for_byte(store):
    trace = a_full_trace()
    line = json.loads(encode_line(trace))

    put(store, trace)

    request, response, chunks, decision, steps = one(
        store, "request::VARCHAR, response::VARCHAR, chunks::VARCHAR, decision::VARCHAR, steps::VARCHAR"
    )
    assert request.encode() in encode_line(trace)
    assert '"big":12345678901234567890123,"f":1.0' in response
    assert json.loads(chunks) == line["chunks"]
    assert json.loads(decision) == {"allowed": True}
    assert list(json.loads(steps)) == ["parse", "call"]


def test_what_was_not_reached_is_null(store):
    put(store, a_trace(status=401, code="invalid_api_key"))

    assert one(store, "app, request, response, chunks, cost_usd, latency_ms") == (None,) * 6
    assert one(store, "decision::VARCHAR, entities, stream, steps::VARCHAR") == ("{}", {}, False, "{}")


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
VALID_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TRACES = st.builds(
    a_full_trace,
    started_at=st.integers(0, 4 * 10**15).map(lambda us: EPOCH + timedelta(microseconds=us)),
    app=st.none() | VALID_TEXT,
    request=st.none() | st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    response=st.none() | st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    entities=st.dictionaries(VALID_TEXT, st.integers(0, 2**31 - 1), max_size=4),
    latency_ms=st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    cost_nano_usd=st.none() | st.integers(-(10**18) + 1, 10**18 - 1),
    input_tokens=st.none() | st.integers(-(2**63), 2**63 - 1),
    stream=st.booleans(),
    steps=st.dictionaries(VALID_TEXT, st.integers(0, 10**12), max_size=4),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(traces=st.lists(TRACES, max_size=5))
def test_the_chain_holds_for_every_trace(store, traces):
    put(store, *traces)

    assert first_bad_row(store.chain()) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE traces SET app = 'other' WHERE seq = 2", "row 2, .*a column was changed"),
        ("UPDATE traces SET cost_usd = cost_usd + 0.000000001 WHERE seq = 2", "row 2, .*a column was changed"),
        ("UPDATE traces SET decision = '{\"allowed\":false}' WHERE seq = 2", "row 2, .*a column was changed"),
        ("UPDATE traces SET response = '{}' WHERE seq = 2", "row 2, .*request, response or chunks were changed"),
        ("UPDATE traces SET digest = repeat('f', 64) WHERE seq = 2", "row 2, .*a column was changed"),
        ("UPDATE traces SET prev_digest = repeat('f', 64) WHERE seq = 2", "row 2, .*does not follow"),
        ("DELETE FROM traces WHERE seq = 2", "row 3, .*row 2 was expected"),
        ("UPDATE traces SET seq = 7 WHERE seq = 3", "row 7, .*row 3 was expected"),
    ],
)
def test_a_change_by_hand_is_named(store, change, words):
    put(store, *(a_full_trace() for _ in range(3)))

    store.connection.execute(change)

    complaint = first_bad_row(store.chain())
    assert complaint is not None
    assert re.search(words, complaint), complaint


def test_the_chain_goes_on_after_reopening_and_can_be_verified_in_parts(places):
    for _ in range(2):
        store = TraceStore(places)
        put(store, a_full_trace(), a_full_trace())
        store.close()

    store = TraceStore(places)
    rows = list(store.chain())
    store.close()

    assert [row.sealed.seq for row in rows] == [1, 2, 3, 4]
    assert rows[0].sealed.prev_digest == GENESIS
    assert first_bad_row(rows) is None
    assert first_bad_row(rows[2:], Tip(2, rows[1].digest)) is None


def test_rows_and_positions_are_committed_together(places):
    store = TraceStore(places)
    line = decode_line(encode_line(a_full_trace()))

    store.commit([line], {"w-1.jsonl": 10})
    line.facts.endpoint = None  # NOT NULL in the table
    with pytest.raises(duckdb.Error):
        store.commit([line], {"w-1.jsonl": 20, "w-2.jsonl": 5})
    store.close()

    again = TraceStore(places)
    assert again.positions == {"w-1.jsonl": 10}
    assert one(again, "count(*)") == (1,)
    again.close()


def test_only_the_owner_may_read_the_store_and_a_plain_duckdb_can(places):
    store = TraceStore(places)
    put(store, a_full_trace())
    store.close()

    assert stat.S_IMODE(places.store.stat().st_mode) == 0o600
    assert not places.batch.exists()
    with duckdb.connect(str(places.store), read_only=True) as plain:
        assert plain.execute("SELECT count(*) FROM traces").fetchone() == (1,)
        assert plain.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'traces'").fetchone() == (
            {"storage_version": "v1.5.0+"},
        )


NEXT = (*UPGRADES, ("ALTER TABLE traces ADD COLUMN region VARCHAR", "CREATE TABLE usage (app VARCHAR)"))


def test_an_older_folder_is_upgraded_and_its_chain_still_holds(places):
    old = TraceStore(places)
    put(old, a_full_trace())
    old.close()

    new = TraceStore(places, upgrades=NEXT)
    put(new, a_full_trace())

    assert schema_version(new.connection) == len(NEXT)
    assert one(new, "count(*), count(region)") == (2, 0)
    assert first_bad_row(new.chain()) is None
    new.close()


def test_a_folder_of_the_first_schema_gets_all_later_columns_and_its_chain_still_holds(places):
    later = [statement.split()[5] for upgrade in UPGRADES[1:] for statement in upgrade]
    store = TraceStore(places)
    put(store, a_full_trace(**dict.fromkeys(set(later) & set(Trace.__dataclass_fields__))))
    store.close()
    with duckdb.connect(str(places.store), config={"storage_compatibility_version": "v1.5.0"}) as first:
        for column in later:
            first.execute(f"ALTER TABLE traces DROP COLUMN {column}")
        first.execute("DELETE FROM schema_version WHERE version > 1")

    store = TraceStore(places)
    put(store, a_full_trace())

    assert one(store, "count(*), count(team), sum(cost_usd)") == (2, 1, 2 * Decimal("123.456789012"))
    assert first_bad_row(store.chain()) is None
    store.close()


def test_an_upgrade_that_fails_leaves_the_older_schema(places):
    TraceStore(places).close()

    with pytest.raises(duckdb.Error):
        TraceStore(places, upgrades=(*UPGRADES, ("ALTER TABLE traces ADD COLUMN region VARCHAR", "SELECT nonsense")))

    store = TraceStore(places)
    assert schema_version(store.connection) == len(UPGRADES)
    assert "region" not in {name for name, *_ in store.connection.execute("DESCRIBE traces").fetchall()}
    store.close()


def test_a_newer_folder_is_not_touched(places):
    TraceStore(places, upgrades=NEXT).close()

    with pytest.raises(TraceStoreError, match="newer llmguard"):
        TraceStore(places)
    with pytest.raises(TraceStoreError, match=f"schema {len(NEXT)}"):
        open_for_reading(places)


def test_no_statement_reaches_other_files(store, tmp_path):
    (tmp_path / "secret").write_text("x")

    for statement in (
        f"SELECT * FROM read_text('{tmp_path}/secret')",
        f"COPY traces TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/other.duckdb'",
        "SET enable_external_access = true",
        "SET memory_limit = '8GB'",
    ):
        with pytest.raises(duckdb.Error):
            store.connection.execute(statement)


def test_a_damaged_file_is_named(places):
    places.store.write_bytes(b"no database" * 1000)

    with pytest.raises(DamagedStoreError, match="damaged"):
        TraceStore(places)


def test_a_pass_moves_each_line_once_and_removes_finished_segments(places, store):
    spool = spooled(places, a_full_trace(), a_full_trace(), segment_bytes=1)
    drain = Drain(places.spool, store)

    assert drain.run() == 2
    assert drain.run() == 0
    assert len(segment_paths(places.spool)) == 1  # the one that the spool still holds
    spool.append(a_full_trace())
    spool.close()
    assert drain.run() == 1

    assert segment_paths(places.spool) == []
    assert store.positions == {}
    assert one(store, "count(*), count(DISTINCT trace_id)") == (3, 3)


def test_a_line_that_is_being_written_is_left_alone(places, store):
    spool = spooled(places, a_full_trace())
    (segment,) = segment_paths(places.spool)
    line = encode_line(a_full_trace())
    drain = Drain(places.spool, store)

    with segment.open("ab") as file:
        file.write(line[:50])
        file.flush()
        assert drain.run() == 1
        file.write(line[50:])
    assert drain.run() == 1
    spool.close()


def test_a_torn_last_line_of_a_dead_writer_is_set_aside(places, store):
    torn = encode_line(a_full_trace())[:-30]
    (places.spool / "w-1.jsonl").write_bytes(encode_line(a_full_trace()) + torn)

    assert Drain(places.spool, store).run() == 1

    (rejected,) = (places.spool / "rejected").iterdir()
    assert rejected.read_bytes() == torn
    assert stat.S_IMODE(rejected.stat().st_mode) == 0o600
    assert segment_paths(places.spool) == []


def test_bad_lines_never_stop_the_good_ones(places, store, caplog):
    good = [encode_line(a_full_trace()) for _ in range(3)]
    bad = b'{"v":1,"secret":"jane@example.com"}\n'
    (places.spool / "w-1.jsonl").write_bytes(good[0] + bad + good[1] + b"\n" + good[2])

    assert Drain(places.spool, store).run() == 3

    rejected = sorted(path.read_bytes() for path in (places.spool / "rejected").iterdir())
    assert rejected == [b"\n", bad]
    assert "set aside" in caplog.text
    assert "jane" not in caplog.text
    assert first_bad_row(store.chain()) is None


def test_a_row_that_duckdb_refuses_is_set_aside_and_the_others_stay(places, store):
    store.connection.execute("ALTER TABLE traces ALTER COLUMN app TYPE INTEGER")
    bad = encode_line(a_full_trace())
    lines = [encode_line(a_full_trace(app="1")), bad, encode_line(a_full_trace(app="2"))]
    (places.spool / "w-1.jsonl").write_bytes(b"".join(lines))

    assert Drain(places.spool, store).run() == 2

    (rejected,) = (places.spool / "rejected").iterdir()
    assert rejected.read_bytes() == bad
    assert segment_paths(places.spool) == []
    assert store.connection.execute("SELECT seq, app FROM traces ORDER BY seq").fetchall() == [(1, 1), (2, 2)]


def test_when_every_row_is_refused_the_store_is_to_blame_and_the_spool_keeps_them(places, store):
    store.connection.execute("ALTER TABLE traces ALTER COLUMN app TYPE INTEGER")
    bad = encode_line(a_full_trace())
    (places.spool / "w-1.jsonl").write_bytes(bad * 3)

    with pytest.raises(duckdb.Error):
        Drain(places.spool, store).run()

    assert (places.spool / "w-1.jsonl").read_bytes() == bad * 3
    assert list((places.spool / "rejected").iterdir()) == []


def test_a_line_beyond_all_bounds_is_set_aside_in_bounded_memory(places, store, monkeypatch):
    monkeypatch.setattr("llmguard.traces.drain.MAX_LINE_BYTES", 1000)
    good = encode_line(a_trace())
    (places.spool / "w-1.jsonl").write_bytes(good + b"x" * 5000 + b"\n" + good)

    assert Drain(places.spool, store).run() == 2

    (rejected,) = (places.spool / "rejected").iterdir()
    assert rejected.stat().st_size == 5001


def test_large_traces_and_many_small_ones_fit_into_bounded_batches(places, store):
    huge = a_full_trace(request={"text": "ä" * 5_000_000}, response={"text": "x" * 10_000_000})
    spool = spooled(places, huge, *(a_full_trace() for _ in range(2_500)), huge)
    spool.close()

    assert Drain(places.spool, store).run() == 2_502

    assert one(store, "max(length(request::VARCHAR)), max(length(response::VARCHAR))") == (5_000_011, 10_000_011)
    assert first_bad_row(store.chain()) is None


def test_a_segment_removed_just_before_a_kill_is_forgotten(places, store):
    store.commit([], {"gone-1.jsonl": 99})

    Drain(places.spool, store).run()

    assert store.positions == {}
    assert store.connection.execute("SELECT count(*) FROM segments").fetchone() == (0,)


def test_lines_written_between_reading_and_the_end_of_their_writer_are_left_for_the_next_pass(places, store):
    path = places.spool / "w-1.jsonl"
    path.write_bytes(encode_line(a_full_trace()))
    drain = Drain(places.spool, store)

    drain._retire(path)  # nothing of it has been read yet

    assert path.exists()
    assert drain.run() == 1
    assert not path.exists()
