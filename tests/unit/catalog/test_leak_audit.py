"""Drift and leak audit against a real git repository and a real trace store."""

import subprocess
from dataclasses import replace
from datetime import date, timedelta

import pytest
import ryaml

from llmguard.catalog.drift import committed, drift
from llmguard.catalog.leaks import changes, findings, writers
from llmguard.domain.catalog import Connector
from llmguard.registry.app_states import AppStates, Containment, Renewal
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import NOON, a_trace, an_app
from tests.support.served import a_small_registry

WIKI = "wiki-write"


def git(folder, *words):
    who = ["-c", "user.name=Ana Coe", "-c", "user.email=ana@example.com"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def commit(folder, content, subject):
    (folder / "registry.yaml").write_text(content if isinstance(content, str) else ryaml.dumps(content))
    git(folder, "add", "registry.yaml")
    git(folder, "commit", "-q", "-m", subject)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "git"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def apps(**connectors):
    return {"apps": {name: {"status": "approved", "connectors": listed} for name, listed in connectors.items()}}


def test_who_changed_what_about_a_connector_is_told_newest_first(repository):
    commit(repository, apps(a=[WIKI], b=[]), "the catalog")
    commit(repository, apps(a=[WIKI], b=[]) | {"version": 1}, "something else")
    commit(repository, "apps: [", "broken")
    commit(repository, apps(a=[], b=[WIKI]), "moved to b")
    commit(repository, apps(a=[], b=[WIKI]) | {"connectors": {WIKI: {"direction": "write"}}}, "described")

    told = list(changes(repository / "registry.yaml", WIKI))

    assert [(one["subject"], one["what"]) for one in told] == [
        ("described", [f"connector {WIKI} came (write)"]),
        ("moved to b", ["app a went", "app b came (approved)"]),
        ("the catalog", ["app a came (approved)"]),
    ]
    assert {one["who"] for one in told} == {"Ana Coe <ana@example.com>"}


def test_without_git_nobody_is_named(tmp_path):
    (tmp_path / "registry.yaml").write_text("apps: {}\n")

    assert changes(tmp_path / "registry.yaml", WIKI) is None
    assert committed(tmp_path / "registry.yaml") is None


@pytest.mark.parametrize(("direction", "found"), [("read", []), ("write", ["a"]), ("both", ["a"]), (None, ["a"])])
def test_apps_that_may_write_are_those_that_name_it_unless_it_is_only_read(direction, found):
    app, other = an_app(name="a", connectors=(WIKI,)), an_app(name="b")
    described = {} if direction is None else {WIKI: Connector(WIKI, declared=True, direction=direction)}
    registry = replace(a_small_registry(), apps={"a": app, "b": other}, connectors=described)

    assert [one["app"] for one in writers(registry, WIKI)] == found


def test_traces_with_confidential_findings_are_named_by_their_types(tmp_path):
    spool = Spool(tmp_path / "spool", "test")
    ids = [f"019aafd0-0000-7000-8000-00000000000{number}" for number in range(5)]
    for trace_id, app, entities, moment in (
        (ids[0], "a", {"PERSON": 1, "LOCATION": 1}, NOON),
        (ids[1], "a", {"LOCATION": 2}, NOON),
        (ids[2], "a", {}, NOON),
        (ids[3], "b", {"PERSON": 1}, NOON),
        (ids[4], "a", {"US_SSN": 1}, NOON - timedelta(days=9)),
    ):
        spool.append(a_trace(trace_id=trace_id, app=app, entities=entities, started_at=moment, status=200))
    spool.close()

    found = findings(TraceReader(tmp_path), "a", NOON - timedelta(days=1), limit=10)

    assert [(row["trace_id"], row["entities"]) for row in found] == [(ids[0], ["PERSON"])]


def test_what_git_and_live_disagree_about_is_told_with_what_to_do(repository):
    end, later = date(2026, 12, 31), date(2027, 3, 31)
    head = {"apps": {"a": {"status": "approved", "expires": "2026-12-31", "ticket": "1"}, "new": {}}}
    live = {"apps": {"a": {"status": "approved", "expires": "2026-12-31", "ticket": "2"}, "old": {}}}
    states = AppStates(
        {name: Containment("c", name, NOON, "ana@example.com", "It leaks.", 1) for name in ("a", "gone")},
        {"a": Renewal("r", "a", end, later, NOON, "dana@example.com")},
    )
    commit(repository, head, "the catalog")
    (repository / "registry.yaml").write_text("not committed")

    rows = list(drift(ryaml.loads(committed(repository / "registry.yaml").decode()), live, states))

    assert [(row["app"], row["what"]) for row in rows] == [
        *(("a", "ticket"), ("a", "status"), ("a", "expires"), ("new", "app"), ("old", "app"), ("gone", "status")),
    ]
    assert rows[2]["fix"] == "write `expires: 2027-03-31`"
    assert "leaks" not in str(rows)


def test_git_that_says_the_same_has_no_drift():
    content = {"apps": {"a": {"status": "suspended", "expires": "2027-03-31"}}}
    states = AppStates(
        {"a": Containment("c", "a", NOON, "ana@example.com", "It leaks.", 1)},
        {"a": Renewal("r", "a", date(2026, 12, 31), date(2027, 3, 31), NOON, "dana@example.com")},
    )

    assert list(drift(content, content, states)) == []
