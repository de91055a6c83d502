"""The windows that limits look at: a rolling minute in slots of one second, the calendar day and month in UTC.

Instants are whole microseconds since 1970 (`Instant`), as they are stored. Pure functions only.
"""

from datetime import UTC, datetime, timedelta

Instant = int

SECOND: Instant = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400 * SECOND
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


def day_start(instant: Instant) -> Instant:
    """Return the last midnight UTC."""
    return instant - instant % _DAY


def day_end(start: Instant) -> Instant:
    """Return the midnight after the one that the day began with."""
    return start + _DAY


def month_start(instant: Instant) -> Instant:
    """Return the first instant of the calendar month, UTC."""
    moment = to_datetime(instant)
    return to_instant(datetime(moment.year, moment.month, 1, tzinfo=UTC))


def month_end(start: Instant) -> Instant:
    """Return the first instant of the month after the one that began at `start`."""
    first = to_datetime(start)
    return month_start(to_instant(first + timedelta(days=31)))
