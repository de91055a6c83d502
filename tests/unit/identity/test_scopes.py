"""What a key may do of what its app may; and when it was last used."""

import asyncio
from datetime import timedelta

import pytest

from llmguard.domain.catalog import Caller, KeyScope, Registry
from llmguard.domain.errors import Refusal
from llmguard.identity.key_store import KeyStore
from llmguard.identity.keyring import Keyring
from llmguard.identity.scopes import check_preset, in_scope, may_use, narrowed
from tests.support.builders import NOON, FrozenClock, a_model, a_preset, a_provider, an_app

SECRET = b"an installation secret of a test"
CHAT = "/v1/chat/completions"
REGISTRY = Registry("0" * 64, {}, {}, {}, {})
REMOTE = a_preset(model=a_model(provider=a_provider(name="remote", kind="openai")))


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def store(tmp_path, clock):
    return KeyStore(tmp_path / "state.db", SECRET, clock)


def a_caller(**scope):
    return Caller(an_app(), "key-1", KeyScope(**scope))


def refusal_of(act, *given):
    with pytest.raises(Refusal) as caught:
        act(*given)
    assert (caught.value.code, caught.value.status) == ("scope_missing", 403)
    return caught.value


def test_key_without_limits_may_do_what_its_app_may():
    caller = Caller(an_app(), "key-1")

    assert in_scope(caller, CHAT, REGISTRY) is caller
    check_preset(caller, REMOTE)


def test_key_for_some_endpoints_may_call_no_other_and_still_ask_what_it_may():
    caller = a_caller(endpoints=("embeddings", "me/overage"))

    assert "/v1/embeddings, /v1/me/overage" in refusal_of(in_scope, caller, CHAT, REGISTRY).message
    for endpoint in ("/v1/embeddings", "/v1/me/overage", "/v1/models", "/v1/models/{id}", "/v1/me"):
        assert in_scope(caller, endpoint, REGISTRY) is caller


@pytest.mark.parametrize(
    ("presets", "covered"), [(("summarise",), True), (("summarise@1",), True), (("summarise@2",), False)]
)
def test_key_for_some_presets_may_use_no_other(presets, covered):
    caller = a_caller(presets=presets)

    assert may_use(caller.scope, a_preset()) == covered
    if not covered:
        refusal = refusal_of(check_preset, caller, a_preset())
        assert (refusal.param, "It may use: summarise@2." in refusal.message) == ("model", True)


def test_key_for_the_sandbox_reaches_echo_models_only():
    caller = a_caller(environment="sandbox")

    assert in_scope(caller, CHAT, REGISTRY).app.status == "sandbox"  # whose rules step over fallbacks that are no echo
    check_preset(caller, a_preset())
    refusal_of(check_preset, caller, REMOTE)
    assert not may_use(caller.scope, REMOTE)


def test_app_that_is_suspended_is_not_lifted_into_the_sandbox():
    caller = Caller(an_app(status="suspended"), "key-1", KeyScope(environment="sandbox"))

    assert in_scope(caller, CHAT, REGISTRY).app.status == "suspended"


def test_less_can_be_asked_for_and_never_more():
    held = KeyScope(("responses", "embeddings"), None, "sandbox")

    assert narrowed(held, KeyScope(("responses",), ("summarise",))) == KeyScope(
        ("responses",), ("summarise",), "sandbox"
    )
    assert narrowed(None, KeyScope()) == KeyScope()
    with pytest.raises(ValueError, match="endpoints"):
        narrowed(held, KeyScope(("chat/completions", "responses")))


def test_scope_stays_with_the_key_when_it_is_rotated(store, clock):
    scope = KeyScope(("responses",), ("summarise@2",), "sandbox")
    issued = store.issue("claims-bot", scope=scope)
    rotated = store.rotate(issued.key_id, overlap=timedelta(hours=1))
    keyring = Keyring(store, clock)

    assert store.find(issued.key_id).scope == scope
    for key in (issued, rotated):
        assert keyring.authenticate(f"Bearer {key.secret_text}").scope == scope
    assert store.find(store.issue("claims-bot", scope=KeyScope()).key_id).scope is None


def test_last_use_is_written_every_half_minute_and_at_the_end_never_at_the_request(store, clock):
    issued, unused = store.issue("claims-bot"), store.issue("claims-bot")
    keyring = Keyring(store, clock)
    clock.advance(days=1)
    keyring.refresh()
    keyring.authenticate(f"Bearer {issued.secret_text}")
    before = store.revision()

    at_the_request = store.find(issued.key_id).last_used_at
    clock.advance(seconds=29)
    keyring.refresh()
    early = store.find(issued.key_id).last_used_at
    clock.advance(seconds=1)
    keyring.refresh()

    assert (at_the_request, early) == (None, None)
    assert store.find(issued.key_id).last_used_at == NOON + timedelta(days=1)
    assert store.revision() == before
    assert not store.find(issued.key_id).is_unused_since(NOON + timedelta(days=1))
    assert store.find(unused.key_id).is_unused_since(NOON + timedelta(seconds=1))


async def test_last_use_is_written_when_the_worker_stops(store, clock):
    issued = store.issue("claims-bot")
    keyring = Keyring(store, clock)
    keyring.authenticate(f"Bearer {issued.secret_text}")
    stop = asyncio.Event()
    stop.set()

    await keyring.watch(stop)

    assert store.find(issued.key_id).last_used_at == NOON


def test_later_use_counts_whichever_worker_writes_first(store):
    issued = store.issue("claims-bot")
    store.note_use({issued.key_id: NOON + timedelta(hours=2)})
    store.note_use({issued.key_id: NOON + timedelta(hours=1)})

    assert store.find(issued.key_id).last_used_at == NOON + timedelta(hours=2)


def test_use_that_cannot_be_written_waits(store, clock, tmp_path):
    issued = store.issue("claims-bot")
    keyring = Keyring(store, clock)
    keyring.authenticate(f"Bearer {issued.secret_text}")
    hidden = (tmp_path / "state.db").rename(tmp_path / "hidden.db")
    keyring._write_use_or_warn()
    hidden.rename(tmp_path / "state.db")

    keyring._write_use_or_warn()

    assert store.find(issued.key_id).last_used_at == NOON


def test_refused_key_is_not_used(store, clock):
    issued = store.issue("claims-bot", ttl=timedelta(days=1))
    keyring = Keyring(store, clock)
    clock.advance(days=2)
    keyring.refresh()
    with pytest.raises(Refusal):
        keyring.authenticate(f"Bearer {issued.secret_text}")

    keyring._write_use_or_warn()

    assert store.find(issued.key_id).last_used_at is None
