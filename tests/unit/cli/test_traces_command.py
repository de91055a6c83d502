import io
import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from llmguard.redaction.kept import KeptRules
from llmguard.redaction.lookup import placeholders_of
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.check import check_registry
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace

TRACE_ID = "019aafd0-0000-7000-8000-00000000000a"
OLD_ID = "019aafd0-0000-7000-8000-00000000000b"
SECRET = b"the present secret of the test"
OLD_SECRET = b"the secret before of this test"


@pytest.fixture
def spooled(tmp_path):
    """Puts traces into the data folder."""

    def put(*traces):
        spool = Spool(tmp_path / "data" / "spool", "test")
        for trace in traces:
            spool.append(trace)
        spool.close()

    return put


def an_answered_trace(**changes):
    steps = {"authenticate": 100, "resolve": 150, "decide": 300, "redact": 900, "reserve": 1200, "call": 5200}
    facts = {
        "trace_id": TRACE_ID,
        "started_at": datetime.now(UTC) - timedelta(minutes=5),
        "app": "expense-triage",
        "preset": "summarise",
        "preset_version": 2,
        "status": 200,
        "decision": {"allowed": True, "reasons": [], "adjusted": []},
        "request": {"messages": [{"role": "user", "content": "Summarise the Lisbon ticket"}]},
        "response": {"choices": [{"message": {"content": "Fine."}}]},
        "cost_nano_usd": 1_500,
        "entities": {"PERSON": 2},
        "steps": steps | {"settle": 5300, "trace": 5900},
    }
    return a_trace(**(facts | changes))


def ids(rows):
    return [row["trace_id"] for row in rows]


def test_a_preset_is_searched_for_with_its_version(ask, spooled):
    spooled(an_answered_trace(), an_answered_trace(trace_id=OLD_ID, preset_version=1))

    assert set(ids(ask("traces", "search", "--preset", "summarise"))) == {TRACE_ID, OLD_ID}
    assert ids(ask("traces", "search", "--preset", "summarise@1", "--entity", "PERSON", "--max-cost", "0.01")) == [
        OLD_ID
    ]


def test_a_text_is_looked_for_in_the_last_week_and_that_is_said(llmguard, spooled):
    long_ago = datetime.now(UTC) - timedelta(days=20)
    spooled(an_answered_trace(), an_answered_trace(trace_id=OLD_ID, started_at=long_ago))

    code, out, said = llmguard("traces", "search", "--text", "lisbon", "--json")
    _, older, unsaid = llmguard("traces", "search", "--text", "lisbon", "--since", "30d", "--json")

    assert (code, ids(json.loads(out))) == (0, [TRACE_ID])
    assert "(7 days); --since goes further back." in said
    assert set(ids(json.loads(older))) == {TRACE_ID, OLD_ID}
    assert unsaid == ""


def test_a_whole_traceparent_finds_its_trace(ask, spooled):
    spooled(an_answered_trace(w3c_trace_id="0af7651916cd43dd8448eb211c80319c"))

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert ids(ask("traces", "search", "--trace-parent", parent)) == [TRACE_ID]


@pytest.mark.parametrize("words", [["--since", "yesterday-ish"], ["--preset", "a@b"], ["--min-cost", "much"]])
def test_what_cannot_be_searched_for_is_a_usage_error(llmguard, words):
    assert llmguard("traces", "search", *words)[0] == 2


def test_the_nine_steps_are_shown_with_their_times(llmguard, spooled):
    spooled(an_answered_trace())

    _, out, _ = llmguard("traces", "show", TRACE_ID)

    steps = [line.split() for line in out.partition("Steps\n")[2].splitlines()[1:10]]
    assert [(step[0], step[1]) for step in steps][5:] == [
        ("6", "call"),
        ("7", "settle"),
        ("8", "restore"),
        ("9", "trace"),
    ]
    assert [step[-2:] for step in steps][:6] == [
        *(["0.10", "0.10"], ["0.15", "0.05"], ["0.30", "0.15"], ["0.90", "0.60"], ["1.20", "0.30"], ["5.20", "4.00"]),
    ]
    assert "Summarise the Lisbon ticket" in out


def test_a_refusal_is_shown_with_its_reason_and_the_steps_that_were_not_reached(llmguard, spooled):
    reason = {
        "code": "parameter_not_allowed",
        "message": "temperature: too high.",
        "hint": "Leave it out.",
        "param": "t",
    }
    refused = an_answered_trace(
        status=400, code=reason["code"], decision={"allowed": False, "reasons": [reason]}, steps={"decide": 90}
    )
    spooled(refused)

    _, out, _ = llmguard("traces", "show", TRACE_ID)

    assert "parameter_not_allowed: temperature: too high.\n  Leave it out." in out
    assert out.count("not reached") == 8


def test_an_export_is_the_same_as_json_lines_and_as_parquet(llmguard, spooled, tmp_path):
    spooled(an_answered_trace(), an_answered_trace(trace_id=OLD_ID, chunks=[{"a": 1}]))

    lines = llmguard("traces", "export", "--app", "expense-triage")[1].splitlines()
    _, _, said = llmguard("traces", "export", "--format", "parquet", "--output", str(tmp_path / "out.parquet"))

    rows = [json.loads(line) for line in lines]
    assert ids(rows) == [TRACE_ID, OLD_ID]
    assert rows[1]["chunks"] == [{"a": 1}]
    assert said == f"2 traces are in {tmp_path / 'out.parquet'}.\n"
    found = duckdb.sql(
        f"SELECT trace_id::VARCHAR, cost_usd::VARCHAR, entities['PERSON'], request::VARCHAR, digest "
        f"FROM '{tmp_path / 'out.parquet'}' ORDER BY seq"
    ).fetchall()
    request = '{"messages":[{"role":"user","content":"Summarise the Lisbon ticket"}]}'
    assert found[0] == (TRACE_ID, "0.000001500", 2, request, rows[0]["digest"])
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out.parquet", "registry.yaml"}


def test_a_value_is_found_by_its_placeholders_under_every_secret(llmguard, spooled, monkeypatch, tmp_path):
    monkeypatch.setenv("LLMGUARD_SECRET", SECRET.decode())
    monkeypatch.setenv("LLMGUARD_SECRET_PREVIOUS", OLD_SECRET.decode())
    value = "Anna Schmidt"
    traces = []
    for trace_id, secret, days in ((TRACE_ID, SECRET, 0), (OLD_ID, OLD_SECRET, 40)):
        (start,) = placeholders_of(value, app="expense-triage", secrets=[secret], entity_types=["PERSON"])
        request = {"messages": [{"role": "user", "content": f"About {start}>"}]}
        moment = datetime.now(UTC) - timedelta(days=days)
        traces.append(an_answered_trace(trace_id=trace_id, started_at=moment, request=request))
    again = {"app": "responder:coe@example.com", "replay_of": TRACE_ID, "request": traces[0].request}
    replayed = an_answered_trace(
        trace_id=TRACE_ID[:-1] + "d", started_at=datetime.now(UTC) + timedelta(hours=1), **again
    )
    spooled(*traces, an_answered_trace(trace_id=TRACE_ID[:-1] + "c"), replayed)

    def find(*words, text=value):
        monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
        return llmguard("traces", "find-value", "--app", "expense-triage", *words)

    code, out, said = find("--json")

    assert (code, ids(json.loads(out)["traces"])) == (0, [replayed.trace_id, TRACE_ID, OLD_ID])
    assert "schmidt" not in (out + said).lower()
    assert ids(json.loads(find("--json", "--since", "7d", text="ANNA  SCHMIDT")[1])["traces"]) == [
        replayed.trace_id,
        TRACE_ID,
    ]
    assert find("--type", "CITY")[1:] == ("", "No trace of expense-triage holds this value as CITY.\n")
    assert find(text=" ")[0] == 2
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert b"schmidt" not in kept.lower()


def test_what_decided_a_trace_is_shown_as_it_was_then(ask, llmguard, spooled, registry, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMGUARD_SECRET", SECRET.decode())
    then = check_registry(registry, profiles=["standard", "minimal", "strict"], accepted={}).registry
    AcceptedRegistries(tmp_path / "data" / "registry").accept(then, registry.read_bytes())
    rules = {"profiles.yaml": "version: 1\nprofiles: {standard: {threshold: 0.7}}\n"}
    KeptRules(tmp_path / "data" / "redaction-rules", [SECRET]).keep("b" * 64, rules)
    preset = then.presets["summarise"][-1]
    pins = {"registry_digest": then.digest, "redaction_digest": "b" * 64, "preset_digest": preset.digest}
    spooled(
        an_answered_trace(preset_version=preset.version, **pins),
        an_answered_trace(trace_id=OLD_ID, preset_version=preset.version, registry_digest="c" * 64),
    )
    registry.write_text("version: 1\n")  # whatever it says now

    pinned = ask("traces", "show", TRACE_ID, "--pinned")

    assert (pinned["preset"]["why"], pinned["preset"]["owner"]) == (preset.why, preset.owner)
    assert pinned["app"]["owner"] == then.apps["expense-triage"].owner
    assert pinned["preset_digest"] == preset.digest
    assert pinned["model"]["provider"] == preset.model.provider.name
    assert "preset" in llmguard("traces", "show", TRACE_ID, "--pinned")[1]
    assert ask("traces", "show", OLD_ID, "--pinned")["preset"] is None

    kept = tmp_path / "data" / "registry" / f"{then.digest}.yaml"
    kept.write_text(kept.read_text().replace(preset.why, "Something else."))
    assert ask("traces", "show", TRACE_ID, "--pinned")["preset"] is None
