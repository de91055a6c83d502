"""The one lock that decides who may write to the trace store; the kernel frees it when its holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from llmguard.traces.places import Places


@contextmanager
def ingester_lock(places: Places) -> Iterator[bool]:
    """Try to become the ingester: True while the lock is held, False if another process has it. Never waits.

    Raises:
        OSError: the lock file cannot be opened: a folder that this user may only read, or none.
    """
    descriptor = os.open(places.lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        yield _is_taken(descriptor)
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
