"""Segments: append-only files of lines, each written by one process and locked by it for as long as it lives.

The writer holds a flock on its segment. The kernel frees it when the process ends, kill -9 included, so that the
ingester knows which segments nobody writes to any more. It removes one only while it holds that flock itself.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from llmguard.domain.at_rest import PLAIN, AtRest
from llmguard.traces.encryption import cipher_of

SUFFIX = ".jsonl"
_BUFFER_BYTES = 1 << 20
_LOG = logging.getLogger(__name__)


class SegmentWriter:
    """One segment, from its creation to the end of its writer. Attributes: `path`; `size` in bytes."""

    def __init__(self, folder: Path, worker: str, at_rest: AtRest = PLAIN) -> None:
        """Create `<worker>-<nanoseconds>.jsonl`, readable by the owner only, and lock it.

        Args:
            folder: the spool.
            worker: a name for the segments of one process.
            at_rest: whether lines are encrypted.

        Raises:
            OSError: it cannot be created.
        """
        while True:
            self.path = folder / f"{worker}-{time.time_ns()}{SUFFIX}"
            self._fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if os.fstat(self._fd).st_nlink:  # the ingester may have taken the file for a dead one before we locked it
                break
            os.close(self._fd)
        self._cipher = cipher_of(at_rest, self.path.name)
        self.size = 0

    @property
    def is_removed(self) -> bool:
        """Whether somebody deleted the file under the writer."""
        return os.fstat(self._fd).st_nlink == 0

    def write(self, line: bytes) -> None:
        """Append a line, whole or not at all: what was written before an error is cut off again.

        Raises:
            OSError: no space, a file size limit, a broken disk. The caller then closes this segment.
        """
        if self._cipher is not None:
            line = self._cipher.encrypt(line)
        written = 0
        try:
            while written < len(line):  # one write; more only after a short one. EINTR: Python repeats (PEP 475)
                written += os.write(self._fd, memoryview(line)[written:] if written else line)
        except OSError:
            with suppress(OSError):  # if even this fails, the torn line has no newline and is set aside by the reader
                os.ftruncate(self._fd, self.size)
            raise
        self.size += written

    def close(self) -> None:
        """Let the ingester have it. An empty segment is removed."""
        if os.fstat(self._fd).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


def segment_paths(folder: Path) -> list[Path]:
    """Return the segments of a spool by name.

    Raises:
        OSError: the folder cannot be read. An absent folder has none.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def backlog_bytes(folder: Path) -> int:
    """Return the size of all segments together."""
    total = 0
    for path in segment_paths(folder):
        with suppress(FileNotFoundError):  # the ingester has just finished it
            total += path.stat().st_size
    return total


def whole_lines(file: BinaryIO, position: int, *, limit_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    """Yield each line that has its newline, and where it ends, from a position on to the file's present end.

    Args:
        file: a segment.
        position: the start of a line, in bytes.
        limit_bytes: a longer line is yielded as None; memory stays bounded.
    """
    end = os.fstat(file.fileno()).st_size
    file.seek(position)
    is_too_long = False
    while position < end:
        piece = file.readline(limit_bytes)
        if not piece:
            return
        position += len(piece)
        if piece.endswith(b"\n"):
            yield (None if is_too_long else piece), position
            is_too_long = False
        elif len(piece) < limit_bytes:
            return  # still being written, or torn
        else:
            is_too_long = True


@contextmanager
def open_segment(path: Path) -> Iterator[BinaryIO]:
    """Open a segment for reading."""
    with path.open("rb", buffering=_BUFFER_BYTES) as file:
        yield file


def blank_out(path: Path, end: int) -> None:
    """Overwrite the lines before `end`, all of which are in the store; whoever appends meanwhile is not disturbed.

    One blank line takes their place, so that the next one still begins behind a newline.

    Raises:
        OSError: it cannot be written. An absent segment is fine.
    """
    with suppress(FileNotFoundError), path.open("r+b", buffering=0) as file:
        for start in range(0, end - 1, _BUFFER_BYTES):
            file.seek(start)
            file.write(b" " * min(_BUFFER_BYTES, end - 1 - start))
        os.fsync(file.fileno())


def lock_if_abandoned(file: BinaryIO) -> bool:
    """Lock an open segment and return True if no living process writes to it. Closing the file unlocks it."""
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def set_aside(file: BinaryIO, start: int, end: int) -> Path:
    """Copy bytes that are no trace into `rejected/` beside the segment, and say so in the log, without content.

    The name holds segment and offset: doing it again after a kill writes the same file again.
    """
    segment = Path(file.name)
    folder = segment.parent / "rejected"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{segment.stem}-{start}"
    with os.fdopen(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as copy:
        file.seek(start)
        while start < end and (block := file.read(min(_BUFFER_BYTES, end - start))):
            copy.write(block)
            start += len(block)
    _LOG.warning("set aside a part of the spool that is no trace: %s", target)
    return target
