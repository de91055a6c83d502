"""Operators' tokens and sessions: shown once, kept as digests, over when they are revoked or left alone."""

from datetime import timedelta

import pytest

from llmguard.audit.log import AuditLog
from llmguard.domain.operators import OperatorRefused
from llmguard.identity.operator_store import IDLE, LONGEST, OperatorStore, UnknownToken
from tests.support.builders import FrozenClock

SECRET = b"a secret for tests only"


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def store(tmp_path, clock):
    return OperatorStore(tmp_path / "state.db", SECRET, clock)


def refusal_of(act, *given):
    with pytest.raises(OperatorRefused) as caught:
        act(*given)
    assert (caught.value.code, caught.value.status) == ("not_signed_in", 401)
    return caught.value.message


def test_token_is_known_by_its_text_and_stored_as_a_digest(store, tmp_path):
    issued = store.issue("fin@example.com", ("finance",), who="root")

    operator = store.token_of(issued.secret_text).operator()

    assert (operator.who, operator.roles, operator.method) == ("fin@example.com", {"finance"}, "token")
    assert issued.secret_text not in repr(issued)
    assert all(issued.secret_text.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600


def test_token_under_another_secret_is_unknown(store, tmp_path, clock):
    issued = store.issue("dana", who="root")
    other = OperatorStore(tmp_path / "state.db", b"another secret for tests", clock)

    assert "not known" in refusal_of(other.token_of, issued.secret_text)


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text.replace("op-", "sk-"), lambda _: ""])
def test_what_is_no_token_is_unknown(store, change):
    issued = store.issue("dana", who="root")

    assert "not known" in refusal_of(store.token_of, change(issued.secret_text))


def test_token_expires(store, clock):
    issued = store.issue("dana", ttl=timedelta(days=1), who="root")
    clock.advance(days=1)

    assert "expired" in refusal_of(store.token_of, issued.secret_text)


def test_rotated_token_replaces_the_old_one_and_its_sessions_at_once(store):
    issued = store.issue("dana", ("coe",), who="root")
    cookie = store.open_session(issued.token.operator(), token=issued.token)

    rotated = store.rotate(issued.token.token_id, who="lee")

    assert "not known" in refusal_of(store.token_of, issued.secret_text)
    assert store.token_of(rotated.secret_text).roles == ("coe",)
    assert "not signed in" in refusal_of(store.session_of, cookie)


def test_revoked_token_takes_its_sessions_along_and_the_log_tells_it(store, tmp_path, clock):
    issued = store.issue("dana", who="root")
    cookie = store.open_session(issued.token.operator(), token=issued.token)
    store.revoke(issued.token.token_id, who="lee")

    assert "revoked" in refusal_of(store.token_of, issued.secret_text)
    assert "not signed in" in refusal_of(store.session_of, cookie)
    store.revoke(issued.token.token_id, who="again")
    [listed] = store.tokens()
    told = [(entry.what, entry.who) for entry in AuditLog(tmp_path / "state.db", clock).entries()]
    assert told == [
        ("operator_token.issued", "root"),
        ("operator.signed_in", "dana"),
        ("operator_token.revoked", "lee"),
    ]
    assert (listed.created_by, listed.revoked_by) == ("root", "lee")
    with pytest.raises(UnknownToken):
        store.rotate(issued.token.token_id, who="lee")
    with pytest.raises(UnknownToken):
        store.revoke("AAAABBBBCCCC", who="lee")


def test_page_that_refreshes_itself_keeps_no_session_open(store, clock):
    issued = store.issue("ana@example.com", who="test")
    cookie = store.open_session(issued.token.operator(), token=issued.token)
    for _ in range(11):
        clock.advance(minutes=5)
        store.session_of(cookie, is_use=False)

    clock.advance(minutes=5)

    assert "over" in refusal_of(store.session_of, cookie)


def test_session_goes_on_while_it_is_used_and_ends_after_a_day_of_work(store, clock):
    issued = store.issue("dana", who="root")
    cookie = store.open_session(issued.token.operator(), token=issued.token)
    step = timedelta(minutes=50)
    for _ in range(LONGEST // step):
        clock.advance(minutes=50)
        assert store.session_of(cookie).name == "dana"
    clock.advance(minutes=50)

    assert "over" in refusal_of(store.session_of, cookie)


def test_session_that_is_left_alone_ends(store, clock):
    cookie = store.open_session(store.issue("dana", who="root").token.operator())
    clock.advance(seconds=IDLE.total_seconds())

    assert "over" in refusal_of(store.session_of, cookie)
    assert "not signed in" in refusal_of(store.session_of, cookie)


def test_session_ends_with_its_token(store, clock):
    issued = store.issue("dana", ttl=timedelta(minutes=5), who="root")
    cookie = store.open_session(issued.token.operator(), token=issued.token)
    clock.advance(minutes=5)

    assert "over" in refusal_of(store.session_of, cookie)


def test_cookie_is_not_stored_and_a_closed_session_is_gone(store, tmp_path):
    operator = store.issue("dana", who="root").token.operator()
    cookie, other = store.open_session(operator), store.open_session(operator)
    assert all(cookie.encode() not in path.read_bytes() for path in tmp_path.iterdir())

    store.close_session(cookie)

    refusal_of(store.session_of, cookie)
    assert store.session_of(other).method == "oidc"  # opened without a token
    assert store.close_sessions_of(operator.subject) == 1
    refusal_of(store.session_of, other)
