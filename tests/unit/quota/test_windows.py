from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.quota.windows import (
    SECOND,
    day_end,
    day_start,
    month_end,
    month_start,
    slot_end,
    slot_start,
    to_datetime,
    to_instant,
)


def at(text):
    return to_instant(datetime.fromisoformat(text).replace(tzinfo=UTC))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_survives_the_way_into_the_store_to_the_microsecond(moment):
    assert to_datetime(to_instant(moment)) == moment


def test_a_moment_of_another_time_zone_is_the_same_instant():
    assert to_instant(datetime.fromisoformat("2026-12-01T01:00:00+01:00")) == at("2026-12-01T00:00:00")


@given(st.integers(0, 7 * 10**15), st.integers(0, 60 * SECOND))
def test_two_bookings_within_sixty_seconds_see_each_other(first, distance):
    assert slot_end(slot_start(first)) > first + distance


@given(st.integers(0, 7 * 10**15))
def test_a_booking_is_forgotten_after_at_most_sixty_one_seconds(first):
    assert slot_end(slot_start(first)) <= first + 61 * SECOND


@pytest.mark.parametrize(
    ("instant", "start", "end"),
    [
        ("2026-11-30T23:59:59.999999", "2026-11-01", "2026-12-01"),
        ("2026-12-01T00:00:00", "2026-12-01", "2027-01-01"),
        ("2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
        ("2027-01-31T00:00:00", "2027-01-01", "2027-02-01"),
    ],
)
def test_a_month_runs_from_its_first_to_the_next_first(instant, start, end):
    assert month_start(at(instant)) == at(start)
    assert month_end(month_start(at(instant))) == at(end)


def test_a_day_runs_from_midnight_to_midnight():
    late = at("2026-11-30T23:59:59.999999")

    assert to_datetime(day_start(late)) == datetime(2026, 11, 30, tzinfo=UTC)
    assert day_end(day_start(late)) - late == timedelta(microseconds=1) // timedelta(microseconds=1)
