import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmguard.cli.retaining import Retaining, is_due
from llmguard.domain.clock import SystemClock
from llmguard.idempotency.store import AnswerStore, KeptAnswer
from llmguard.settings import load_settings
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace

ANNA = "<PERSON_KOFADELIMORU>"
FIRST = "019aafd0-0000-7000-8000-00000000000a"


@pytest.fixture
def spooled(tmp_path):
    """Two traces of now, the second of half a year ago."""
    now = datetime.now(UTC)
    spool = Spool(tmp_path / "data" / "spool", "test")
    for trace_id, started_at in ((FIRST, now), (FIRST[:-1] + "b", now - timedelta(days=184))):
        request = {"messages": [{"content": f"Ask {ANNA} about Lisbon"}]}
        spool.append(
            a_trace(trace_id=trace_id, started_at=started_at, app="expense-triage", status=200, request=request)
        )
    spool.close()


def every_byte(folder):
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_without_yes_it_is_only_counted(llmguard, spooled):
    code, out, _ = llmguard("traces", "erase", "--placeholder", ANNA, "--reason", "CASE-1")
    assert (code, out) == (1, "2 traces hold requests and answers that would go. Add --yes to erase them for good.\n")
    assert "Lisbon" in llmguard("traces", "show", FIRST)[1]


def test_with_yes_they_are_gone_and_everybody_says_so(llmguard, ask, spooled, tmp_path):
    settings = load_settings({}, data=str(tmp_path / "data"))
    with closing(AnswerStore(tmp_path / "data" / "state.db", settings.secret, SystemClock())) as answers:
        named = answers.named("expense-triage", "key-1", "/v1/chat/completions", b"{}")
        answers.claim(named, "w")
        answers.keep(named, "w", KeptAnswer(FIRST, [], b"Fine."))

    done = ask("traces", "erase", "--placeholder", ANNA, "--reason", "CASE-1", "--yes")

    assert (done["traces"], done["first_answers"], done["left_in"]) == (2, 1, [])
    assert ANNA.encode() not in every_byte(tmp_path / "data")
    assert b"Lisbon" not in every_byte(tmp_path / "data")
    shown = llmguard("traces", "show", FIRST)[1]
    assert f"erased by {done['action']}" in shown
    assert "2 payloads are erased" in llmguard("traces", "verify")[1]
    code, _, err = llmguard("replay", FIRST)
    assert (code, "erased since it was written" in err) == (0, True)


def test_what_somebody_left_in_the_data_folder_is_named(llmguard, spooled, tmp_path):
    export = tmp_path / "data" / "for-legal.jsonl"
    llmguard("traces", "export", "--output", str(export))

    code, _, err = llmguard("traces", "erase", "--placeholder", ANNA, "--reason", "CASE-1", "--yes")

    assert code == 1
    assert f"{export} still holds it" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reason", "CASE-1"), "Say whose"),
        (("--app", "a"), "Missing option '--reason'"),
        (("--placeholder", "Anna Schmidt", "--reason", "CASE-1"), "no placeholder such as"),
        (("--app", "a", "--reason", " "), "ticket or case number"),
    ],
)
def test_what_cannot_be_erased_is_said(llmguard, spooled, words, said):
    code, _, err = llmguard("traces", "erase", *words)
    assert (code, said in err) == (2, True)


def test_retention_goes_by_the_registry_and_is_due_once_a_day(llmguard, ask, spooled, tmp_path):
    data, now = tmp_path / "data", datetime.now(UTC)
    assert llmguard("traces", "retain", "--dry-run")[1] == "1 traces hold requests and answers that would go.\n"
    assert is_due(data, now)

    assert ask("traces", "retain")["traces"] == 1

    assert not is_due(data, now + timedelta(hours=23))
    assert is_due(data, now + timedelta(hours=25))
    rows = ask("traces", "list")
    assert len(rows) == 2
    assert [bool(ask("traces", "show", row["trace_id"])["request"]) for row in rows] == [True, False]
    proof = json.loads(llmguard("traces", "verify", "--json")[1])
    assert (proof["rows"], proof["erased"], proof["fault"]) == (2, 1, None)


@pytest.fixture
def replayed(tmp_path, spooled):
    """A live replay of the first trace, also half a year ago, and one of another app's."""
    spool = Spool(tmp_path / "data" / "spool", "replay")
    before, request = datetime.now(UTC) - timedelta(days=184), {"messages": [{"content": f"Again {ANNA}"}]}
    for last, replay_of in (("c", FIRST), ("d", FIRST[:-1] + "e")):
        facts = {"trace_id": FIRST[:-1] + last, "started_at": before, "app": "responder:coe@example.com"}
        spool.append(a_trace(**facts, replay_of=replay_of, status=200, request=request))
    spool.close()


def test_live_replays_of_an_app_go_with_its_own_traces(ask, replayed):
    done = ask("traces", "erase", "--app", "expense-triage", "--reason", "CASE-2", "--yes")

    assert done["traces"] == 3
    kept = [row["trace_id"][-1] for row in ask("traces", "list") if ask("traces", "show", row["trace_id"])["request"]]
    assert kept == ["d"]


def test_live_replays_are_kept_as_long_as_the_data_of_the_app(ask, replayed):
    assert ask("traces", "retain")["traces"] == 2  # the example keeps those of another app, and of none, longer

    kept = [row["trace_id"][-1] for row in ask("traces", "list") if ask("traces", "show", row["trace_id"])["request"]]
    assert sorted(kept) == ["a", "d"]


def test_the_gateway_sees_to_retention_once_a_day_and_leaves_it_alone_while_the_registry_is_broken(
    ask, spooled, registry, tmp_path
):
    redaction = Path(__file__).resolve().parents[3] / "redaction"
    settings = load_settings({}, data=str(tmp_path / "data"), registry=str(registry), redaction=str(redaction))
    good = registry.read_text()

    registry.write_text("version: 2")
    Retaining(settings).look()
    assert ask("evidence", "audit") == []

    registry.write_text(good)
    for _ in range(2):
        Retaining(settings).look()
    assert [row["what"] for row in ask("evidence", "audit")] == ["traces.retention_begun", "traces.retained"]
    assert ask("evidence", "audit")[0]["who"] == "llmguard retention"
