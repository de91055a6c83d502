"""Refusals that may come as a flood: so many are traced that one sees what they are, the others are counted."""

import asyncio
import logging

from llmguard.domain.clock import Clock

_A_SECOND = 10
_TELL_SECONDS = 10.0
_NANO = 1_000_000_000
_log = logging.getLogger(__name__)


class Sample:
    """Which of many refusals alike are traced: so many at once, and 10 a second; the log says how many others came."""

    def __init__(self, clock: Clock, which: str, *, at_once: int) -> None:
        """Take a sample of those requests; `which` they are is said in the log."""
        self._clock = clock
        self._which = which
        self._at_once = at_once
        self._left = float(at_once)
        self._ticks = clock.ticks()
        self._others = 0

    def takes(self) -> bool:
        """Return whether the next one is traced; if not, it is counted here. Call it on an event loop."""
        ticks = self._clock.ticks()
        passed, self._ticks = (ticks - self._ticks) / _NANO, ticks
        self._left = min(self._at_once, self._left + passed * _A_SECOND)
        if self._left >= 1:
            self._left -= 1
            return True
        if not self._others:
            asyncio.get_running_loop().call_later(_TELL_SECONDS, self.tell)
        self._others += 1
        return False

    def tell(self) -> None:
        """Say in the log how many were not traced since it was last said."""
        if self._others:
            _log.warning("%d requests %s were refused without a trace", self._others, self._which)
            self._others = 0
