"""Trace ids, UUID version 7, so that they sort by time and the store can prune by them; and names of processes."""

import os
from datetime import UTC, datetime

_RANDOM_BYTES = 10
_DRAWN_AHEAD = 256
_VARIANTS = "89ab" * 4  # two bits say how to read the rest, and two are random


class TraceIds:
    """Makes trace ids for one event loop; not to be shared by a fork, since its random bytes are drawn ahead."""

    __slots__ = ("_random",)

    def __init__(self) -> None:
        self._random = bytearray()

    def new(self, now: datetime) -> str:
        """Return a UUID version 7 for this instant, in its usual text form.

        Nobody can guess it: its random bits are the operating system's, drawn for some hundred ids in one call.

        Source: RFC 9562, section 5.7 (48 bits of Unix milliseconds, then 74 random bits around version and variant).
        """
        if not self._random:
            self._random += os.urandom(_RANDOM_BYTES * _DRAWN_AHEAD)
        random = self._random[-_RANDOM_BYTES:].hex()
        del self._random[-_RANDOM_BYTES:]
        time = f"{int(now.timestamp() * 1000) & 0xFFFF_FFFF_FFFF:012x}"
        variant = _VARIANTS[int(random[3], 16)]
        return f"{time[:8]}-{time[8:]}-7{random[:3]}-{variant}{random[4:7]}-{random[7:19]}"


def new_trace_id(now: datetime) -> str:
    """Return one trace id for this instant; who makes many keeps a `TraceIds`."""
    return TraceIds().new(now)


def worker_name() -> str:
    """Return a name for this process life: pids come again, a pid with its start does not."""
    return f"{os.getpid()}-{datetime.now(UTC):%Y%m%d%H%M%S%f}"
