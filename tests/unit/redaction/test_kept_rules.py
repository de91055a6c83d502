import stat

from llmguard.redaction.kept import KeptRules

DIGEST = "a" * 64
FILES = {"profiles.yaml": "version: 1\n", "deny.txt": "Project Falcon\n"}


def test_rules_are_found_by_their_digest_and_kept_once(tmp_path):
    kept = KeptRules(tmp_path / "rules", [b"a secret"])
    kept.keep(DIGEST, FILES)
    before = (tmp_path / "rules" / DIGEST).read_bytes()

    kept.keep(DIGEST, FILES)

    assert kept.find(DIGEST) == FILES
    assert [path.name for path in (tmp_path / "rules").iterdir()] == [DIGEST]
    assert (tmp_path / "rules" / DIGEST).read_bytes() == before


def test_what_a_deny_list_names_stands_nowhere_in_the_folder(tmp_path):
    KeptRules(tmp_path / "rules", [b"a secret"]).keep(DIGEST, FILES)

    path = tmp_path / "rules" / DIGEST
    assert b"Falcon" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rules_of_before_a_change_of_the_secret_are_still_read(tmp_path):
    KeptRules(tmp_path, [b"the old secret"]).keep(DIGEST, FILES)

    assert KeptRules(tmp_path, [b"the new secret", b"the old secret"]).find(DIGEST) == FILES
    assert KeptRules(tmp_path, [b"the new secret"]).find(DIGEST) is None


def test_what_is_no_digest_is_neither_kept_nor_found(tmp_path):
    kept = KeptRules(tmp_path / "rules", [b"a secret"])
    kept.keep("../outside", FILES)

    assert kept.find("../outside") is None
    assert kept.find("b" * 64) is None
    assert not (tmp_path / "rules").exists()
