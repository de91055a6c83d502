"""First answers in state.db: one claim a name, nothing readable at rest, a day long."""

import sqlite3
from contextlib import closing

import pytest

from llmguard.idempotency.store import AnswerStore, KeptAnswer
from tests.support.builders import FrozenClock

SECRET = b"a secret for tests only"
ANSWER = KeptAnswer("trace-1", [(b"content-type", b"application/json")], b'{"text":"Anna Schmidt"}')


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def store(tmp_path, clock):
    with closing(AnswerStore(tmp_path / "state.db", SECRET, clock)) as store:
        yield store


def a_name(store, app="app", key="key-1", path="/v1/chat/completions", body=b"Anna Schmidt"):
    return store.named(app, key, path, body)


def test_first_claim_wins_and_its_answer_is_found_by_the_next(store):
    assert store.claim(a_name(store), "one") is None
    pending = store.claim(a_name(store), "two")
    store.keep(a_name(store), "one", ANSWER)
    found = store.claim(a_name(store), "two")

    assert (pending.same_request, pending.worker, pending.answer) == (True, "one", None)
    assert found.answer == ANSWER


@pytest.mark.parametrize("other", [{"body": b"Bob"}, {"path": "/v1/responses"}])
def test_same_key_with_another_request_is_told_apart(store, other):
    store.claim(a_name(store), "one")
    store.keep(a_name(store), "one", ANSWER)

    found = store.claim(a_name(store, **other), "two")

    assert (found.same_request, found.answer) == (False, None)


def test_two_apps_may_use_the_same_key(store):
    store.claim(a_name(store), "one")

    assert store.claim(a_name(store, app="other"), "one") is None


def test_nothing_of_request_key_or_answer_can_be_read_in_the_file(store, tmp_path):
    named = a_name(store, key="Anna-1")
    store.claim(named, "one")
    store.keep(named, "one", ANSWER)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert not any(word in content for word in (b"Anna", b"Schmidt", b"trace-1", named.key))


def test_claim_that_is_given_up_is_free_again(store):
    store.claim(a_name(store), "one")
    store.give_up(a_name(store), "two")
    still = store.claim(a_name(store), "two")
    store.give_up(a_name(store), "one")

    assert still.worker == "one"
    assert store.claim(a_name(store), "two") is None


def test_claim_of_a_dead_worker_goes_to_one_of_those_who_try(store):
    store.claim(a_name(store), "dead")

    assert [store.take_over(a_name(store), worker, "dead") for worker in ("one", "two")] == [True, False]
    store.keep(a_name(store), "dead", ANSWER)
    assert store.claim(a_name(store), "two").answer is None


def test_answers_are_forgotten_after_a_day(store, clock):
    store.claim(a_name(store), "one")
    store.keep(a_name(store), "one", ANSWER)
    clock.advance(hours=23)
    kept = store.claim(a_name(store), "two")
    clock.advance(hours=2)

    assert kept.answer == ANSWER
    assert store.claim(a_name(store), "two") is None


def test_damaged_answer_is_no_answer_and_the_next_one_is_the_first_again(store, tmp_path):
    store.claim(a_name(store), "one")
    store.keep(a_name(store), "one", ANSWER)
    with closing(sqlite3.connect(tmp_path / "state.db")) as other, other:
        other.execute("UPDATE first_answers SET answer = zeroblob(64)")

    assert store.claim(a_name(store), "two") is None
    assert store.claim(a_name(store), "three").worker == "two"
