"""Trace ids, UUID version 7, so that they sort by time and the store can prune by them; and names of processes."""

import os
import uuid
from datetime import UTC, datetime


def new_trace_id(now: datetime) -> str:
    """Return a UUID version 7 for this instant, in its usual text form.

    Source: RFC 9562, section 5.7 (48 bits of Unix milliseconds, then 74 random bits around version and variant).
    """
    milliseconds = int(now.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
    random = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF
    return str(uuid.UUID(int=value))


def worker_name() -> str:
    """Return a name for this process life: pids come again, a pid with its start does not."""
    return f"{os.getpid()}-{datetime.now(UTC):%Y%m%d%H%M%S%f}"
