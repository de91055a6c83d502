"""The account of one scope: what is used and what is held in each window.

A hold books its whole amount in the windows of the instant it was made. Settle and release correct exactly those
windows; where one of them has passed meanwhile there is nothing left to correct, so nothing leaks into the next.

Time only goes forward in an account: a clock that jumps back books at the latest instant seen, so a jump never grants
more. The price: after a clock that was ahead, windows stand still until real time has caught up.
"""

from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from llmguard.domain.quota import Amount
from llmguard.quota.windows import Instant, day_end, day_start, month_end, month_start, slot_end, slot_start


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
    """What is booked from `start` to the window's end, which its kind decides."""

    start: Instant
    used: Tally = msgspec.field(default_factory=Tally)
    held: Tally = msgspec.field(default_factory=Tally)


class Account(msgspec.Struct, array_like=True):
    """All windows of one scope.

    Attributes:
        seen_at: the latest instant that anything was booked at.
        slots: the seconds of the rolling minute in which something was booked, oldest first.
        minute: the sum of all slots, kept beside them so that a decision does not add up sixty of them.
        day: the calendar day of `seen_at`.
        month: the calendar month of `seen_at`.
    """

    seen_at: Instant
    slots: list[Window]
    minute: Window
    day: Window
    month: Window

    @classmethod
    def opened(cls, now: Instant) -> "Account":
        """Return an account with nothing in it."""
        return cls(now, [], Window(now), Window(day_start(now)), Window(month_start(now)))

    def roll(self, now: Instant) -> None:
        """Bring the windows up to now: drop what has passed, begin what is new; never back."""
        self.seen_at = max(self.seen_at, now)
        while self.slots and slot_end(self.slots[0].start) <= self.seen_at:
            passed = self.slots.pop(0)
            self.minute.used.take(passed.used)
            self.minute.held.take(passed.held)
        if day_end(self.day.start) <= self.seen_at:
            self.day = Window(day_start(self.seen_at))
        if month_end(self.month.start) <= self.seen_at:
            self.month = Window(month_start(self.seen_at))

    def hold(self, amount: Amount) -> None:
        """Book the amount as held in the windows of `seen_at`; whether it fits was decided before."""
        second = slot_start(self.seen_at)
        if not self.slots or self.slots[-1].start != second:
            self.slots.append(Window(second))
        for window in self._windows_of(self.seen_at):
            window.held.add(amount)

    def settle(self, held: Amount, reserved_at: Instant, actual: Amount) -> None:
        """Replace a hold by what was used, in those windows of the hold that still count."""
        for window in self._windows_of(reserved_at):
            window.held.take(held)
            window.used.add(actual)

    def _windows_of(self, instant: Instant) -> Iterator[Window]:
        second = slot_start(instant)
        place = bisect_left(self.slots, second, key=lambda slot: slot.start)
        if place < len(self.slots) and self.slots[place].start == second:
            yield self.slots[place]
            yield self.minute
        if self.day.start == day_start(instant):
            yield self.day
        if self.month.start == month_start(instant):
            yield self.month
