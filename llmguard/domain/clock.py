"""Time as an argument: aware UTC for records, monotonic nanoseconds for durations."""

import time
from datetime import UTC, datetime
from functools import partial
from typing import Protocol


class Clock(Protocol):
    """Tells the time; tests pass one that stands still."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        ...

    def ticks(self) -> int:
        """Return nanoseconds of a clock that never goes back; only differences mean something."""
        ...


class SystemClock:
    """The machine's clock."""

    # Both are read many times a request: no function of ours around them.
    now = staticmethod(partial(datetime.now, UTC))
    ticks = staticmethod(time.monotonic_ns)
