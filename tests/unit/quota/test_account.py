from hypothesis import given
from hypothesis import strategies as st

from llmguard.domain.quota import Amount
from llmguard.quota.account import Account, Tally, Window
from llmguard.quota.windows import SECOND, day_of, month_of, to_instant
from tests.support.builders import NOON
from tests.support.zones import zones

NOW = to_instant(NOON)
ONE = Amount(1, 10, 100)


def test_a_hold_that_outlives_its_month_is_charged_nowhere():
    account = Account.opened(NOW)
    account.hold(ONE)
    account.roll(account.month.end)

    account.settle(ONE, NOW, ONE)

    assert account.slots == []
    assert account.minute == Window(NOW)
    assert (account.day.start, account.day.used, account.day.held) == (account.seen_at, Tally(), Tally())
    assert (account.month.start, account.month.used, account.month.held) == (account.seen_at, Tally(), Tally())


def test_a_hold_that_outlives_its_day_is_charged_to_its_month():
    account = Account.opened(NOW)
    account.hold(ONE)
    account.roll(account.day.end)

    account.settle(ONE, NOW, ONE)

    assert (account.day.start, account.day.used, account.day.held) == (account.seen_at, Tally(), Tally())
    assert account.month.used == Tally(1, 10, 100)
    assert account.month.held == Tally()


def test_an_account_does_not_go_back_in_time():
    account = Account.opened(NOW)
    account.roll(NOW - 40 * 86_400 * SECOND)
    assert account == Account.opened(NOW)


@given(st.lists(st.tuples(st.integers(0, 70 * SECOND), st.integers(0, 9), st.booleans()), max_size=30))
def test_the_sum_of_the_minute_is_the_sum_of_its_slots(steps):
    account, holds = Account.opened(NOW), []
    for pause, tokens, settles in steps:
        account.roll(account.seen_at + pause)
        amount = Amount(1, tokens, tokens)
        account.hold(amount)
        holds.append((amount, account.seen_at))
        if settles:
            account.settle(*holds.pop(0), Amount(1, 0, 0))

        expected = Window(NOW)
        for slot in account.slots:
            expected.used.add(slot.used)
            expected.held.add(slot.held)
        assert account.minute == expected
        assert [slot.start for slot in account.slots] == sorted({slot.start for slot in account.slots})


@given(st.lists(st.tuples(zones, st.integers(0, 40 * 86_400), st.booleans()), max_size=12))
def test_a_change_of_the_time_zone_never_forgets_what_is_booked_nor_keeps_what_was_taken_back(steps):
    account, holds = Account.opened(NOW), []
    for zone, seconds, settles in steps:
        account.hold(ONE)
        holds.append(account.seen_at)
        before = [(period.used, period.held) for period in (account.day, account.month)]

        account.go_by(zone)

        assert [(period.used, period.held) for period in (account.day, account.month)] == before
        assert (account.day.end, account.month.end) == (
            day_of(account.seen_at, zone).end,
            month_of(account.seen_at, zone).end,
        )
        if settles:
            account.settle(ONE, holds.pop(), Amount(0, 0, 0))
        account.roll(account.seen_at + seconds * SECOND)
    for instant in holds:
        account.settle(ONE, instant, ONE)
    for period in (account.day, account.month):
        assert period.held == Tally()
        assert min(period.used.requests, period.used.tokens, period.used.nano_usd) >= 0
