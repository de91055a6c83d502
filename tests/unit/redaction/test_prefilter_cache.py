"""Compiled patterns are kept on disk, and never read from where somebody else could have put them."""

import pytest
import regex

from llmguard.redaction import prefilter
from llmguard.redaction.patterns import PatternPass
from llmguard.redaction.prefilter import Prefilter, Trigger
from llmguard.redaction.prefilter_cache import DatabaseCache
from llmguard.redaction.recognizer_list import load_recognizers
from tests.support.analyzers import PLAIN_RECOGNIZERS

TRIGGERS = [Trigger(r"needle\d", 0), Trigger(r"(?:foo){e<=1}", 0)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "made" / "by llmguard"


@pytest.fixture
def compilations(monkeypatch):
    """Count what is compiled."""
    compiled, compile_most = [], prefilter._compile_most
    monkeypatch.setattr(prefilter, "_compile_most", lambda *facts: compiled.append(facts) or compile_most(*facts))
    return compiled


def a_prefilter(folder, triggers=TRIGGERS, dialect="re"):
    made = Prefilter(triggers, dialect=dialect, cache=DatabaseCache(folder))
    assert made.fired("a needle7") == {0, 1}
    assert made.fired("hay") == {1}
    return made


def the_file(folder):
    (file,) = folder.glob("*.hyperscan")
    return file


def test_what_was_compiled_once_is_read_the_next_time(folder, compilations):
    a_prefilter(folder)
    assert a_prefilter(folder).always == {1}
    assert len(compilations) == 1


def test_only_this_user_may_read_the_files(folder):
    a_prefilter(folder)
    assert the_file(folder).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: content[32:],
    ],
    ids=["empty", "cut short", "one bit", "without its digest"],
)
def test_a_damaged_file_is_compiled_anew_and_replaced(folder, compilations, damage):
    a_prefilter(folder)
    sound = the_file(folder).read_bytes()
    the_file(folder).write_bytes(damage(sound))
    a_prefilter(folder)
    assert len(compilations) == 2
    assert the_file(folder).read_bytes() == sound


def test_a_database_of_another_processor_is_compiled_anew(folder, compilations, monkeypatch):
    a_prefilter(folder)
    monkeypatch.setattr("llmguard.redaction.prefilter_cache._processor_features", lambda: "another")
    a_prefilter(folder)
    assert len(compilations) == 2


@pytest.mark.parametrize("target", ["folder", "file"])
def test_what_others_may_write_is_not_read(folder, compilations, target):
    a_prefilter(folder)
    (folder if target == "folder" else the_file(folder)).chmod(0o777)
    a_prefilter(folder)
    assert len(compilations) == 2


def test_a_link_is_not_followed(folder, compilations):
    a_prefilter(folder)
    file = the_file(folder)
    elsewhere = file.rename(folder / "elsewhere")
    file.symlink_to(elsewhere)
    a_prefilter(folder)
    assert len(compilations) == 2


def test_a_folder_that_cannot_be_made_only_costs_time(tmp_path, compilations):
    (tmp_path / "file").write_text("no folder")
    for _ in range(2):
        a_prefilter(tmp_path / "file")
    assert len(compilations) == 2


def test_other_triggers_flags_and_dialects_have_files_of_their_own(folder, compilations):
    a_prefilter(folder)
    a_prefilter(folder, dialect="regex")
    a_prefilter(folder, [Trigger(TRIGGERS[0].regex, int(regex.IGNORECASE)), TRIGGERS[1]])
    assert len(compilations) == len(list(folder.glob("*"))) == 3


def test_old_files_are_forgotten(folder):
    cache = DatabaseCache(folder)
    for number in range(20):
        Prefilter([Trigger(f"needle{number}", 0)], cache=cache)
    assert len(list(folder.iterdir())) == 12


def test_a_new_pattern_of_the_organisation_leaves_our_own_compiled(folder, compilations):
    ours = "  - {name: MailAddressRecognizer, type: predefined}\n"
    cache = DatabaseCache(folder)
    first = PLAIN_RECOGNIZERS + ours
    for rules in (first, first.replace("BDG", "BADGE")):
        PatternPass(load_recognizers({"recognizers.yaml": rules}), cache=cache)
    assert [dialect for _, dialect in compilations] == ["re", "regex", "regex"]
