"""Every command on real files, in this process."""

import io
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmguard.cli import main
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace

ROOT = Path(__file__).resolve().parents[3]
TRACE_ID = "019aafd0-0000-7000-8000-00000000000a"


def test_valid_registry_passes_the_check(llmguard):
    code, out, _ = llmguard("check")

    assert code == 0
    assert "registry.yaml, redaction/ and policies/ are valid" in out


def test_each_mistake_is_listed_with_its_place_and_fix(llmguard, registry):
    registry.write_text(
        registry.read_text().replace("temperature:", "temprature:").replace("cost_center:", "costcenter:")
    )

    code, out, err = llmguard("check")

    assert code == 1
    assert re.search(r"registry.yaml:\d+:\d+: .*temprature.*did you mean 'temperature'", out)
    assert "costcenter" in out
    assert "findings" in err


def test_mistakes_in_the_redaction_rules_are_listed_beside_those_of_the_registry(
    tmp_path, registry, capsys, monkeypatch
):
    rules = Path(shutil.copytree(ROOT / "redaction", tmp_path / "redaction"))
    profiles = (rules / "profiles.yaml").read_text()
    (rules / "profiles.yaml").write_text(profiles.replace("LOCATION: hide", "LOCATOIN: hide", 1))
    (rules / "cases" / "broken.yaml").write_text("a: [")
    registry.write_text(registry.read_text().replace("temperature:", "temprature:", 1))
    places = [f"--registry={registry}", f"--redaction={rules}", f"--data={tmp_path / 'none'}"]
    monkeypatch.setattr("sys.argv", ["llmguard", "check", *places])

    with pytest.raises(SystemExit) as ended:
        main.main()

    out = capsys.readouterr().out
    assert ended.value.code == 1
    assert "temprature" in out
    assert "nothing finds the entity 'LOCATOIN'; did you mean LOCATION?" in out
    assert "redaction/cases/broken.yaml: cannot be read" in out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("words", [("keys", "list"), ("quota", "show", "hr-helpdesk"), ("traces", "list")])
def test_mistyped_data_folder_is_said_and_not_made(tmp_path, capsys, monkeypatch, words):
    monkeypatch.setattr("sys.argv", ["llmguard", *words, f"--data={tmp_path / 'none'}"])

    with pytest.raises(SystemExit) as ended:
        main.main()

    assert ended.value.code == 3
    assert "There is no data folder" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_findings_as_json_have_their_parts(llmguard, registry):
    registry.write_text("version: 1\n")

    code, out, _ = llmguard("check", "--json")

    report = json.loads(out)
    assert (code, report["ok"]) == (1, False)
    assert {"file", "line", "column", "path", "message", "value", "fix", "text"} == set(report["findings"][0])


def test_schema_is_json_schema(llmguard):
    _, out, _ = llmguard("check", "--schema")

    assert json.loads(out)["$schema"].startswith("https://json-schema.org/")


def test_key_is_issued_listed_rotated_and_revoked(ask, llmguard):
    issued = ask("keys", "issue", "expense-triage", "--ttl", "12h")
    rotated = ask("keys", "rotate", issued["key_id"], "--overlap", "1h")
    [listed] = ask("keys", "list", "expense-triage")
    code, _, err = llmguard("keys", "revoke", issued["key_id"])
    [revoked] = ask("keys", "list")

    assert issued["key"].startswith("sk-lg_")
    assert (rotated["key_id"], listed["state"]) == (issued["key_id"], "rotating")
    assert issued["key"] not in json.dumps([listed, revoked])
    assert (code, revoked["state"]) == (0, "revoked")
    assert "revoked" in err


def test_expired_key_is_listed_as_such(ask, tmp_path):
    ask("keys", "issue", "expense-triage", "--ttl", "1s")

    states = set()
    while "expired" not in states:
        states.add(ask("keys", "list")[0]["state"])

    assert states <= {"valid", "expired"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("keys", "issue", "nobody"), 2, "no app nobody"),
        (("keys", "issue", "expense-triage", "--ttl", "soon"), 2, "no length of time"),
        (("keys", "issue", "expense-triage", "--ttl", "999999999999d"), 2, "too long"),
        (("keys", "list"), 3, "no keys yet"),
        (("apps", "show", "nobody"), 2, "no app nobody"),
        (("presets", "show", "nothing"), 2, "no preset nothing"),
        (("quota", "show", "nobody"), 2, "no app nobody"),
        (("traces", "show", TRACE_ID), 2, "no trace"),
        (("traces", "show", "0000"), 2, "no trace"),
        (("redaction", "try", "x", "--profile", "none"), 3, "no profile none"),
        (("redaction", "score", __file__), 3, "neither"),
        (("nonsense",), 2, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_done_is_said_with_its_exit_code(llmguard, words, code, said):
    got, out, err = llmguard(*words)

    assert got == code
    assert said in err
    assert out == ""


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_unknown_key_is_said(ask, llmguard, verb):
    ask("keys", "issue", "expense-triage")

    code, _, err = llmguard("keys", verb, "AAAA")

    assert code == 2
    assert "no key AAAA" in err


def test_revoked_key_cannot_be_rotated(ask, llmguard):
    issued = ask("keys", "issue", "expense-triage")
    llmguard("keys", "revoke", issued["key_id"])

    code, _, err = llmguard("keys", "rotate", issued["key_id"])

    assert code == 2
    assert "Issue a new key" in err


def test_broken_registry_is_said_by_commands_that_need_it(llmguard, registry):
    registry.write_text("version: 1\nnonsense: true\n")

    code, out, err = llmguard("apps", "list")

    assert code == 3
    assert "registry.yaml:2:1" in err
    assert out == ""


def test_apps_are_listed_and_shown(ask, llmguard):
    assert [app["name"] for app in ask("apps", "list")] == ["expense-triage", "hr-helpdesk", "ticket-router"]
    assert ask("apps", "show", "hr-helpdesk")["sensitivity"] == "restricted"
    assert "hr-helpdesk" in llmguard("apps", "list")[1]


def test_presets_are_listed_shown_and_compared(ask, llmguard):
    assert "summarise@2" in [preset["id"] for preset in ask("presets", "list")]
    assert ask("presets", "show", "summarise")["id"] == "summarise@2"
    assert ask("presets", "show", "summarise@1")["status"] == "deprecated"
    code, out, _ = llmguard("presets", "diff", "summarise@1", "summarise@2", "--json")
    assert code == 1
    assert "parameters" in [row["setting"] for row in json.loads(out)]
    code, _, err = llmguard("presets", "diff", "summarise@2", "summarise@2")
    assert (code, err) == (0, "They are the same.\n")


def test_quota_of_an_unused_app_is_whole(ask):
    rows = ask("quota", "show", "expense-triage")

    limits = {row["name"]: row for row in rows if row["scope"] == "app"}
    assert [(row["scope"], row["whose"], row["name"]) for row in rows if row["scope"] != "app"] == [
        ("owner", "dana@example.com", "usd_per_month"),
        ("cost_center", "4711", "tokens_per_day"),
    ]
    assert limits["requests_per_minute"] | {"resets_at": None} == {
        "name": "requests_per_minute",
        "scope": "app",
        "whose": "expense-triage",
        "granted": 0,
        "limit": 60,
        "used": 0,
        "held": 0,
        "left": 60,
        "resets_at": None,
    }
    assert limits["usd_per_month"]["left"] == "25.000000000"


def test_traces_are_listed_and_shown(ask, llmguard, tmp_path):
    spool = Spool(tmp_path / "data" / "spool", "test")
    trace = a_trace(
        trace_id=TRACE_ID, started_at=datetime.now(UTC), app="expense-triage", status=200, decision={"allowed": True}
    )
    spool.append(trace)
    spool.close()

    assert [row["trace_id"] for row in ask("traces", "list", "--app", "expense-triage")] == [TRACE_ID]
    assert ask("traces", "list", "--since", "2099-01-01") == []
    assert ask("traces", "show", TRACE_ID)["decision"] == {"allowed": True}
    assert TRACE_ID in llmguard("traces", "list")[1]
    assert "authenticate  whose key it is" in llmguard("traces", "show", TRACE_ID)[1]


def test_no_traces_are_said_to_be_none(llmguard, tmp_path):
    assert llmguard("traces", "list") == (0, "", "No traces.\n")


def test_text_is_tried_with_the_reason_for_each_finding(ask, llmguard):
    found = ask("redaction", "try", "Write to an\u200bna@example.com")  # with a blank that has no width
    _, out, _ = llmguard("redaction", "try", "Write to anna@example.com", "--profile", "minimal", "--all")

    assert [(row["text"], row["entity_type"]) for row in found] == [("anna@example.com", "EMAIL_ADDRESS")]
    assert found[0]["recognizer"]
    assert "[EMAIL_ADDRESS:anna@example.com]" in out


def test_text_is_read_from_standard_input(llmguard, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Nothing here."))

    assert llmguard("redaction", "try", "--profile", "minimal")[2] == "Nothing was found.\n"


def test_cases_beside_the_rules_pass(ask):
    assert all(case["passed"] for case in ask("redaction", "test"))


def test_labelled_set_is_scored(ask, tmp_path):
    sample = {
        "full_text": "Write to anna@example.com",
        "spans": [
            {
                "entity_type": "EMAIL_ADDRESS",
                "entity_value": "anna@example.com",
                "start_position": 9,
                "end_position": 25,
            }
        ],
    }
    (tmp_path / "set.json").write_text(json.dumps([sample]))

    rows = {row["entity"]: row for row in ask("redaction", "score", str(tmp_path / "set.json"), "--profile", "minimal")}

    assert (rows["all"]["f2"], rows["EMAIL_ADDRESS"]["cover"]) == (1.0, 1.0)


def test_help_imports_no_command():
    program = """
import sys
from llmguard.cli.main import main
sys.argv = ["llmguard", "--help"]
try:
    main()
except SystemExit:
    heavy = {"spacy", "duckdb", "pydantic", "presidio_analyzer", "uvicorn", "llmguard.wiring"} & set(sys.modules)
    sys.exit(str(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "serve" in done.stdout
