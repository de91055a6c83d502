"""Apps to folders and back: the same bytes, only the lines that differ, and nothing the second time."""

import json
from pathlib import Path

import pytest
import ryaml

from llmguard.catalog.app_folders import FolderInvalid, app_folder, read_folder, with_app

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = (ROOT / "registry.yaml").read_text()


def row_of(text, name="expense-triage"):
    return ryaml.loads(text)["apps"][name]


def test_the_same_entry_gives_the_same_bytes_in_whatever_order_it_is_written():
    content = ryaml.loads(EXAMPLE)
    turned = content | {"apps": {"expense-triage": dict(reversed(row_of(EXAMPLE).items()))}}

    files = app_folder(content, "expense-triage")

    assert files == app_folder(turned, "expense-triage")
    assert set(files) == {"app.yaml", "presets.yaml", "manifest.json"}
    assert set(json.loads(files["manifest.json"])["sha256"]) == {"app.yaml", "presets.yaml"}
    assert b"draft-reply" in files["presets.yaml"]


def test_a_folder_comes_back_and_changes_nothing(tmp_path):
    for name, data in app_folder(ryaml.loads(EXAMPLE), "expense-triage").items():
        (tmp_path / name).write_bytes(data)

    name, row = read_folder(tmp_path)

    assert with_app(EXAMPLE, name, row) == EXAMPLE


@pytest.mark.parametrize(
    "change",
    [
        {"ticket": "GOV-999"},
        {"quota": {"tokens_per_day": 5}},
        {"connectors": ["a, b", "c"]},
        {"team": None},
        {"sunset": "2027-01-01", "instead": "x: [y]"},
        {"presets": [], "runbook": None, "owner": "kim@example.com"},
    ],
    ids=["a word", "a mapping", "a list", "gone", "new", "several"],
)
def test_only_the_lines_that_differ_change(change):
    row = {name: value for name, value in (row_of(EXAMPLE) | change).items() if value is not None}

    after = with_app(EXAMPLE, "expense-triage", row)

    assert row_of(after) == row
    assert {n: r for n, r in ryaml.loads(after)["apps"].items() if n != "expense-triage"} == {
        n: r for n, r in ryaml.loads(EXAMPLE)["apps"].items() if n != "expense-triage"
    }
    assert with_app(after, "expense-triage", row) == after
    gone = set(EXAMPLE.splitlines()) - set(after.splitlines())
    assert len(gone) <= len(change)


@pytest.mark.parametrize(
    ("text", "apps"),
    [
        (EXAMPLE, 4),
        ("apps: {}\nversion: 1\n", 1),
        ("version: 1\napps:\n    a:\n        owner: x\n# the end", 2),
        ("apps:\n  a: {owner: x}\n", 2),
        ("apps:\n  a:\n    system: |\n      two\n      lines\nversion: 1", 2),
    ],
    ids=["the example", "none yet", "other indents", "one line an app", "a block of text"],
)
def test_a_new_app_stands_behind_the_others(text, apps):
    row = {"owner": "kim@example.com", "quota": {"tokens_per_day": 5}}

    after = with_app(text, "new-app", row)

    assert len(ryaml.loads(after)["apps"]) == apps
    assert row_of(after, "new-app") == row
    assert {k: v for k, v in ryaml.loads(after).items() if k != "apps"} == {
        k: v for k, v in ryaml.loads(text).items() if k != "apps"
    }
    assert with_app(after, "new-app", row) == after


def test_an_app_on_one_line_is_replaced():
    after = with_app("apps:\n  a: {owner: x}\n  b: {owner: y}\n", "a", {"owner": "z"})

    assert ryaml.loads(after)["apps"] == {"a": {"owner": "z"}, "b": {"owner": "y"}}


@pytest.mark.parametrize("text", ["version: 1\n", "apps: {a: {owner: x}}\n", "- a\n", "apps: [a]\n"])
def test_a_registry_without_a_place_for_apps_is_refused(text):
    with pytest.raises(FolderInvalid):
        with_app(text, "new-app", {"owner": "x"})


@pytest.mark.parametrize("data", [b"", b"a: [", b"a: b", b"a: {}\nb: {}", b"\xff", None])
def test_a_folder_without_an_app_is_refused(tmp_path, data):
    if data is not None:
        (tmp_path / "app.yaml").write_bytes(data)

    with pytest.raises(FolderInvalid):
        read_folder(tmp_path)
