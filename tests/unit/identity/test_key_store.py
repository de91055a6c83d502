import sqlite3
import stat
from datetime import timedelta

import pytest

from llmguard.audit.log import AuditLog
from llmguard.identity.key_store import KeyStore, RevokedKey, UnknownKey
from llmguard.identity.key_text import key_digest
from tests.support.builders import NOON, FrozenClock

SECRET = b"an installation secret of a test"


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def store(tmp_path, clock):
    return KeyStore(tmp_path / "state.db", SECRET, clock)


def test_an_issued_key_tells_its_app_and_its_times(store):
    issued = store.issue("claims-bot", ttl=timedelta(days=30))

    assert issued.app == "claims-bot"
    assert issued.created_at == NOON
    assert issued.expires_at == NOON + timedelta(days=30)
    assert issued.secret_text.startswith(f"sk-lg_{issued.key_id}_")


def test_a_key_without_ttl_does_not_expire(store):
    assert store.issue("claims-bot").expires_at is None


def test_the_text_of_a_key_is_in_no_byte_of_the_data_folder(store, tmp_path):
    issued = store.issue("claims-bot")
    rotated = store.rotate(issued.key_id, overlap=timedelta(0))

    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())

    assert issued.key_id.encode() in written
    for text in (issued.secret_text, rotated.secret_text):
        assert text.encode() not in written
        assert text.rsplit("_", 1)[1].encode() not in written


def test_the_text_of_a_key_does_not_show_in_its_repr(store):
    issued = store.issue("claims-bot")
    assert issued.secret_text.rsplit("_", 1)[1] not in repr(issued)


def test_the_state_file_belongs_to_its_owner_alone(store, tmp_path):
    assert stat.S_IMODE((tmp_path / "state.db").stat().st_mode) == 0o600


def test_a_list_shows_all_keys_oldest_first_or_those_of_one_app(store, clock):
    first = store.issue("claims-bot", ttl=timedelta(days=1))
    clock.advance(hours=1)
    second = store.issue("expense-triage")

    assert [key.key_id for key in store.list()] == [first.key_id, second.key_id]
    assert [key.key_id for key in store.list("expense-triage")] == [second.key_id]
    assert store.list("nobody") == ()
    (shown,) = store.list("claims-bot")
    assert shown.created_at == NOON
    assert shown.expires_at == NOON + timedelta(days=1)
    assert (shown.rotated_at, shown.revoked_at, shown.overlap_until) == (None, None, None)


def test_rotation_keeps_the_key_id_and_changes_the_secret(store, clock):
    issued = store.issue("claims-bot", ttl=timedelta(days=30))
    clock.advance(days=20)

    rotated = store.rotate(issued.key_id, overlap=timedelta(days=2), ttl=timedelta(days=60))

    assert (rotated.key_id, rotated.app) == (issued.key_id, "claims-bot")
    assert rotated.secret_text != issued.secret_text
    (shown,) = store.list()
    assert shown.rotated_at == clock.now()
    assert shown.overlap_until == clock.now() + timedelta(days=2)
    assert shown.expires_at == clock.now() + timedelta(days=60)


def test_a_second_rotation_never_lengthens_the_life_of_older_secrets(store):
    issued = store.issue("claims-bot")
    store.rotate(issued.key_id, overlap=timedelta(days=2))
    store.rotate(issued.key_id, overlap=timedelta(days=9))
    _, secrets = store.secrets()
    ends = {secret.digest: secret.retires_at for secret in secrets}
    assert ends[key_digest(issued.secret_text, store.digest_key)] == NOON + timedelta(days=2)

    store.rotate(issued.key_id, overlap=timedelta(0))

    _, secrets = store.secrets()
    assert sorted(str(secret.retires_at) for secret in secrets) == [str(NOON)] * 3 + ["None"]


def test_a_revoked_key_keeps_its_first_date_of_revocation(store, clock):
    issued = store.issue("claims-bot")
    store.revoke(issued.key_id)
    clock.advance(days=1)
    store.revoke(issued.key_id)

    (shown,) = store.list()
    assert shown.revoked_at == NOON


def test_a_revoked_key_cannot_be_rotated(store):
    issued = store.issue("claims-bot")
    store.revoke(issued.key_id)

    with pytest.raises(RevokedKey, match=f"{issued.key_id}.*issue a new one for claims-bot"):
        store.rotate(issued.key_id, overlap=timedelta(0))


def test_an_unknown_key_id_is_named_in_the_error(store):
    with pytest.raises(UnknownKey, match="AAAABBBBCCCC"):
        store.revoke("AAAABBBBCCCC")
    with pytest.raises(UnknownKey, match="AAAABBBBCCCC"):
        store.rotate("AAAABBBBCCCC", overlap=timedelta(0))


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1)], ids=str)
def test_a_time_to_live_must_be_positive(store, ttl):
    with pytest.raises(ValueError, match="time to live"):
        store.issue("claims-bot", ttl=ttl)
    assert store.list() == ()


def test_an_overlap_cannot_be_negative(store):
    issued = store.issue("claims-bot")
    with pytest.raises(ValueError, match="overlap"):
        store.rotate(issued.key_id, overlap=timedelta(seconds=-1))


def test_every_change_raises_the_revision_and_a_refused_one_does_not(store):
    seen = [store.revision()]
    issued = store.issue("claims-bot")
    seen.append(store.revision())
    store.rotate(issued.key_id, overlap=timedelta(0))
    seen.append(store.revision())
    store.revoke(issued.key_id)
    seen.append(store.revision())
    with pytest.raises(UnknownKey):
        store.revoke("AAAABBBBCCCC")

    assert len(set(seen)) == 4
    assert store.revision() == seen[-1]


def test_keys_outlive_the_store_that_wrote_them(store, tmp_path, clock):
    issued = store.issue("claims-bot")

    reopened = KeyStore(tmp_path / "state.db", SECRET, clock)

    assert [key.key_id for key in reopened.list()] == [issued.key_id]
    assert key_digest(issued.secret_text, reopened.digest_key) == key_digest(issued.secret_text, store.digest_key)


def test_another_installation_secret_gives_other_digests(store, tmp_path, clock):
    other = KeyStore(tmp_path / "state.db", b"another installation secret", clock)
    assert key_digest("sk-lg_x", other.digest_key) != key_digest("sk-lg_x", store.digest_key)


def test_the_stored_digest_is_that_of_the_whole_key(store, tmp_path):
    issued = store.issue("claims-bot")
    connection = sqlite3.connect(tmp_path / "state.db")
    rows = connection.execute("SELECT digest FROM key_secrets").fetchall()
    connection.close()

    assert rows == [(key_digest(issued.secret_text, store.digest_key),)]


def test_every_change_of_a_key_is_in_the_audit_log(store, tmp_path, clock):
    issued = store.issue("claims-bot", ttl=timedelta(days=1), who="os:dana")
    store.rotate(issued.key_id, overlap=timedelta(0), who="os:lee")
    store.revoke(issued.key_id, who="os:dana")
    store.revoke(issued.key_id, who="os:dana")  # changes nothing

    entries = list(AuditLog(tmp_path / "state.db", clock).entries())

    assert [(entry.who, entry.what, entry.subject, entry.app) for entry in entries] == [
        ("os:dana", "key.issued", issued.key_id, "claims-bot"),
        ("os:lee", "key.rotated", issued.key_id, "claims-bot"),
        ("os:dana", "key.revoked", issued.key_id, "claims-bot"),
    ]
    assert issued.secret_text not in str(entries)
