from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmguard.quota.windows import (
    SECOND,
    Span,
    day_of,
    month_of,
    slot_end,
    slot_start,
    to_datetime,
    to_instant,
)
from tests.support.zones import zones


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
    assert month_of(at(instant), "UTC") == Span(at(start), at(end))


def test_a_day_runs_from_midnight_to_midnight():
    late = at("2026-11-30T23:59:59.999999")
    assert day_of(late, "UTC") == Span(at("2026-11-30"), late + 1)


@pytest.mark.parametrize(
    ("zone", "instant", "start", "hours"),
    [
        ("Europe/Berlin", "2026-11-23T23:30:00", "2026-11-23T23:00:00", 24),
        ("Europe/Berlin", "2027-03-28T12:00:00", "2027-03-27T23:00:00", 23),
        ("Europe/Berlin", "2027-10-31T12:00:00", "2027-10-30T22:00:00", 25),
        ("Asia/Beirut", "2027-03-28T12:00:00", "2027-03-27T22:00:00", 23),  # no midnight: 23:59:59 is followed by 01:00
        ("America/Havana", "2027-11-07T12:00:00", "2027-11-07T04:00:00", 25),  # two midnights: the first begins the day
        ("America/St_Johns", "2010-11-07T02:45:00", "2010-11-06T02:30:00", 25),  # 00:01 was followed by 23:01
        ("Asia/Kathmandu", "2026-11-23T18:20:00", "2026-11-23T18:15:00", 24),
    ],
)
def test_a_day_has_as_many_hours_as_the_clocks_of_its_zone_show(zone, instant, start, hours):
    assert day_of(at(instant), zone) == Span(at(start), at(start) + hours * 3600 * SECOND)


def test_a_month_in_which_clocks_are_moved_has_an_hour_more_or_less():
    assert month_of(at("2027-03-10T00:00:00"), "Europe/Berlin") == Span(
        at("2027-02-28T23:00:00"), at("2027-03-31T22:00:00")
    )


@pytest.mark.parametrize("window_of", [day_of, month_of])
@given(zone=zones, instant=st.integers(0, 3 * 10**15))
@example(zone="America/St_Johns", instant=at("2010-11-07T02:31:30"))
def test_every_instant_lies_in_its_window_and_the_next_window_begins_where_it_ends(window_of, zone, instant):
    span = window_of(instant, zone)

    assert span.start <= instant < span.end
    assert window_of(span.end, zone).end > span.end
    local = to_datetime(span.end).astimezone(ZoneInfo(zone))
    assert (local - timedelta(microseconds=1)).date() != local.date() or local.hour > 0
