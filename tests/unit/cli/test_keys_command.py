"""`llmguard keys` with limits of a key, keys that nobody uses, and what is wrong with one."""

from datetime import timedelta

import pytest

from llmguard.domain.clock import SystemClock
from llmguard.identity.key_store import KeyStore
from llmguard.settings import load_settings
from tests.support.builders import FrozenClock


@pytest.fixture
def store(tmp_path, ask):
    ask("keys", "issue", "expense-triage")
    settings = load_settings({}, data=str(tmp_path / "data"))
    return KeyStore(settings.data / "state.db", settings.secret, SystemClock())


def test_key_with_limits_is_explained(ask):
    key = ask(
        *("keys", "issue", "expense-triage", "--preset", "summarise@2", "--preset", "classify"),
        *("--endpoint", "chat/completions", "--environment", "sandbox", "--as", "dana@example.com"),
    )

    told = ask("keys", "explain", key["key_id"])

    assert (told["works"], told["state"], told["issued_by"]) == (True, "valid", "dana@example.com")
    assert told["may_call"] == ["/v1/chat/completions"]
    assert set(told["may_use"]) <= {"summarise@2", "classify@1"}
    assert (told["environment"], told["last_used_at"], "key" in told) == ("sandbox", None, False)


@pytest.mark.parametrize(
    ("preset", "words"),
    [("no-such", "There is no preset no-such."), ("summarise@99", "There is no preset"), ("summarise", "may not use")],
)
def test_limits_that_make_no_sense_are_refused(llmguard, preset, words):
    code, _, said = llmguard("keys", "issue", "ticket-router", "--preset", preset)

    assert code == 2
    assert words in said


def test_revoked_expired_and_orphaned_keys_say_why(llmguard, ask, store, registry):
    revoked, expired = store.issue("hr-helpdesk"), store.issue("hr-helpdesk", ttl=timedelta(microseconds=1))
    orphan = store.issue("left-over")
    store.revoke(revoked.key_id, who="lee@example.com")
    registry.write_text(registry.read_text().replace("status: approved\n    ticket: GOV-131", "status: suspended"))
    suspended = store.issue("hr-helpdesk")

    said = {
        key.key_id: llmguard("keys", "explain", key.key_id, "--json") for key in (revoked, expired, orphan, suspended)
    }

    assert {code for code, _, _ in said.values()} == {1}
    assert '"key_revoked"' in said[revoked.key_id][1]
    assert "by lee@example.com" in said[revoked.key_id][1]
    assert "llmguard keys rotate" in said[expired.key_id][1]
    assert "left-over is not in the catalog" in said[orphan.key_id][1]
    assert "suspended in the catalog" in said[suspended.key_id][1]
    assert llmguard("keys", "explain", "AAAABBBBCCCC")[0] == 2


def test_keys_that_nobody_uses_are_listed(ask, llmguard, store, tmp_path):
    past = FrozenClock(SystemClock().now() - timedelta(days=40))
    settings = load_settings({}, data=str(tmp_path / "data"))
    old = KeyStore(settings.data / "state.db", settings.secret, past).issue("hr-helpdesk")
    fresh, ended = store.issue("hr-helpdesk"), store.issue("hr-helpdesk")
    store.revoke(ended.key_id)

    unused = ask("keys", "list", "--unused-for", "30d")
    store.note_use({old.key_id: SystemClock().now()})
    none = llmguard("keys", "list", "--unused-for", "30d")
    listed = {key["key_id"]: key["last_used_at"] for key in ask("keys", "list", "hr-helpdesk")}

    assert [key["key_id"] for key in unused] == [old.key_id]
    assert listed[fresh.key_id] is None
    assert listed[old.key_id] is not None
    assert (none[0], none[1], "was used" in none[2]) == (0, "", True)
