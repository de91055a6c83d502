from hypothesis import given
from hypothesis import strategies as st

from llmguard.domain.quota import Amount
from llmguard.quota.account import Account, Tally, Window
from llmguard.quota.windows import SECOND, day_end, month_end, to_instant
from tests.support.builders import NOON

NOW = to_instant(NOON)
ONE = Amount(1, 10, 100)


def test_a_hold_that_outlives_its_month_is_charged_nowhere():
    account = Account.opened(NOW)
    account.hold(ONE)
    account.roll(month_end(account.month.start))

    account.settle(ONE, NOW, ONE)

    assert account.slots == []
    assert account.minute == Window(NOW)
    assert account.day == Window(account.seen_at)
    assert account.month == Window(account.seen_at)


def test_a_hold_that_outlives_its_day_is_charged_to_its_month():
    account = Account.opened(NOW)
    account.hold(ONE)
    account.roll(day_end(account.day.start))

    account.settle(ONE, NOW, ONE)

    assert account.day == Window(account.seen_at)
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
