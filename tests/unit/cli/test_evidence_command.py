from datetime import UTC, datetime

import pytest

from llmguard.cli import main
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace


@pytest.fixture
def spooled(tmp_path):
    spool = Spool(tmp_path / "data" / "spool", "test")
    spool.append(a_trace(started_at=datetime.now(UTC), app="expense-triage", status=200, request={"a": 1}))
    spool.close()


def test_a_pack_is_made_checked_and_noted_in_the_audit_log(llmguard, ask, spooled, tmp_path):
    file = tmp_path / "pack.zip"
    made = ask("evidence", "pack", "--since", "1d", "--app", "expense-triage", "--out", str(file))
    key = ask("evidence", "key")

    assert (made["traces"], made["fault"], made["fingerprint"]) == (1, None, key["fingerprint"])
    assert file.stat().st_mode & 0o777 == 0o600
    [entry] = [row for row in ask("evidence", "audit") if row["what"] == "evidence.packed"]
    assert (entry["subject"], entry["app"]) == (made["manifest_sha256"], "expense-triage")
    assert entry["who"].startswith("os:")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--since", "2026-11-02", "--until", "2026-11-01", "--out", "p.zip"), 2, "not before"),
        (("--since", "1d"), 2, "Missing option '--out'"),
        (("--since", "1d", "--out", "/no/such/folder/p.zip"), 3, "cannot be made"),
    ],
)
def test_what_cannot_be_packed_is_said(llmguard, spooled, words, code, said):
    given, _, err = llmguard("evidence", "pack", *words)
    assert (given, said in err) == (code, True)


def test_a_pack_is_checked_against_the_published_key(tmp_path, llmguard, spooled, capsys, monkeypatch):
    file = tmp_path / "pack.zip"
    llmguard("evidence", "pack", "--since", "1d", "--out", str(file))

    def verify(*words):
        monkeypatch.setattr("sys.argv", ["llmguard", "evidence", "verify", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
        return ended.value.code or 0, capsys.readouterr().out

    assert verify(str(file))[0] == 0
    code, out = verify(str(file), "--key", "0" * 64)
    assert (code, "signed with another key" in out) == (1, True)
    (tmp_path / "other.zip").write_bytes(file.read_bytes()[:-100])
    code, out = verify(str(tmp_path / "other.zip"))
    assert (code, "damaged" in out) == (1, True)
