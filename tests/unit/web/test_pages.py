"""Templates are compiled once for an installation, and never from what is out of date or cannot be kept."""

import sys

import pytest
from jinja2 import DictLoader, Environment

from llmguard.web.pages import CompiledPages


def rendered(folder, source):
    return (
        Environment(loader=DictLoader({"a.html": source}), bytecode_cache=CompiledPages(str(folder)))
        .get_template("a.html")
        .render(name="Ada")
    )


def test_template_is_kept_compiled_and_made_anew_once_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = tmp_path / "__pycache__"

    assert rendered(folder, "Hello {{ name }}") == rendered(folder, "Hello {{ name }}") == "Hello Ada"
    [kept] = folder.iterdir()
    before = kept.read_bytes()
    assert rendered(folder, "Bye {{ name }}") == "Bye Ada"
    assert kept.read_bytes() != before


@pytest.mark.parametrize("may_write", [True, False], ids=["a folder that cannot be", "Python keeps nothing"])
def test_template_that_cannot_be_kept_is_compiled_all_the_same(tmp_path, monkeypatch, may_write):
    monkeypatch.setattr(sys, "dont_write_bytecode", not may_write)
    folder = tmp_path / "not" / "there" if may_write else tmp_path / "new"

    assert rendered(folder, "Hello {{ name }}") == "Hello Ada"
    assert not folder.exists()
