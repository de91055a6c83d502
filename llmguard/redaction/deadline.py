"""A bound on the time that one text may take, whoever wrote it."""

import time


class DeadlineExceeded(Exception):
    """The time is up; the text was not fully analysed, so nothing may be said about it."""


class Deadline:
    """Counts down from the moment it is made, for the thread that makes it.

    The tight bound is on processor time: what a text costs does not depend on how busy the machine is, and a text that
    only had to wait is not refused. The wide one is on time itself.
    """

    __slots__ = ("_busy_until", "_ends_at")

    def __init__(self, busy_seconds: float, seconds: float = 60.0) -> None:
        self._busy_until = time.thread_time() + busy_seconds
        self._ends_at = time.monotonic() + seconds

    def left_seconds(self) -> float:
        """Return the seconds that are left by the nearer bound.

        Raises:
            DeadlineExceeded: none are.
        """
        left = min(self._busy_until - time.thread_time(), self._ends_at - time.monotonic())
        if left <= 0:
            raise DeadlineExceeded
        return left
