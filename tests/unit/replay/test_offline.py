"""Answers from the store: every one that is given out is the one that was written, byte for byte."""

from datetime import timedelta

import duckdb
import msgspec
import pytest

from llmguard.domain.identifiers import new_trace_id
from llmguard.replay.offline import replay_offline
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import NOON, a_trace

TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"who": "<PERSON_KOFADELIMORU>"}'}}
COUNT = 400


def an_answer(number):
    """One of six kinds: an answer, a tool call, a stream, a stream of tool calls, vectors, a refusal."""
    text = f'Grüße "{number}"\n\u2028 \U0001f600'
    match number % 6:
        case 0:
            return {"response": {"choices": [{"message": {"content": text}}], "usage": {"total_tokens": 1.50}}}
        case 1:
            return {"response": {"choices": [{"message": {"content": None, "tool_calls": [TOOL_CALL]}}]}}
        case 2:
            chunks = [{"choices": [{"delta": {"content": letter}}]} for letter in text]
            return {"stream": True, "chunks": chunks, "response": {"choices": [{"message": {"content": text}}]}}
        case 3:
            chunks = [{"choices": [{"delta": {"tool_calls": [{"index": 0, **TOOL_CALL}]}}]}, {"choices": []}]
            return {"stream": True, "chunks": chunks, "response": {"choices": [{"message": {}}]}}
        case 4:
            return {"endpoint": "/v1/embeddings", "response": {"data": [{"embedding": "AACAPwAAAEA=", "index": 0}]}}
        case _:
            return {"status": 400, "code": "parameter_not_allowed", "request": None}


@pytest.fixture
def traces(tmp_path):
    places = Places(tmp_path / "data")
    places.create()
    spool = Spool(places.spool, "w")
    traces = []
    for number in range(COUNT):
        facts = {"trace_id": new_trace_id(NOON), "started_at": NOON + timedelta(seconds=number), "status": 200}
        traces.append(a_trace(**(facts | {"request": {"n": number}} | an_answer(number))))
        spool.append(traces[-1])
    spool.close()
    return places, traces


def change(places, seq, column="response"):
    with duckdb.connect(str(places.store), config={"storage_compatibility_version": "v1.5.0"}) as connection:
        connection.execute(f"UPDATE traces SET {column} = replace({column}::VARCHAR, '0', '1') WHERE seq = {seq}")


def test_every_answer_comes_back_byte_for_byte_and_chunk_for_chunk(traces):
    places, written = traces

    replayed = [replay_offline(row) for row in TraceReader(places.data).export()]

    assert [one.trace_id for one in replayed] == [trace.trace_id for trace in written]
    assert {one.state for one in replayed} == {"equal"}
    expected = [trace.chunks or ([trace.response] if trace.response else []) for trace in written]
    assert [one.parts for one in replayed] == [tuple(map(msgspec.json.encode, parts)) for parts in expected]
    assert [one.status for one in replayed].count(400) == sum(number % 6 == 5 for number in range(COUNT))


def test_a_changed_answer_is_not_given_out_and_its_row_is_named(traces):
    places, written = traces
    reader = TraceReader(places.data)
    assert list(reader.verify())[-1]["seq"] == COUNT
    change(places, 241)

    row = next(reader.export(limit=1, after_seq=240))

    assert row["trace_id"] == written[240].trace_id
    assert (replay_offline(row).state, replay_offline(row).parts) == ("changed", ())
    fault = list(reader.verify())[-1]["fault"]
    assert fault == f"row 241, trace {written[240].trace_id}: request, response or chunks were changed"


def test_an_erased_answer_is_told_from_a_changed_one(traces):
    places, _ = traces
    row = next(TraceReader(places.data).export(limit=1))

    erased = replay_offline(row | {"request": None, "response": None, "chunks": None})

    assert (erased.state, erased.parts) == ("erased", ())
