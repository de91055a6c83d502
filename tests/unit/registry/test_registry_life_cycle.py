"""What an app needs in which state: every lack at once, with its line and what to write."""

from datetime import date

import pytest

from llmguard.registry.check import check_source, find_gaps
from tests.support.registries import PROFILES, a_document, as_source


def check(document):
    return check_source(as_source(document), file="registry.yaml", profiles=PROFILES, accepted={})


def gaps(document, tmp_path):
    """Return what is missing; a file with gaps is accepted all the same."""
    path = tmp_path / "registry.yaml"
    path.write_bytes(as_source(document))
    assert check(document).findings == ()
    return find_gaps(path)


def with_app(*without, **changes):
    document = a_document()
    app = document["apps"]["expense-triage"] | changes
    document["apps"]["expense-triage"] = {name: value for name, value in app.items() if name not in without}
    return document


NEEDS = ("backup_owner", "ticket", "connectors", "expires", "support", "runbook")


def test_an_approved_app_needs_all_that_people_rely_on_and_is_told_so_at_once(tmp_path):
    findings = gaps(with_app(*NEEDS), tmp_path)

    assert sorted(finding.path for finding in findings) == sorted(f"apps.expense-triage.{name}" for name in NEEDS)
    assert all(finding.line > 1 and finding.fix and "sandbox" in finding.fix for finding in findings)


@pytest.mark.parametrize("status", ["draft", "sandbox", "suspended"])
def test_an_app_that_is_not_in_use_needs_less(tmp_path, status):
    assert gaps(with_app(*NEEDS, status=status), tmp_path) == ()


def test_a_new_app_starts_in_the_sandbox():
    assert check(with_app("status", *NEEDS)).registry.apps["expense-triage"].status == "sandbox"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"status": "deprecated"}, "sunset"),
        ({"status": "retired"}, "instead"),
        ({"sunset": "2027-01-01"}, "sunset"),
        ({"instead": "x"}, "instead"),
        ({"backup_owner": "Dana@example.com"}, "backup_owner"),
        ({"owner": "unassigned"}, "owner"),
        ({"owner": ""}, "owner"),
        ({"owner": None}, "owner"),
    ],
    ids=[
        *("no sunset", "nothing instead", "sunset too early", "instead too early", "same owner"),
        *("no owner", "empty", "nothing there"),
    ],
)
def test_a_state_without_what_it_needs_is_found(tmp_path, changes, path):
    [finding] = gaps(with_app(**changes), tmp_path)

    assert finding.path == f"apps.expense-triage.{path}"
    assert finding.fix


@pytest.mark.parametrize("content", [b"", b"\xff", b"apps: [", b"- a"], ids=["empty", "no text", "no YAML", "a list"])
def test_a_file_that_cannot_be_read_has_findings_and_no_gaps(tmp_path, content):
    path = tmp_path / "registry.yaml"
    path.write_bytes(content)

    assert (find_gaps(path), find_gaps(tmp_path / "none.yaml")) == ((), ())


@pytest.mark.parametrize("owner", [None, "", "unassigned", "..."], ids=["nothing", "empty", "unassigned", "no line"])
def test_an_app_without_an_owner_is_served_as_one_that_has_none(owner):
    document = with_app(
        "backup_owner", *(["owner"] if owner == "..." else []), **({"owner": owner} if owner != "..." else {})
    )

    assert not check(document).registry.apps["expense-triage"].has_owner


def test_the_whole_life_of_an_app_is_accepted():
    for changes in (
        {"status": "draft", "owner": "unassigned"},
        {"status": "deprecated", "sunset": "2027-01-01", "instead": "claims-desk"},
        {"status": "retired", "instead": "nothing: the process has ended"},
    ):
        app = check(with_app(**changes)).registry.apps["expense-triage"]
        assert app.status == changes["status"]
        assert app.has_owner == (changes["status"] != "draft" or app.backup_owner is not None)
    assert app.last_day == date(2099, 12, 31)


@pytest.mark.parametrize(
    ("departed", "has_owner"),
    [([], True), (["DANA@example.com"], True), (["dana@example.com", "lee@example.com"], False)],
    ids=["nobody", "the owner", "both"],
)
def test_an_app_whose_owners_have_left_has_none(departed, has_owner):
    document = with_app()
    document["departed"] = departed

    assert check(document).registry.apps["expense-triage"].has_owner == has_owner


def test_how_far_owners_may_renew_is_the_coes_to_say():
    document = with_app()
    assert check(document).registry.renewal.longest_days == 180
    document["renewal"] = {"longest_days": 30}
    assert check(document).registry.renewal.longest_days == 30
    document["models"]["echo-1"]["sandbox"] = "allowed"
    assert check(document).registry.models["echo-1"].is_for_sandbox
