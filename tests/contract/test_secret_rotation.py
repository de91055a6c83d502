"""The installation's secret is changed, and nobody notices: keys, placeholders and the look-up of values."""

import pytest

from llmguard.domain.errors import Refusal
from llmguard.identity.key_store import KeyStore
from llmguard.identity.keyring import Keyring
from llmguard.redaction.lookup import placeholders_of
from llmguard.redaction.redactor import Redactor
from tests.support.builders import FrozenClock, a_chat_request
from tests.support.finder import PatternFinder

OLD, NEW = b"the secret of last year", b"the secret of this year"
TEXT = "Write to ada@example.com."


def a_keyring(folder, secret, previous=()):
    clock = FrozenClock()
    return Keyring(KeyStore(folder / "state.db", secret, clock, previous_secrets=previous), clock)


async def hidden(secret):
    redacted = await Redactor(PatternFinder(), secret).redact(a_chat_request(TEXT), app="claims", profile="standard")
    return redacted, redacted.request.messages[0]["content"]


def test_a_key_of_before_goes_on_working_and_is_stored_under_the_new_secret_once_used(tmp_path):
    issued = KeyStore(tmp_path / "state.db", OLD, FrozenClock()).issue("claims")
    unused = KeyStore(tmp_path / "state.db", OLD, FrozenClock()).issue("travel")
    header = f"Bearer {issued.secret_text}"
    keyring = a_keyring(tmp_path, NEW, [OLD])

    assert keyring.authenticate(header).app == "claims"
    keyring.refresh()

    assert keyring.authenticate(header).key_id == issued.key_id
    without_the_old = a_keyring(tmp_path, NEW)
    assert without_the_old.authenticate(header).key_id == issued.key_id
    with pytest.raises(Refusal, match="not known"):
        without_the_old.authenticate(f"Bearer {unused.secret_text}")


def test_a_revoked_key_of_before_stays_revoked(tmp_path):
    store = KeyStore(tmp_path / "state.db", OLD, FrozenClock())
    issued = store.issue("claims")
    store.revoke(issued.key_id)

    with pytest.raises(Refusal) as caught:
        a_keyring(tmp_path, NEW, [OLD]).authenticate(f"Bearer {issued.secret_text}")
    assert caught.value.code == "key_revoked"


def test_without_the_previous_secret_a_key_of_before_is_unknown(tmp_path):
    issued = KeyStore(tmp_path / "state.db", OLD, FrozenClock()).issue("claims")

    with pytest.raises(Refusal, match="not known"):
        a_keyring(tmp_path, NEW).authenticate(f"Bearer {issued.secret_text}")


async def test_placeholders_differ_after_the_change_and_a_known_value_is_found_under_both(tmp_path):
    before, text_before = await hidden(OLD)
    after, text_after = await hidden(NEW)

    assert text_before != text_after
    assert before.vault.restore_text(text_before) == after.vault.restore_text(text_after) == TEXT
    known = placeholders_of("ADA@example.com", app="claims", secrets=[NEW, OLD], entity_types=before.entities)
    assert len(known) == 2
    assert known[0] in text_after
    assert known[1] in text_before
    assert not any(
        one in text_after
        for one in placeholders_of("ada@example.com", app="travel", secrets=[NEW, OLD], entity_types=before.entities)
    )
