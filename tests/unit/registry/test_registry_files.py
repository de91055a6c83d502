"""Files that hold no registry, or cannot be read; and how findings name them."""

import pytest

from llmguard.registry.check import check_registry, check_source
from tests.support.registries import CONTRACT, PROFILES, a_document, as_source


def check(source):
    return check_source(source, file="registry.yaml", profiles=PROFILES, accepted={})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b"# nothing yet\n", "the file holds no settings"),
        (b"- a\n- b\n", "the file holds no settings"),
        (b"version: \xff\n", "not UTF-8"),
        (b"x" * (16 * 1024 * 1024 + 1), "16 MiB are the most"),
    ],
    ids=["empty", "blank", "comment", "list", "latin", "huge"],
)
def test_a_file_without_a_registry_in_it_is_a_finding(source, words):
    checked = check(source)

    assert checked.registry is None
    assert words in checked.findings[0].message


def test_a_byte_order_mark_does_no_harm():
    assert check(b"\xef\xbb\xbf" + CONTRACT.encode()).registry is not None


def test_bytes_that_are_no_utf8_are_located():
    (finding,) = check(b"version: 1\nproviders: caf\xe9\n").findings

    assert (finding.line, finding.column) == (2, 15)


def test_a_file_that_is_not_there_is_a_finding(tmp_path):
    checked = check_registry(tmp_path / "registry.yaml", profiles=PROFILES, accepted={})

    assert "cannot be read" in checked.findings[0].message
    assert checked.registry is None


def test_findings_name_the_file_as_seen_from_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "registry.yaml").write_text("version: [\n")
    monkeypatch.chdir(tmp_path)

    (finding,) = check_registry(tmp_path / "registry.yaml", profiles=PROFILES, accepted={}).findings

    assert str(finding).startswith("registry.yaml:2:1: this is not YAML")


def test_findings_name_a_file_elsewhere_by_its_path(tmp_path):
    (finding,) = check_registry(tmp_path / "missing.yaml", profiles=PROFILES, accepted={}).findings

    assert finding.file == str(tmp_path / "missing.yaml")


def test_long_values_are_cut():
    document = a_document()
    document["presets"][0]["status"] = "x" * 500

    (finding,) = check(as_source(document)).findings

    assert len(finding.value) < 70
    assert len(str(finding)) < 300
