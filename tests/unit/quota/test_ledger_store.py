import sqlite3
from contextlib import closing
from datetime import timedelta

import msgspec
import pytest

from llmguard.domain.quota import Amount
from llmguard.quota.operations import Claim, Denied, Done, Duplicate, Granted, Release, Reserve, Settle
from llmguard.quota.store import LedgerStore
from llmguard.quota.windows import to_datetime
from tests.support.builders import NOON, FrozenClock, a_quota

HUNDRED_A_DAY = a_quota(tokens_per_day=100)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def store(tmp_path, clock):
    store = LedgerStore(tmp_path / "state.db", clock, busy_timeout_seconds=0.05)
    yield store
    store.close()


def reserve(hold_id, tokens, *scopes, quota=HUNDRED_A_DAY):
    claims = tuple(Claim(scope, quota) for scope in scopes or ("app:a",))
    return Reserve(hold_id, claims, Amount(1, tokens, 0), "w1")


def booked(store, scope="app:a", quota=HUNDRED_A_DAY):
    return [(standing.used, standing.held) for standing in store.standings(Claim(scope, quota))]


def test_results_come_in_the_order_of_the_operations(store):
    results = store.apply(
        [
            reserve("h1", 60),
            reserve("h2", 60),
            Settle("h1", Amount(1, 10, 0)),
            reserve("h3", 90),
            reserve("h3", 0),
            Release("h3"),
        ]
    )

    assert [type(result) for result in results] == [Granted, Denied, Done, Granted, Duplicate, Done]
    assert booked(store) == [(10, 0)]


def test_a_grant_tells_the_instant_it_is_booked_at_and_the_standings_after_it(store):
    (granted,) = store.apply([reserve("h1", 60)])

    assert granted.reserved_at == NOON
    (standing,) = granted.standings
    assert (standing.used, standing.held, standing.left) == (0, 60, 40)


def test_a_reservation_of_several_scopes_books_all_of_them(store):
    store.apply([reserve("h1", 60, "app:a", "owner:dana", "cost_center:4711")])
    store.apply([Settle("h1", Amount(1, 50, 0))])

    assert [booked(store, scope) for scope in ("app:a", "owner:dana", "cost_center:4711")] == [[(50, 0)]] * 3


def test_a_reservation_of_several_scopes_books_none_when_one_is_full(store):
    store.apply([reserve("h1", 60, "owner:dana")])

    (denied,) = store.apply([reserve("h2", 60, "app:a", "owner:dana")])

    assert denied.tightest.standing.scope == "owner:dana"
    assert [standing.scope for standing in denied.standings] == ["app:a", "owner:dana"]
    assert booked(store, "app:a") == [(0, 0)]
    assert [hold.id for hold in store.holds()] == ["h1"]


def test_scopes_that_saw_different_times_settle_in_the_same_windows(store, clock):
    clock.advance(days=1)
    store.apply([reserve("ahead", 1, "owner:dana")])
    clock.advance(days=-1)
    store.apply([reserve("h1", 60, "app:a", "owner:dana")])

    store.apply([Settle("h1", Amount(1, 50, 0))])

    clock.advance(days=1)
    assert booked(store, "app:a") == [(50, 0)]
    assert booked(store, "owner:dana") == [(50, 1)]


def test_a_settle_without_a_figure_charges_the_whole_hold(store):
    store.apply([reserve("h1", 60), Settle("h1", None)])
    assert booked(store) == [(60, 0)]


def test_more_than_was_held_is_charged_in_full(store):
    store.apply([reserve("h1", 60), Settle("h1", Amount(1, 160, 0))])

    assert booked(store) == [(160, 0)]
    assert isinstance(store.apply([reserve("h2", 1)])[0], Denied)


@pytest.mark.parametrize("second", [Settle("h1", Amount(1, 60, 0)), Settle("h1", None), Release("h1")], ids=str)
def test_a_hold_ends_once_whoever_ends_it_again(store, second):
    store.apply([reserve("h1", 60)])
    store.apply([Settle("h1", Amount(1, 10, 0))])

    assert store.apply([second, second]) == [Done(), Done()]

    assert booked(store) == [(10, 0)]


def test_an_id_can_be_used_again_in_the_batch_that_ended_it(store):
    store.apply([reserve("h1", 60)])

    results = store.apply([Settle("h1", None), reserve("h1", 40)])

    assert isinstance(results[1], Granted)
    assert booked(store) == [(60, 40)]


def test_a_changed_limit_is_in_force_at_the_next_reservation(store):
    store.apply([reserve("h1", 60)])

    results = store.apply([reserve("h2", 60, quota=a_quota(tokens_per_day=120)), reserve("h3", 0, quota=a_quota())])

    assert [type(result) for result in results] == [Granted, Granted]
    assert isinstance(store.apply([reserve("h4", 1, quota=a_quota(tokens_per_day=10))])[0], Denied)


def test_a_limit_that_is_new_counts_what_was_booked_before_it_was_there(store):
    store.apply([reserve("h1", 60, quota=a_quota()), Settle("h1", Amount(1, 60, 0))])
    assert booked(store, quota=a_quota(tokens_per_month=70, requests_per_minute=1)) == [(1, 0), (60, 0)]


def test_a_hold_that_outlives_its_day_takes_nothing_from_the_next(store, clock):
    store.apply([reserve("h1", 60)])
    clock.advance(days=1)
    assert booked(store) == [(0, 0)]

    store.apply([Settle("h1", Amount(1, 60, 0))])

    assert booked(store) == [(0, 0)]
    assert booked(store, quota=a_quota(tokens_per_month=100)) == [(60, 0)]


def test_open_holds_are_told_with_all_that_is_known_of_them(store, clock):
    store.apply([reserve("h1", 60, "app:a", "owner:dana")])
    clock.advance(seconds=1)
    store.apply([reserve("h2", 7)])

    first, second = store.holds()

    assert (first.id, first.scopes, first.worker) == ("h1", ("app:a", "owner:dana"), "w1")
    assert (to_datetime(first.reserved_at), first.amount) == (NOON, Amount(1, 60, 0))
    assert to_datetime(second.reserved_at) == NOON + timedelta(seconds=1)


def test_a_busy_month_does_not_make_the_account_grow(store, clock, tmp_path):
    for number in range(300):
        clock.advance(seconds=7)
        store.apply([reserve(str(number), 0), Settle(str(number), Amount(1, 0, 0))])

    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        (size,) = connection.execute("SELECT LENGTH(windows) FROM accounts").fetchone()
    assert size < 500


def test_a_batch_that_fails_changes_nothing_and_the_next_one_works(store, tmp_path):
    store.apply([reserve("h1", 60)])
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.apply([Release("h1")])
        other.execute("ROLLBACK")

    assert booked(store) == [(0, 60)]
    store.apply([Release("h1")])
    assert booked(store) == [(0, 0)]


def test_what_another_connection_booked_in_between_counts(store):
    other = store.at_once()
    store.apply([reserve("h1", 60)])
    other.apply([reserve("h2", 30)])
    store.apply([Settle("h1", Amount(1, 65, 0))])

    assert [type(one.apply([reserve("h3", 6)])[0]) for one in (store, other)] == [Denied, Denied]
    assert booked(store) == [(65, 30)]
    other.close()


def test_a_batch_that_fails_half_way_is_forgotten(store):
    store.apply([reserve("h1", 10)])

    with pytest.raises(ValueError, match="empty"):
        store.apply([reserve("h2", 90), Reserve("h3", (), Amount(1, 1, 0), "w1")])

    assert isinstance(store.apply([reserve("h4", 90)])[0], Granted)


def test_a_reservation_that_was_denied_moves_no_account_forward(store, clock):
    store.apply([reserve("h1", 60)])
    clock.advance(seconds=30)
    store.apply([reserve("h2", 60)])
    clock.advance(seconds=-20)

    (granted,) = store.apply([reserve("h3", 1)])

    assert granted.reserved_at == NOON + timedelta(seconds=10)


def test_a_store_that_found_the_file_taken_goes_on_with_its_connection(store, tmp_path, monkeypatch):
    at_once = store.at_once()
    at_once.apply([reserve("h1", 60)])
    monkeypatch.setattr("llmguard.quota.store.open_state", None)  # whoever opens another one now fails
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            at_once.apply([Release("h1")])
        other.execute("ROLLBACK")

    assert at_once.apply([Release("h1")]) == [Done()]
    assert at_once.holds() == ()
    at_once.close()


def test_an_account_that_cannot_be_read_is_an_error_and_not_an_empty_account(store, tmp_path):
    store.apply([reserve("h1", 60)])
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("UPDATE accounts SET windows = '[1]'")

    with pytest.raises(msgspec.MsgspecError):
        store.apply([reserve("h2", 1)])


def test_a_file_that_was_deleted_is_not_booked_into(store, tmp_path):
    store.apply([reserve("h1", 60)])
    (tmp_path / "state.db").rename(tmp_path / "lost.db")

    with pytest.raises(FileNotFoundError):
        store.apply([reserve("h2", 1)])


def test_a_file_that_was_exchanged_is_the_one_that_counts(store, tmp_path, clock):
    store.apply([reserve("h1", 60)])
    other = LedgerStore(tmp_path / "backup.db", clock, busy_timeout_seconds=1)
    other.apply([reserve("h9", 5)])
    other.close()
    store.close()  # so that the write-ahead log belongs to neither
    store.apply([])

    (tmp_path / "backup.db").rename(tmp_path / "state.db")

    assert booked(store) == [(0, 5)]
