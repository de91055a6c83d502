import pytest

from llmguard.redaction.profiles import RedactionInvalid, load_profiles, read_files, read_list
from llmguard.redaction.recognizer_list import load_recognizers
from tests.support.analyzers import PLAIN_RECOGNIZERS

GOOD = """
version: 1
profiles:
  standard:
    ner: true
    threshold: 0.5
    entities: {PERSON: hide, EMAIL_ADDRESS: block, URL: keep, PROJECT: drop}
    allow: [allow.txt, Acme Desk]
    deny: {PROJECT: [deny.txt, Blue Heron]}
"""
LISTS = {"allow.txt": "# ours\nExample.com  # since 2024\n\nC# club\n", "deny.txt": "Osprey\n"}


def problems(yaml, **files):
    with pytest.raises(RedactionInvalid) as invalid:
        load_profiles({"profiles.yaml": yaml} | files)
    assert str(invalid.value) == "\n".join(map(str, invalid.value.findings))
    return list(map(str, invalid.value.findings))


def test_a_profile_says_what_is_sought_and_reads_its_lists():
    profile = load_profiles({"profiles.yaml": GOOD} | LISTS)["standard"]
    assert (profile.name, profile.ner, profile.threshold) == ("standard", True, 0.5)
    assert profile.sought == {"PERSON", "EMAIL_ADDRESS", "PROJECT"}
    assert profile.allow == {"example.com", "c# club", "acme desk"}
    assert profile.deny == {"PROJECT": ("Osprey", "Blue Heron")}


def test_a_hash_inside_a_word_is_no_comment():
    assert read_list("C#\nF# minor\n#no\n # no\n") == ("C#", "F# minor")


def test_everything_that_is_wrong_is_told_at_once_with_place_and_fix():
    told = problems(
        "version: 1\nprofils: {}\nprofiles:\n  a: {entities: {PERSON: hidden, person: hide}, treshold: 0.5}\n"
        "  b: {ner: 5}\n"
    )
    assert "profiles.yaml: profils: unknown setting 'profils'; did you mean 'profiles'?" in told
    assert "profiles.yaml: profiles.a.treshold: unknown setting 'treshold'; did you mean 'threshold'?" in told
    assert any("profiles.a.entities.PERSON: unknown action 'hidden'" in one for one in told)
    assert any("profiles.a.entities.person" in one and "EMAIL_ADDRESS" in one for one in told)
    assert "profiles.yaml: profiles.b.entities: is missing; add it" in told
    assert any("profiles.b.ner" in one for one in told)


def test_a_missing_list_and_a_denied_entity_that_is_not_sought_are_findings():
    told = problems(GOOD.replace("PROJECT: drop", "PROJECT: keep"))
    assert any("the list 'allow.txt' is missing; create allow.txt" in one for one in told)
    assert any("does not look for PROJECT" in one for one in told)


@pytest.mark.parametrize("yaml", ["", "[", "version: 2\nprofiles: {a: {entities: {}}}", "version: 1\nprofiles: {}"])
def test_a_file_that_is_no_profile_file_is_a_finding(yaml):
    assert all(one.startswith("profiles.yaml: ") for one in problems(yaml))


def test_an_unknown_word_without_a_neighbour_lists_what_is_known():
    assert any(
        "known: ner, threshold, entities, allow, deny" in one for one in problems(GOOD + "    zzz: 1\n", **LISTS)
    )


def test_a_missing_file_is_a_finding():
    with pytest.raises(RedactionInvalid, match=r"profiles.yaml: is missing"):
        load_profiles({})


def test_only_yaml_and_lists_of_the_folder_itself_are_read(tmp_path):
    (tmp_path / "profiles.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "README.md").write_text("no", encoding="utf-8")
    (tmp_path / "cases").mkdir()
    assert set(read_files(tmp_path)) == {"profiles.yaml"}


def test_a_file_that_is_not_text_is_a_finding(tmp_path):
    (tmp_path / "allow.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(RedactionInvalid, match="not UTF-8"):
        read_files(tmp_path)


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("a: 1", "recognizers: is missing"),
        ("recognizers: 5", "recognizers"),
        ("recognizers:\n  - {name: NoSuchRecognizer, type: predefined}", "NoSuchRecognizer"),
        ("recognizers:\n  - {name: X, supported_entity: X, patterns: [{name: x, regex: '(', score: 0.5}]}", "regex"),
    ],
    ids=["no list", "not a list", "unknown class", "broken regex"],
)
def test_what_presidio_does_not_accept_is_a_finding(yaml, told):
    with pytest.raises(RedactionInvalid) as invalid:
        load_recognizers({"recognizers.yaml": f"supported_languages: [en]\n{yaml}\n"})
    assert all(finding.file == "recognizers.yaml" for finding in invalid.value.findings)
    assert told in str(invalid.value)


def test_the_language_model_is_not_among_the_recognizers():
    names = [one.name for one in load_recognizers({"recognizers.yaml": PLAIN_RECOGNIZERS})]
    assert set(names) == {
        "EmailRecognizer",
        "CreditCardRecognizer",
        "UsSsnRecognizer",
        "UsBankRecognizer",
        "Badge",
    }
