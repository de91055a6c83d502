"""The catalog on the command line: to git and back, renewals, containment, exports, made-up data."""

import json
import zipfile
from datetime import UTC, date, datetime, timedelta

import pytest
import ryaml

from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.check import check_source
from llmguard.settings import load_settings

PROFILES = ("standard", "strict", "minimal")
OWNER = ("--as", "dana@example.com")


@pytest.fixture
def accepted(registry, tmp_path):
    """Accept the registry, as a gateway that starts does."""
    source = registry.read_bytes()
    checked = check_source(source, file="registry.yaml", profiles=PROFILES, accepted={})
    AcceptedRegistries(tmp_path / "data" / "registry").accept(checked.registry, source)
    load_settings({}, folder="made", registry=str(registry), data=str(tmp_path / "data"))


def test_an_app_goes_to_a_folder_and_back(llmguard, registry, tmp_path):
    before = registry.read_text()
    assert llmguard("apps", "export", "expense-triage", "--out", str(tmp_path / "one"))[0] == 0
    llmguard("apps", "export", "expense-triage", "--out", str(tmp_path / "two"))
    folder = tmp_path / "one" / "expense-triage"

    same = [
        (tmp_path / "two" / "expense-triage" / file.name).read_bytes() == file.read_bytes() for file in folder.iterdir()
    ]
    assert same == [True] * 3
    assert "Nothing changed" in llmguard("apps", "apply", str(folder))[2]

    entry = folder / "app.yaml"
    entry.write_text(entry.read_text().replace("GOV-118", "GOV-119"))
    code, out, _ = llmguard("apps", "apply", "--dry-run", str(folder))
    assert (code, "+    ticket: GOV-119" in out, registry.read_text()) == (1, True, before)
    assert llmguard("apps", "apply", str(folder))[0] == 0
    assert registry.read_text() == before.replace("GOV-118", "GOV-119")
    assert "Nothing changed" in llmguard("apps", "apply", str(folder))[2]


def test_what_would_have_findings_is_not_written(llmguard, registry, tmp_path):
    before = registry.read_text()
    (tmp_path / "app.yaml").write_text("new-app: {owner: x, cost_center: c, status: live, presets: [none]}\n")

    code, _, said = llmguard("apps", "apply", str(tmp_path))

    assert (code, registry.read_text()) == (3, before)
    assert "apps.new-app.status: 'live' is not possible here" in said


def test_owner_renews_and_drift_says_what_to_commit(llmguard, ask, registry, accepted):
    until = (datetime.now(UTC).date() + timedelta(days=100)).isoformat()
    soon = (datetime.now(UTC).date() + timedelta(days=3)).isoformat()
    registry.write_text(registry.read_text().replace("expires: 2027-12-31", f"expires: {soon}", 1))

    assert llmguard("apps", "renew", "expense-triage", "--as", "sam@example.com")[0] == 3
    renewed = ask("apps", "renew", "expense-triage", "--until", until, *OWNER)
    assert (renewed["in_git"], renewed["expires"]) == (soon, until)
    assert ask("apps", "show", "expense-triage")["expires"] == until
    assert llmguard("apps", "renew", "expense-triage", "--until", "2999-01-01", *OWNER)[0] == 3

    code, out, _ = llmguard("apps", "drift", "--json")
    rows = {row["live"][:10]: row["fix"] for row in json.loads(out)}
    assert (code, rows[until]) == (1, f"write `expires: {until}`")


def test_git_and_live_agree_after_a_start(llmguard, accepted):
    code, _, said = llmguard("apps", "drift")

    assert (code, "agree" in said) == (0, True)


def test_contained_app_is_told_everywhere_until_it_is_lifted(llmguard, ask, accepted, tmp_path):
    key = ask("keys", "issue", "hr-helpdesk")
    pack = tmp_path / "pack.zip"
    done = ask("contain", "hr-helpdesk", "--reason", "It leaks.", "--as", "ana@example.com", "--pack", str(pack))

    assert (done["key_ids"], done["is_new"], done["contained_by"]) == ([key["key_id"]], True, "ana@example.com")
    assert done["evidence"]["traces"] == 0
    assert zipfile.ZipFile(pack).testzip() is None
    assert ask("apps", "show", "hr-helpdesk")["status"] == "suspended"
    assert llmguard("keys", "explain", key["key_id"], "--json")[0] == 1
    [row] = json.loads(llmguard("apps", "drift", "--json")[1])
    assert (row["app"], row["what"], row["in_git"]) == ("hr-helpdesk", "status", "approved")
    assert ask("contain", "hr-helpdesk", "--reason", "Again.")["is_new"] is False

    assert ask("contain", "hr-helpdesk", "--lift", "--reason", "Mended.")["lift_reason"] == "Mended."
    assert ask("apps", "show", "hr-helpdesk")["status"] == "approved"
    assert llmguard("contain", "hr-helpdesk", "--lift", "--reason", "Mended.")[0] == 3
    assert llmguard("contain", "hr-helpdesk")[0] == 2


def test_discovered_apps_become_drafts_of_the_catalog(llmguard, ask, registry, tmp_path):
    log = tmp_path / "access.log"
    log.write_text('1.2.3.4 - invoice-bot [26/Nov/2026:10:00:00 +0000] "POST /v1/responses HTTP/1.1" 200 5 "-" "-"\n')

    code, out, said = llmguard("apps", "discover", str(log))
    assert (code, ryaml.loads(out)["apps"]["invoice-bot"]["status"]) == (0, "draft")
    assert "1 apps are not in the catalog" in said
    assert ask("apps", "discover", str(log))["apps"][0]["first"] == "2026-11-26"
    drafts = tmp_path / "drafts"
    llmguard("apps", "discover", str(log), "--out", str(drafts))
    assert llmguard("apps", "apply", str(drafts / "invoice-bot"))[0] == 0
    assert ask("apps", "show", "invoice-bot")["owner"] == "unassigned"
    assert llmguard("check")[0] == 0
    assert ask("apps", "discover", str(log))["apps"] == []


def test_catalog_is_written_for_others(llmguard, ask):
    names = {app["name"] for app in json.loads(llmguard("catalog", "export")[1])["apps"]}
    entities = [
        ryaml.loads(one) for one in llmguard("catalog", "export", "--format", "backstage")[1].split("---\n")[1:]
    ]
    rows = llmguard("catalog", "export", "--format", "cmdb")[1].splitlines()

    assert names == {"expense-triage", "hr-helpdesk", "ticket-router"}
    assert {one["metadata"]["name"] for one in entities if one["kind"] == "Component"} == names
    assert len(rows) == 1 + len(names)


def test_made_up_rows_are_the_same_again(llmguard):
    first = llmguard_data(llmguard, "--rows", "100")

    assert first == llmguard_data(llmguard, "--rows", "100")
    assert len(first.splitlines()) == 101
    lines = llmguard_data(llmguard, "--rows", "3", "--kind", "tickets", "--format", "jsonl", "--seed", "9").splitlines()
    assert [date.fromisoformat(json.loads(line)["day"]).year for line in lines] == [2026] * 3


def llmguard_data(llmguard, *words):
    """Run a command that takes no places of files."""
    code, out, _ = llmguard("sandbox", "data", *words, places=False)
    assert code == 0
    return out


def test_leak_audit_names_apps_and_says_that_git_is_missing(llmguard, ask, accepted):
    audit = ask("leak", "audit", "--connector", "servicedesk-assign")
    code, out, said = llmguard("leak", "audit", "--connector", "servicedesk-assign")

    assert [one["app"] for one in audit["writers"]] == ["ticket-router"]
    assert (audit["changes"], audit["traces"]) == (None, [])
    assert (code, "ticket-router" in out, "not in a git repository" in said) == (0, True, True)
    assert ask("leak", "audit", "--connector", "servicedesk-read")["writers"] == []
    assert llmguard("leak", "audit", "--connector", "nowhere")[0] == 2
