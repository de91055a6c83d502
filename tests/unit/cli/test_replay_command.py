import json
from datetime import UTC, datetime

import duckdb
import pytest

from llmguard.traces.spool import Spool
from tests.support.builders import a_trace

WHOLE, STREAMED, REFUSED = (f"019aafd0-0000-7000-8000-00000000000{n}" for n in "abc")
CHUNKS = [{"choices": [{"delta": {"content": "Hé"}}]}, {"choices": []}]


@pytest.fixture
def stored(tmp_path):
    spool = Spool(tmp_path / "data" / "spool", "test")
    now = datetime.now(UTC)
    spool.append(a_trace(trace_id=WHOLE, started_at=now, app="a", status=200, request={}, response={"b": 1, "a": 2}))
    spool.append(a_trace(trace_id=STREAMED, started_at=now, app="a", status=200, chunks=CHUNKS, response={"c": 1}))
    spool.append(a_trace(trace_id=REFUSED, started_at=now, app="b", status=400, code="content_blocked"))
    spool.close()
    return tmp_path / "data" / "traces.duckdb"


def test_named_traces_are_answered_a_part_a_line(llmguard, stored):
    code, out, said = llmguard("replay", STREAMED, WHOLE, REFUSED)

    assert code == 0
    assert out == '{"choices":[{"delta":{"content":"Hé"}}]}\n{"choices":[]}\n{"b":1,"a":2}\n'
    assert f"{REFUSED}: 400 content_blocked, without an answer." in said
    assert said.endswith("3 equal, 0 changed, 0 erased\n")


def test_a_search_is_replayed_and_a_changed_trace_fails_it(llmguard, stored):
    code, out, _ = llmguard("replay", "--where", "--app", "a", "--json")
    assert (code, json.loads(out)["counts"]) == (0, {"equal": 2, "changed": 0, "erased": 0})
    assert llmguard("traces", "verify")[:2] == (0, "3 traces hold.\n")

    with duckdb.connect(str(stored), config={"storage_compatibility_version": "v1.5.0"}) as connection:
        connection.execute('UPDATE traces SET response = \'{"b":1,"a":3}\' WHERE seq = 1')

    code, out, _ = llmguard("replay", "--where", "--app", "a", "--json")
    assert (code, [trace["state"] for trace in json.loads(out)["traces"]]) == (1, ["changed", "equal"])
    code, out, _ = llmguard("traces", "verify", "--json")
    assert code == 1
    assert json.loads(out)["fault"].startswith(f"row 1, trace {WHOLE}:")


@pytest.mark.parametrize("words", [[], [WHOLE, "--where"], [WHOLE, "--app", "a"], ["none"]], ids=" ".join)
def test_what_to_replay_is_named_or_searched_for(llmguard, stored, words):
    assert llmguard("replay", *words)[0] == 2
