"""The windows that limits look at: a rolling minute in slots of one second, the calendar day and month of a time zone.

Instants are whole microseconds since 1970 (`Instant`), as they are stored. A day ends where the clocks of its zone show
the next date, so one in which they are moved has 23 or 25 hours. Pure functions only.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

Instant = int

SECOND: Instant = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_AFTER_ANY_MONTH = timedelta(days=31)
# A slot holds what was booked anywhere in its second, so it counts until the *end* of that second is 60 s past: one
# more slot than seconds. With 60 slots, 10.9 s and 70.1 s would not see each other, though 59.2 s lie between them.
_MINUTE_SLOT_COUNTS = 61 * SECOND


def to_instant(moment: datetime) -> Instant:
    """Return an aware moment as an instant."""
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(instant: Instant) -> datetime:
    """Return an instant as an aware moment in UTC."""
    return _EPOCH + timedelta(microseconds=instant)


def slot_start(instant: Instant) -> Instant:
    """Return the start of the second that the instant lies in."""
    return instant - instant % SECOND


def slot_end(start: Instant) -> Instant:
    """Return when a slot of the rolling minute no longer counts."""
    return start + _MINUTE_SLOT_COUNTS


class Span(NamedTuple):
    """From `start` up to, and without, `end`."""

    start: Instant
    end: Instant


def day_of(instant: Instant, zone: str) -> Span:
    """Return the calendar day of the time zone that the instant lies in."""
    today = _local_date(instant, zone)
    return _span(today, today + _DAY, instant, zone)


def month_of(instant: Instant, zone: str) -> Span:
    """Return the calendar month of the time zone that the instant lies in."""
    first = _local_date(instant, zone).replace(day=1)
    return _span(first, (first + _AFTER_ANY_MONTH).replace(day=1), instant, zone)


def _local_date(instant: Instant, zone: str) -> date:
    return to_datetime(instant).astimezone(ZoneInfo(zone)).date()


def _span(first: date, after: date, instant: Instant, zone: str) -> Span:
    """Return the span of these dates; it always has the instant in it."""
    start, end = _midnight(first, zone, fold=0), _midnight(after, zone, fold=0)
    if end <= instant:  # clocks were moved back over midnight, so that the date came twice: its second end counts
        end = _midnight(after, zone, fold=1)
    return Span(start, end)


def _midnight(day: date, zone: str, *, fold: int) -> Instant:
    """Return when the date begins; where clocks jump over its midnight, that is the jump."""
    return to_instant(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC))
