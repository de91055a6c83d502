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


@pytest.mark.parametrize(
    "words",
    [
        [],
        [WHOLE, "--where"],
        [WHOLE, "--app", "a"],
        ["none"],
        [WHOLE, "--live"],
        [WHOLE, "--live", "--offline", "--as", "a"],
        [WHOLE, "--save-case", "--live", "--as", "a"],
        [WHOLE, "--temperature", "0"],
        [WHOLE, "-n", "2"],
        [WHOLE, "--as", "a"],
        [WHOLE, "--preset", "a@1"],
        [WHOLE, "--live", "--as", "a", "--temperature", "3"],
    ],
    ids=" ".join,
)
def test_what_to_replay_is_named_or_searched_for(llmguard, stored, words):
    assert llmguard("replay", *words)[0] == 2


def test_without_live_a_preset_and_a_model_narrow_the_search(llmguard, stored):
    code, out, _ = llmguard("replay", "--where", "--preset", "other", "--json")
    assert (code, json.loads(out)["traces"]) == (0, [])
    code, out, _ = llmguard("replay", "--where", "--of-model", "other", "--json")
    assert (code, json.loads(out)["traces"]) == (0, [])


REFUSED_BY_APP = "019aafd0-0000-7000-8000-00000000000d"


@pytest.fixture
def refused(tmp_path):
    spool = Spool(tmp_path / "data" / "spool", "test")
    decision = {"allowed": False, "reasons": [{"code": "preset_not_allowed"}], "asked": {"model": "draft-reply"}}
    facts = {"app": "ticket-router", "status": 403, "code": "preset_not_allowed", "decision": decision}
    spool.append(a_trace(trace_id=REFUSED_BY_APP, started_at=datetime.now(UTC), **facts))
    spool.close()
    return tmp_path / "cases"


def test_a_refusal_is_kept_as_a_case_and_found_when_it_would_pass(llmguard, registry, refused):
    assert llmguard("replay", REFUSED_BY_APP, "--save-case")[:2] == (0, f"{refused / REFUSED_BY_APP}.yaml\n")
    code, out, _ = llmguard("check", "--cases")
    assert code == 0
    assert "1 cases are decided as they were." in out

    registry.write_text(registry.read_text().replace("presets: [classify]", "presets: [classify, draft-reply]"))

    code, out, said = llmguard("check", "--cases", "--json")
    [finding] = json.loads(out)["findings"]
    assert (code, finding["app"], finding["preset"]) == (1, "ticket-router", "draft-reply@1")
    assert finding["text"].endswith("it is decided 200, and 403 preset_not_allowed is expected.")
    assert said == "1 findings.\n"


def test_what_makes_no_case_is_said(llmguard, stored):
    code, out, said = llmguard("replay", REFUSED, "--save-case")

    assert (code, out) == (3, "")
    assert f"{REFUSED}: It was refused with content_blocked for something that its trace does not keep" in said
    code, out, _ = llmguard("replay", REFUSED, "--save-case", "--json")
    assert (code, json.loads(out)[0]["case"]) == (3, None)


def test_cases_need_a_folder_with_cases(llmguard, tmp_path):
    code, _, said = llmguard("check", "--cases")
    assert code == 3
    assert "`llmguard replay TRACE --save-case` makes it" in said
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.yaml").write_text("nothing")
    code, _, said = llmguard("check", "--cases", str(tmp_path / "own"))
    assert code == 3
    assert "a.yaml is no case" in said


@pytest.mark.parametrize("words", [["--live"], ["--as", "a"], ["--cases", "--live"]], ids=" ".join)
def test_cases_are_asked_live_by_somebody(llmguard, words):
    assert llmguard("check", *words)[0] == 2


def test_a_responder_has_a_standing_of_their_own(ask):
    rows = ask("quota", "show", "responder:coe@example.com")

    assert {row["name"]: row["used"] for row in rows} == {"requests_per_minute": 0, "usd_per_month": "0.000000000"}


def test_who_has_no_budget_asks_nothing(llmguard, stored, refused):
    assert llmguard("replay", REFUSED_BY_APP, "--save-case")[0] == 0

    for words in (["replay", WHOLE, "--live"], ["check", "--cases", "--live"]):
        code, _, said = llmguard(*words, "--as", "eve@example.com")
        assert code == 3
        assert "eve@example.com has no budget for live replays. Those who have one: coe@example.com." in said


def test_a_data_folder_that_cannot_be_used_is_said(llmguard, stored, tmp_path):
    (tmp_path / "data" / "state.db").mkdir()

    code, _, said = llmguard("replay", WHOLE, "--live", "--as", "coe@example.com")

    assert code == 3
    assert "cannot be used (" in said
