from datetime import timedelta

import pytest

from llmguard.domain.quota import Amount
from llmguard.quota.account import Account
from llmguard.quota.limits import shortfalls, tightest
from llmguard.quota.limits import standings as standings_of_claim
from llmguard.quota.operations import Claim, Obstacle
from llmguard.quota.windows import SECOND, to_datetime, to_instant
from tests.support.builders import NOON, a_quota

NOW = to_instant(NOON)


def an_account(*bookings):
    """Return an account with `(seconds ago, used, held)` tokens booked, one request each."""
    oldest_first = sorted(bookings, reverse=True)
    account = Account.opened(NOW - oldest_first[0][0] * SECOND if oldest_first else NOW)
    for seconds_ago, used, held in oldest_first:
        account.roll(NOW - seconds_ago * SECOND)
        if used:
            account.hold(Amount(1, used, used))
            account.settle(Amount(1, used, used), account.seen_at, Amount(1, used, used))
        if held:
            account.hold(Amount(1, held, held))
    account.roll(NOW)
    return account


def standings(account, quota):
    return standings_of_claim(account, Claim("app:a", quota))


def the_shortfall(account, quota, tokens):
    return tightest(shortfalls(account, Claim("app:a", quota), Amount(1, tokens, tokens)))


def test_an_app_without_limits_has_no_standings_and_no_shortfalls():
    account = an_account((0, 10**9, 10**9))

    assert standings(account, a_quota()) == ()
    assert shortfalls(account, Claim("app:a", a_quota()), Amount(1, 10**9, 10**9)) == []


def test_standings_come_in_order_with_what_is_used_held_and_left():
    quota = a_quota(
        requests_per_minute=5, tokens_per_minute=100, tokens_per_day=200, tokens_per_month=300, nano_usd_per_month=400
    )

    found = standings(an_account((70, 30, 0), (10, 20, 7)), quota)

    assert [(standing.name, standing.used, standing.held, standing.left) for standing in found] == [
        ("requests_per_minute", 1, 1, 3),
        ("tokens_per_minute", 20, 7, 73),
        ("tokens_per_day", 50, 7, 143),
        ("tokens_per_month", 50, 7, 243),
        ("usd_per_month", 50, 7, 343),
    ]


def test_standings_tell_when_each_window_gets_better():
    quota = a_quota(tokens_per_minute=100, tokens_per_day=200, tokens_per_month=300)

    minute, day, month = standings(an_account((40, 1, 0), (10, 1, 0)), quota)

    assert minute.resets_at == NOON + timedelta(seconds=21)
    assert day.resets_at == NOON.replace(day=24, hour=0)
    assert month.resets_at == NOON.replace(month=12, day=1, hour=0)


def test_a_minute_with_nothing_in_it_is_reset_now():
    account = an_account()
    account.hold(Amount(1, 5, 0))
    account.settle(Amount(1, 5, 0), account.seen_at, Amount(0, 0, 0))

    (minute,) = standings(account, a_quota(tokens_per_minute=100))

    assert minute.resets_at == NOON


def test_what_is_left_is_never_negative_even_where_more_was_charged_than_held():
    account = an_account((0, 50, 0))

    (day,) = standings(account, a_quota(tokens_per_day=40))

    assert (day.used, day.left) == (50, 0)


def test_an_amount_that_fills_a_limit_exactly_fits():
    account = an_account((0, 60, 20))
    assert shortfalls(account, Claim("app:a", a_quota(tokens_per_day=100)), Amount(1, 20, 0)) == []


def test_a_request_larger_than_the_whole_limit_never_fits():
    shortfall = the_shortfall(an_account(), a_quota(tokens_per_minute=100), 101)

    assert shortfall.obstacle is Obstacle.LIMIT_TOO_SMALL
    assert shortfall.opens_at is None


@pytest.mark.parametrize(
    ("tokens", "opens_after_seconds"),
    [(10, 1), (40, 1), (41, 31), (70, 31), (71, 51), (100, 51)],
)
def test_a_full_minute_opens_when_enough_slots_have_left(tokens, opens_after_seconds):
    account = an_account((60, 40, 0), (30, 30, 0), (10, 25, 5))

    shortfall = the_shortfall(account, a_quota(tokens_per_minute=100), tokens)

    assert shortfall.obstacle is Obstacle.USED_UP
    assert to_datetime(shortfall.opens_at) == NOON + timedelta(seconds=opens_after_seconds)


def test_a_full_minute_of_requests_opens_request_by_request():
    account = an_account((60, 1, 0), (30, 1, 0))

    shortfall = the_shortfall(account, a_quota(requests_per_minute=2), 1)

    assert to_datetime(shortfall.opens_at) == NOON + timedelta(seconds=1)


def test_what_is_only_held_is_an_obstacle_for_a_moment():
    shortfall = the_shortfall(an_account((5, 10, 80)), a_quota(tokens_per_day=100), 20)

    assert shortfall.obstacle is Obstacle.HELD
    assert to_datetime(shortfall.opens_at) == NOON + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("quota", "name"),
    [
        (a_quota(tokens_per_minute=30, tokens_per_day=30), "tokens_per_day"),
        (a_quota(tokens_per_day=30, tokens_per_month=30), "tokens_per_month"),
        (a_quota(tokens_per_minute=9, tokens_per_month=30), "tokens_per_minute"),
        (a_quota(tokens_per_minute=30, tokens_per_day=60), "tokens_per_minute"),
    ],
    ids=["day over minute", "month over day", "never over month", "used over held"],
)
def test_the_limit_that_stays_in_the_way_longest_is_the_tightest(quota, name):
    account = an_account((5, 25, 30))
    assert the_shortfall(account, quota, 10).standing.name == name
