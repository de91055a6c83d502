"""A bound on the time that one text may take, whoever wrote it."""

import time


class DeadlineExceeded(Exception):
    """The time is up; the text was not fully analysed, so nothing may be said about it."""


class Deadline:
    """Counts down from the moment it is made."""

    __slots__ = ("_ends_at",)

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def left_seconds(self) -> float:
        """Return the seconds that are left.

        Raises:
            DeadlineExceeded: none are.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded
        return left
