import asyncio
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from llmguard.domain.clock import SystemClock
from llmguard.domain.errors import Fault, Refusal
from llmguard.identity.key_store import KeyStore
from llmguard.identity.key_text import new_key_id, new_key_text
from llmguard.identity.keyring import Credential, Keyring
from tests.support.builders import FrozenClock

SECRET = b"an installation secret of a test"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def store(tmp_path, clock):
    return KeyStore(tmp_path / "state.db", SECRET, clock)


@pytest.fixture
def issued(store):
    return store.issue("claims-bot", ttl=timedelta(days=30))


@pytest.fixture
def keyring(store, issued, clock):
    return Keyring(store, clock)


def bearer(key):
    return f"Bearer {key.secret_text}"


def refusal_of(keyring, authorization):
    with pytest.raises(Refusal) as caught:
        keyring.authenticate(authorization)
    assert caught.value.status == 401
    return caught.value


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_valid_key_tells_app_and_key_id(keyring, issued, scheme):
    credential = keyring.authenticate(f"{scheme} {issued.secret_text}")
    assert credential == Credential("claims-bot", issued.key_id)


def test_blanks_around_the_key_do_not_matter(keyring, issued):
    assert keyring.authenticate(f" Bearer   {issued.secret_text} ").app == "claims-bot"


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        (None, "no API key"),
        ("  ", "no API key"),
        ("Basic dXNlcjpwYXNz", "form 'Bearer KEY'"),
        ("Bearer", "form 'Bearer KEY'"),
        ("Bearer sk-proj-1234567890", "no key of llmguard"),
        ("Bearer sk-lg_", "mistyped or cut"),
        ("Bearer sk-lg_é", "mistyped or cut"),
    ],
)
def test_a_header_without_a_key_is_refused_in_words_that_help(keyring, authorization, words):
    refusal = refusal_of(keyring, authorization)

    assert refusal.code == "invalid_api_key"
    assert words in refusal.message
    assert "llmguard keys issue" in refusal.hint


def test_a_cut_key_is_told_from_an_unknown_one(keyring, issued):
    assert "mistyped or cut" in refusal_of(keyring, bearer(issued)[:-1]).message
    assert "not known" in refusal_of(keyring, f"Bearer {new_key_text(new_key_id())}").message


def test_a_wrong_secret_of_a_known_key_id_is_refused_like_an_unknown_key(keyring, issued):
    guessed = refusal_of(keyring, f"Bearer {new_key_text(issued.key_id)}")
    unknown = refusal_of(keyring, f"Bearer {new_key_text(new_key_id())}")

    assert (guessed.code, guessed.message, guessed.hint) == (unknown.code, unknown.message, unknown.hint)
    assert issued.key_id not in guessed.message


def test_a_key_of_another_installation_is_unknown(tmp_path, clock, keyring):
    other = KeyStore(tmp_path / "other.db", b"another secret", clock)
    assert refusal_of(keyring, bearer(other.issue("claims-bot"))).code == "invalid_api_key"


def test_no_refusal_shows_the_key_it_refuses(store, keyring, issued, clock):
    store.rotate(issued.key_id, overlap=timedelta(0))
    keyring.refresh()
    secret = issued.secret_text.rsplit("_", 1)[1]

    for header in (bearer(issued), bearer(issued)[:-1], f"Bearer {secret}"):
        refusal = refusal_of(keyring, header)
        assert secret[:8] not in refusal.message + str(refusal.hint) + repr(refusal)


def test_an_expired_key_is_refused_with_its_date(keyring, store, issued, clock):
    clock.advance(days=30)
    keyring.refresh()

    refusal = refusal_of(keyring, bearer(issued))

    assert refusal.code == "key_expired"
    assert "23 December 2026 12:00 UTC" in refusal.message


def test_a_key_is_valid_until_the_instant_it_expires(keyring, issued, clock):
    clock.advance(days=30, microseconds=-1)
    keyring.refresh()
    assert keyring.authenticate(bearer(issued)).app == "claims-bot"


def test_both_secrets_are_valid_until_the_overlap_ends(keyring, store, issued, clock):
    rotated = store.rotate(issued.key_id, overlap=timedelta(hours=1))
    keyring.refresh()
    assert keyring.authenticate(bearer(issued)) == keyring.authenticate(bearer(rotated))

    clock.advance(hours=1)
    keyring.refresh()

    refusal = refusal_of(keyring, bearer(issued))
    assert refusal.code == "key_expired"
    assert "rotation" in refusal.message
    assert keyring.authenticate(bearer(rotated)).key_id == issued.key_id


def test_an_old_secret_does_not_outlive_its_own_expiry_in_a_long_overlap(keyring, store, issued, clock):
    store.rotate(issued.key_id, overlap=timedelta(days=90))
    clock.advance(days=31)
    keyring.refresh()

    assert "expired on 23 December 2026" in refusal_of(keyring, bearer(issued)).message


def test_a_revoked_key_is_refused_with_all_its_secrets(keyring, store, issued):
    rotated = store.rotate(issued.key_id, overlap=timedelta(hours=1))
    store.revoke(issued.key_id)
    keyring.refresh()

    for key in (issued, rotated):
        refusal = refusal_of(keyring, bearer(key))
        assert refusal.code == "key_revoked"
        assert "23 November 2026" in refusal.message


def test_keys_that_could_not_be_read_for_five_seconds_let_nobody_in(keyring, issued, tmp_path, clock):
    (tmp_path / "state.db").rename(tmp_path / "lost.db")
    clock.advance(seconds=5)
    keyring.check()
    assert keyring.authenticate(bearer(issued)).app == "claims-bot"

    clock.advance(milliseconds=1)

    with pytest.raises(Fault) as caught:
        keyring.authenticate(bearer(issued))
    assert caught.value.code == "ledger_unavailable"
    with pytest.raises(Fault):
        keyring.check()


def test_keys_are_trusted_again_once_the_store_can_be_read(keyring, issued, clock):
    clock.advance(seconds=6)
    keyring.refresh()
    assert keyring.authenticate(bearer(issued)).app == "claims-bot"


async def test_the_watcher_survives_a_lost_store_and_says_so(keyring, issued, tmp_path, caplog):
    stop = asyncio.Event()
    watching = asyncio.create_task(keyring.watch(stop))
    (tmp_path / "state.db").rename(tmp_path / "lost.db")
    async with asyncio.timeout(20):
        while "cannot be read" not in caplog.text:  # noqa: ASYNC110 - a log line sets no event
            await asyncio.sleep(0.02)
    assert not watching.done()

    (tmp_path / "lost.db").rename(tmp_path / "state.db")
    KeyStore(tmp_path / "state.db", SECRET, SystemClock()).revoke(issued.key_id)
    await _refused(keyring, bearer(issued))

    stop.set()
    await watching


async def test_a_revocation_by_another_process_reaches_every_worker(tmp_path):
    clock = SystemClock()
    store = KeyStore(tmp_path / "state.db", SECRET, clock)
    issued = store.issue("claims-bot")
    workers = [Keyring(store, clock), Keyring(KeyStore(tmp_path / "state.db", SECRET, clock), clock)]
    stop = asyncio.Event()
    watching = [asyncio.create_task(worker.watch(stop)) for worker in workers]

    script = (
        "import sys; from pathlib import Path; from llmguard.domain.clock import SystemClock;"
        "from llmguard.identity.key_store import KeyStore;"
        f"KeyStore(Path(sys.argv[1]), {SECRET!r}, SystemClock()).revoke(sys.argv[2])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "state.db"), issued.key_id]
    await asyncio.to_thread(subprocess.run, command, check=True, cwd=ROOT)

    for worker in workers:
        assert (await _refused(worker, bearer(issued))).code == "key_revoked"
    stop.set()
    await asyncio.gather(*watching)


async def _refused(keyring, authorization):
    """Wait until the watcher has seen it; the time limit only ends a test that would hang."""
    async with asyncio.timeout(20):
        while True:
            try:
                keyring.authenticate(authorization)
            except Refusal as refusal:
                return refusal
            await asyncio.sleep(0.02)


def test_nobody_is_let_in_while_what_else_decides_cannot_be_read(store, clock):
    key, broken = store.issue("claims-bot").secret_text, []

    def read_beside():
        if broken:
            raise sqlite3.OperationalError

    keyring = Keyring(store, clock, beside=(read_beside,))
    keyring.refresh()
    assert keyring.authenticate(f"Bearer {key}").app == "claims-bot"

    broken.append(True)
    with pytest.raises(sqlite3.OperationalError):
        keyring.refresh()
    clock.advance(seconds=6)

    with pytest.raises(Fault) as refused:
        keyring.authenticate(f"Bearer {key}")
    assert refused.value.code == "ledger_unavailable"
    broken.clear()
    keyring.refresh()
    assert keyring.authenticate(f"Bearer {key}").app == "claims-bot"
