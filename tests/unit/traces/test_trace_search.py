from datetime import timedelta
from threading import Thread

import pytest

from llmguard.domain.identifiers import new_trace_id
from llmguard.traces.errors import TraceQueryError
from llmguard.traces.ingest import Ingester
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import NOON, a_trace

HEX = "0af7651916cd43dd8448eb211c80319c"
WANTED = {
    "app": "wanted",
    "owner": "dana@example.com",
    "cost_center": "4711",
    "endpoint": "/v1/embeddings",
    "preset": "wanted",
    "preset_version": 7,
    "provider": "wanted",
    "model": "wanted",
    "status": 429,
    "code": "wanted",
    "cost_nano_usd": 2_000_000,
    "latency_ms": 900.0,
    "entities": {"PERSON": 1},
    "request_id": "req-" + HEX,
    "w3c_trace_id": HEX,
    "request": {"messages": [{"content": 'He said "Grüße"\nto <PERSON_KOFADELIMORU>.'}]},
    "response": {"choices": [{"message": {"content": "Done for <PERSON_KOFADELIMORUBA>"}}]},
}
FILTERS = [
    *({name: WANTED[name]} for name in ("app", "owner", "cost_center", "endpoint", "preset", "preset_version")),
    *({name: WANTED[name]} for name in ("provider", "model", "status", "code", "request_id", "w3c_trace_id")),
    {"min_cost_usd": "0.002"},
    {"max_cost_usd": "0.002", "min_cost_usd": "0.0019"},
    {"min_latency_ms": 900},
    {"min_latency_ms": 100, "max_latency_ms": 900.5},
    {"entity": "PERSON"},
    {"text": 'SAID "grüße"\nto'},
    {"text": "done FOR"},
    {"placeholders": ["<PERSON_KOFADELIMORU"]},
    {"placeholders": ["<CITY_BABABABABABA", "<PERSON_KOFADELIMORU"]},
    {"since": NOON + timedelta(hours=1), "until": NOON + timedelta(hours=1, seconds=1)},
]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A store with the trace that is wanted and one that differs in everything."""
    places = Places(tmp_path_factory.mktemp("data"))
    places.create()
    spool = Spool(places.spool, "w")
    others = {"status": 200, "latency_ms": 1.0, "cost_nano_usd": 10, "entities": {"CITY": 1}, "preset_version": 1}
    other = {"request": {"messages": [{"content": "<PERSON_KOFADELIMORI>"}]}, "response": {"choices": []}}
    for facts in ({"code": "other"} | others | other, WANTED | {"started_at": NOON + timedelta(hours=1)}):
        spool.append(a_trace(**({"trace_id": new_trace_id(NOON)} | facts)))
    spool.close()
    return TraceReader(places.data)


@pytest.mark.parametrize("filters", FILTERS, ids=",".join)
def test_each_filter_finds_its_trace_and_no_other(reader, filters):
    assert [row["code"] for row in reader.list(**filters)] == ["wanted"]
    assert reader.count(**filters) == 1


def test_what_is_no_placeholder_is_not_looked_for(reader):
    with pytest.raises(TraceQueryError):
        reader.list(placeholders=["<PERSON_(a+)+$"])


def test_an_export_has_every_trace_once_with_its_exact_texts(tmp_path):
    places = Places(tmp_path / "data")
    places.create()
    spool = Spool(places.spool, "w")
    for number in range(1_250):
        spool.append(a_trace(trace_id=new_trace_id(NOON), code=f"c{number}", request={"b": number, "a": "x" * 20_000}))
    spool.close()
    reader = TraceReader(places.data)

    rows = list(reader.export())

    assert [row["code"] for row in rows] == [f"c{number}" for number in range(1_250)]  # 25 MB: several questions
    assert rows[7]["request"] == '{"b":7,"a":"' + "x" * 20_000 + '"}'
    assert [row["code"] for row in reader.export(limit=3, code="c9")] == ["c9"]


def test_the_extent_of_an_app_tells_its_types_and_times(reader):
    noon = int(NOON.timestamp())

    assert reader.extent("wanted") == {"entity_types": ["PERSON"], "first": noon + 3600, "last": noon + 3600}
    assert reader.extent("nobody") == {"entity_types": [], "first": None, "last": None}


def test_searches_are_answered_while_the_ingester_runs(tmp_path):
    places = Places(tmp_path / "data")
    places.create()
    Spool(places.spool, "w").append(a_trace(**WANTED))

    ingester = Ingester(places.data)
    thread = Thread(target=ingester.run)
    thread.start()
    try:
        reader = TraceReader(places.data)
        assert [row["code"] for row in reader.export(w3c_trace_id=HEX)] == ["wanted"]
        assert reader.count(text="grüße", placeholders=["<PERSON_KOFADELIMORU"]) == 1
    finally:
        ingester.stop()
        thread.join()
