"""The account of one scope: what is used and what is held in each window.

A hold books its whole amount in the windows of the instant it was made. Settle and release correct exactly those
windows; where one of them has passed meanwhile there is nothing left to correct, so nothing leaks into the next.

Time only goes forward in an account: a clock that jumps back books at the latest instant seen, so a jump never grants
more. The price: after a clock that was ahead, windows stand still until real time has caught up.
"""

from bisect import bisect_left

import msgspec

from llmguard.domain.catalog import DEFAULT_TIME_ZONE
from llmguard.domain.quota import Amount
from llmguard.quota.windows import Instant, Span, day_of, month_of, slot_end, slot_start


class Tally(msgspec.Struct, array_like=True):
    """A sum of amounts; all three quantities are counted, whichever limits exist today."""

    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0

    def add(self, amount: "Amount | Tally") -> None:
        """Count the amount in."""
        self.requests += amount.requests
        self.tokens += amount.tokens
        self.nano_usd += amount.nano_usd

    def take(self, amount: "Amount | Tally") -> None:
        """Count the amount out."""
        self.requests -= amount.requests
        self.tokens -= amount.tokens
        self.nano_usd -= amount.nano_usd


class Window(msgspec.Struct, array_like=True):
    """What is booked in one slot of the minute, or in all of them."""

    start: Instant
    used: Tally = msgspec.field(default_factory=Tally)
    held: Tally = msgspec.field(default_factory=Tally)


class Period(msgspec.Struct, array_like=True):
    """What is booked in a calendar day or month. Its borders are kept, so that settling needs no calendar."""

    start: Instant
    end: Instant
    used: Tally = msgspec.field(default_factory=Tally)
    held: Tally = msgspec.field(default_factory=Tally)

    def after(self, span: Span) -> "Period":
        """Return the next one, empty; two never overlap, so that a hold is found in the one it was booked in."""
        return Period(max(self.end, span.start), span.end)


class Account(msgspec.Struct, array_like=True):
    """All windows of one scope.

    Attributes:
        seen_at: the latest instant that anything was booked at.
        zone: the time zone by whose calendar day and month run.
        slots: the seconds of the rolling minute in which something was booked, oldest first.
        minute: the sum of all slots, kept beside them so that a decision does not add up sixty of them.
        day: the calendar day of `seen_at`.
        month: the calendar month of `seen_at`.
    """

    seen_at: Instant
    zone: str
    slots: list[Window]
    minute: Window
    day: Period
    month: Period

    @classmethod
    def opened(cls, now: Instant, zone: str = DEFAULT_TIME_ZONE) -> "Account":
        """Return an account with nothing in it."""
        return cls(now, zone, [], Window(now), Period(*day_of(now, zone)), Period(*month_of(now, zone)))

    def roll(self, now: Instant) -> None:
        """Bring the windows up to now: drop what has passed, begin what is new; never back."""
        seen_at = self.seen_at = max(self.seen_at, now)
        slots = self.slots
        while slots and slot_end(slots[0].start) <= seen_at:
            passed = slots.pop(0)
            self.minute.used.take(passed.used)
            self.minute.held.take(passed.held)
        if self.day.end <= seen_at:
            self.day = self.day.after(day_of(seen_at, self.zone))
        if self.month.end <= seen_at:
            self.month = self.month.after(month_of(seen_at, self.zone))

    def go_by(self, zone: str) -> None:
        """Let day and month end by this time zone; what is booked in them stays, so that a change never grants more."""
        if zone != self.zone:
            self.zone = zone
            self.day.end = day_of(self.seen_at, zone).end
            self.month.end = month_of(self.seen_at, zone).end

    def hold(self, amount: Amount) -> None:
        """Book the amount as held in the windows of `seen_at`; whether it fits was decided before."""
        second = slot_start(self.seen_at)
        if not self.slots or self.slots[-1].start != second:
            self.slots.append(Window(second))
        for window in (self.slots[-1], self.minute, self.day, self.month):
            window.held.add(amount)

    def settle(self, held: Amount, reserved_at: Instant, actual: Amount) -> None:
        """Replace a hold by what was used, in those windows of the hold that still count."""
        for window in self._windows_of(reserved_at):
            window.held.take(held)
            window.used.add(actual)

    def _windows_of(self, instant: Instant) -> list[Window | Period]:
        windows: list[Window | Period] = []
        second, slots = slot_start(instant), self.slots
        if slots and slots[-1].start == second:  # as nearly always
            windows += slots[-1], self.minute
        else:
            place = bisect_left(slots, second, key=lambda slot: slot.start)
            if place < len(slots) and slots[place].start == second:
                windows += slots[place], self.minute
        for period in (self.day, self.month):
            if period.start <= instant < period.end:
                windows.append(period)
        return windows
