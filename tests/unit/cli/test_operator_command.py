"""`llmguard operator` on real files, and who is recorded for what commands do."""

import re

from llmguard.cli.banner import Banner, issue_first_token
from llmguard.cli.options import local_user
from llmguard.settings import load_settings


def test_token_is_made_listed_rotated_and_revoked(llmguard, ask):
    made = ask(
        "operator", "token", "--role", "finance", "--role", "auditor", "--name", "fin@example.com", "--ttl", "30d"
    )
    rotated = ask("operator", "rotate", made["token_id"], "--as", "lee@example.com")
    code, out, _ = llmguard("operator", "list")
    revoked = ask("operator", "revoke", made["token_id"])
    [listed] = ask("operator", "list")

    assert re.fullmatch(r"op-lg_\w{12}_\w{38}", made["token"])
    assert made["roles"] == ["finance", "auditor"]
    assert rotated["token_id"] == made["token_id"]
    assert rotated["token"] != made["token"]
    assert (code, "lee@example.com" in out, rotated["token"] in out) == (0, True, False)
    assert (revoked["state"], listed["state"], listed["revoked_by"]) == ("revoked", "revoked", local_user())


def test_unknown_token_and_missing_folder_are_said(llmguard):
    assert llmguard("operator", "list")[0] == 3

    llmguard("operator", "token")

    assert llmguard("operator", "revoke", "AAAABBBBCCCC")[0] == 2
    assert llmguard("operator", "token", "--role", "king")[0] == 2


def test_who_changed_a_key_is_recorded(ask):
    key = ask("keys", "issue", "expense-triage", "--as", "dana@example.com")
    ask("keys", "rotate", key["key_id"])
    ask("keys", "revoke", key["key_id"], "--as", "lee@example.com")

    [listed] = ask("keys", "list")

    people = (listed["issued_by"], listed["rotated_by"], listed["revoked_by"])
    assert people == ("dana@example.com", local_user(), "lee@example.com")


def test_first_start_prints_a_token_once(tmp_path):
    settings = load_settings({}, data=str(tmp_path / "data"))

    first, second = issue_first_token(settings), issue_first_token(settings)
    text = Banner(settings, 8080, None, first).text()

    assert second is None
    assert re.search(rf"console   http://127\.0\.0\.1:8080/console/\n  sign in   {first} ", text)
    assert "sign in" not in Banner(settings, 8080, None, second).text()
    assert first not in repr(Banner(settings, 8080, None, first))
