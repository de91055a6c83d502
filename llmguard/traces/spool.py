"""Step 9 of the path: a finished trace becomes one line of this worker's own segment, in microseconds, no database.

Refuses to know what happens to the line later; the ingester finds it. Written lines survive a kill -9 of the process
(the kernel has them); against a power cut only what the ingester has committed is certain.
"""

import logging
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmguard.domain.at_rest import PLAIN, AtRest
from llmguard.domain.clock import Clock, SystemClock
from llmguard.domain.errors import Fault
from llmguard.domain.trace import Trace
from llmguard.traces.line import MAX_LINE_BYTES, encode_line
from llmguard.traces.segments import SegmentWriter, backlog_bytes

_LOG = logging.getLogger(__name__)
_NANOSECONDS = 1_000_000_000
_PROBE_SECONDS = 1
_RETRY_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much a spool may take before new work is refused rather than a trace lost.

    Attributes:
        segment_bytes: a segment larger than this is closed and a new one begun.
        segment_seconds: the same by age, so that what the ingester has moved does not stay on disk for weeks.
        backlog_bytes: what all segments may hold together before new work is refused.
        free_bytes: what must stay free on the disk.
        held_bytes: what is kept in memory while the disk takes nothing.
        line_bytes: a longer trace leaves its payload out.
    """

    segment_bytes: int = 16 << 20
    segment_seconds: float = 3600
    backlog_bytes: int = 1 << 30
    free_bytes: int = 256 << 20
    held_bytes: int = 32 << 20
    line_bytes: int = MAX_LINE_BYTES


class Spool:
    """Where one worker puts its traces. For one event loop; not to be shared by a fork."""

    def __init__(
        self,
        folder: Path,
        worker: str,
        *,
        at_rest: AtRest = PLAIN,
        clock: Clock | None = None,
        limits: SpoolLimits | None = None,
    ) -> None:
        """Open a first segment.

        Args:
            folder: `spool/` in the data folder; created for the owner only.
            worker: a name for the segments of this process.
            at_rest: whether traces are encrypted.
            clock: tells when to look at the disk again.
            limits: see there.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder = folder
        self._worker = worker
        self._at_rest = at_rest
        self._clock = clock or SystemClock()
        self._limits = limits or SpoolLimits()
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._next_probe = 0
        self._reason: str | None = None
        self._untraced = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segment: SegmentWriter | None = SegmentWriter(folder, worker, at_rest)
        self._segment_opened = self._clock.ticks()

    def append(self, trace: Trace) -> None:
        """Store a finished trace: one `os.write`, no await.

        When the disk takes nothing, the line is kept in memory, `check` refuses new work, and each `append` and
        `check` tries again. Requests that are refused for that leave no trace: a storm of them must not take the room
        that traces of answered ones need.

        Raises:
            Fault: (`overloaded`) neither disk nor memory can take it; this trace is not stored.
        """
        if self._reason is not None and trace.code == "overloaded":
            self._untraced += 1
            return
        line = encode_line(trace, limit_bytes=self._limits.line_bytes)
        if self._held and self._held_bytes + len(line) > self._limits.held_bytes:
            raise _unstored("the disk has taken none for too long")
        self._held.append(line)
        self._held_bytes += len(line)
        self._flush()

    def check(self) -> None:
        """Ask before taking new work.

        Raises:
            Fault: (`overloaded`) the last trace could not be written, the disk is nearly full, or the ingester is too
                far behind. Disk and backlog are looked at once a second.
        """
        if self._held:
            self._flush()
        if self._held:
            raise _unstored("the disk takes none")
        now = self._clock.ticks()
        if now >= self._next_probe:
            self._next_probe = now + _PROBE_SECONDS * _NANOSECONDS
            self._reason = self._probe()
            self._tell_untraced()
        if self._reason is not None:
            raise _unstored(self._reason)

    def close(self) -> None:
        """Write what is still in memory and hand the segment over to the ingester; may be called twice.

        Raises:
            Fault: (`overloaded`) some traces were never written and are lost with this process.
        """
        self._flush()
        self._let_go()
        if self._held:
            raise _unstored(f"{len(self._held)} are lost with this process")

    def _tell_untraced(self) -> None:
        if self._reason is None and self._untraced:
            _LOG.warning("%d requests were refused without a trace while there was no room for any", self._untraced)
            self._untraced = 0

    def _flush(self) -> None:
        """Write what is held, oldest first; on an error keep the rest for the next time."""
        try:
            while self._held:
                self._writable_segment().write(self._held[0])
                self._held_bytes -= len(self._held.popleft())
        except OSError as error:
            if self._reason is None:
                _LOG.error("cannot write traces to the spool: %s", os.strerror(error.errno or 0))
            self._reason, self._next_probe = "the disk takes none", 0
            self._let_go()

    def _writable_segment(self) -> SegmentWriter:
        if self._segment is not None and self._is_full(self._segment):
            self._let_go()
        if self._segment is None:
            self._segment = SegmentWriter(self._folder, self._worker, self._at_rest)
            self._segment_opened = self._clock.ticks()
        return self._segment

    def _is_full(self, segment: SegmentWriter) -> bool:
        age = self._clock.ticks() - self._segment_opened
        is_old = segment.size > 0 and age > self._limits.segment_seconds * _NANOSECONDS
        return is_old or segment.size >= self._limits.segment_bytes

    def _let_go(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            with suppress(OSError):  # a broken disk: the kernel closes the file with the process
                segment.close()

    def _probe(self) -> str | None:
        """Return why traces cannot be stored much longer, or None."""
        try:
            disk = os.statvfs(self._folder)
            backlog = backlog_bytes(self._folder)
        except OSError:
            return "the spool folder cannot be read"
        if self._segment is not None and (self._segment.is_removed or self._is_full(self._segment)):
            self._let_go()
        if disk.f_bavail * disk.f_frsize < self._limits.free_bytes:
            return "the disk is nearly full"
        if backlog > self._limits.backlog_bytes:
            return "the trace store is too far behind"
        return None


def _unstored(why: str) -> Fault:
    return Fault(
        "overloaded",
        f"Traces cannot be stored now ({why}), and no request is answered without one.",
        hint="Try again shortly. The operator of this gateway finds the cause in its log: disk space, or the ingester.",
        retry_after_seconds=_RETRY_AFTER_SECONDS,
    )
