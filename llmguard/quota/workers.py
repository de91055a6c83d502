"""Who lives: each worker holds an flock on its own file for its whole life, and the kernel drops it with the process.

That tells the dead from the living after `kill -9`, after a reboot, and when a process id is used again, because no
file has to be tidied up for it and no number is compared. A lock belongs to the open file: it is never inherited by
a program that is executed, but a bare `fork` shares it, so workers are spawned, not forked.
"""

import fcntl
import os
import re
import time
from pathlib import Path

_IDENTITY = re.compile(r"[0-9A-Za-z._-]{1,128}")
_SUFFIX = ".lock"
_RETRY_SECONDS = 0.001


class WorkerLocks:
    """The lock files of one data folder, and this worker's own lock once `hold` was called."""

    def __init__(self, folder: Path, worker: str) -> None:
        """Name the folder and this worker.

        Args:
            folder: where lock files lie; created by `hold`.
            worker: unique for each life of a process, such as `4711-1795435200`.

        Raises:
            ValueError: the identity cannot be a file name.
        """
        if _IDENTITY.fullmatch(worker) is None or worker.startswith("."):
            raise ValueError(f"A worker's identity consists of letters, digits, dots and dashes; {worker!r} does not.")
        self._folder = folder
        self._worker = worker
        self._descriptor: int | None = None

    def hold(self, *, patience_seconds: float = 2.0) -> None:
        """Take this worker's lock, for as long as the process lives or until `drop`.

        Args:
            patience_seconds: how long to try while others look whether this worker lives, which takes microseconds.

        Raises:
            ValueError: another living worker has the same identity.
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(self._worker)
        give_up_at = time.monotonic() + patience_seconds
        while time.monotonic() < give_up_at:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            # Between open and lock another worker may have taken the file for a dead one's and removed it: only a
            # lock on the file that still has the name counts.
            if _locked(descriptor, fcntl.LOCK_EX) and _is_file_at(descriptor, path):
                self._descriptor = descriptor
                return
            os.close(descriptor)
            time.sleep(_RETRY_SECONDS)
        raise ValueError(f"Another living worker has the identity {self._worker}.")

    def drop(self) -> None:
        """Give the lock up and remove its file."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            self._path(self._worker).unlink(missing_ok=True)
            os.close(descriptor)

    def lives(self, worker: str) -> bool:
        """Whether a process holds this worker's lock; this worker too."""
        return not self._dead(worker, remove=False)

    def sweep(self, *, keep: frozenset[str]) -> None:
        """Remove the lock files of dead workers, except of those to keep."""
        for path in self._folder.glob(f"*{_SUFFIX}"):
            worker = path.name.removesuffix(_SUFFIX)
            if worker not in keep:
                self._dead(worker, remove=True)

    def _dead(self, worker: str, *, remove: bool) -> bool:
        path = self._path(worker)
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            # Shared: two workers that look at once do not take each other for the one they look for.
            dead = _locked(descriptor, fcntl.LOCK_SH)
            if dead and remove:
                path.unlink(missing_ok=True)
            return dead
        finally:
            os.close(descriptor)

    def _path(self, worker: str) -> Path:
        return self._folder / f"{worker}{_SUFFIX}"


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
