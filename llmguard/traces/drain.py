"""One pass over the spool: every whole line becomes a row, once; segments that are finished disappear."""

from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from llmguard.traces.encryption import LineOpener
from llmguard.traces.line import MAX_LINE_BYTES, BadLineError, Line, decode_line
from llmguard.traces.segments import lock_if_abandoned, open_segment, segment_paths, set_aside, whole_lines
from llmguard.traces.store import TraceStore

_BATCH_ROWS = 2_000
_BATCH_BYTES = 8 << 20
# What DuckDB says about a value that it cannot store. Everything else (disk, memory, locks) is about the store.
_BAD_VALUE = (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException)


@dataclass(slots=True)
class _Entry:
    line: Line
    path: Path
    start: int
    end: int


@dataclass(slots=True)
class _Batch:
    entries: list[_Entry] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return self.size >= _BATCH_BYTES or len(self.entries) >= _BATCH_ROWS


class Drain:
    """Moves traces from a spool into the store; its process holds `ingester.lock`."""

    def __init__(self, spool: Path, store: TraceStore) -> None:
        """Begin where the store's positions say."""
        self._spool = spool
        self._store = store
        self._batch = _Batch()

    def run(self) -> int:
        """Move all whole lines that are in the spool now, and return how many.

        Raises:
            duckdb.Error: the store takes nothing; what was committed stays, the rest is still in the spool.
            OSError: the same for the disk.
            TraceStoreError: lines are encrypted, and no key opens them; as above.
        """
        self._batch = _Batch()
        paths = segment_paths(self._spool)
        present = {path.name for path in paths}
        for name in [name for name in self._store.positions if name not in present]:
            self._store.forget(name)  # it was removed, and then the process was killed
        moved = sum(self._move(path) for path in paths) + self._commit()
        for path in paths:
            self._retire(path)
        return moved

    def _move(self, path: Path) -> int:
        moved = 0
        opener = LineOpener(self._store.places.at_rest, path.name)
        with open_segment(path) as file:
            start = self._store.positions.get(path.name, 0)
            for line, end in whole_lines(file, start, limit_bytes=2 * MAX_LINE_BYTES):
                try:
                    decoded = decode_line(opener.plain(line or b""))
                except BadLineError:
                    position = file.tell()
                    set_aside(file, start, end)
                    file.seek(position)
                else:
                    self._batch.entries.append(_Entry(decoded, path, start, end))
                self._batch.positions[path.name] = start = end
                self._batch.size += len(line or b"")
                if self._batch.is_full:
                    moved += self._commit()
        return moved

    def _commit(self) -> int:
        batch, self._batch = self._batch, _Batch()
        if not batch.positions:
            return 0
        try:
            self._store.commit([entry.line for entry in batch.entries], batch.positions)
        except _BAD_VALUE:
            return self._commit_singly(batch)
        return len(batch.entries)

    def _commit_singly(self, batch: _Batch) -> int:
        """Store the good rows of a batch that DuckDB refused, and set the bad ones aside.

        Raises:
            duckdb.Error: all of several rows are bad, so that the fault is ours and not theirs.
        """
        copies: list[Path] = []
        for entry in batch.entries:
            try:
                self._store.commit([entry.line], {entry.path.name: entry.end})
            except _BAD_VALUE:
                copies.append(_set_entry_aside(entry))
                if len(copies) == len(batch.entries) > 1:
                    for copy in copies:
                        copy.unlink()
                    raise
        self._store.commit([], batch.positions)
        return len(batch.entries) - len(copies)

    def _retire(self, path: Path) -> None:
        """Remove a segment that nobody writes to any more and that is read to its end."""
        with open_segment(path) as file:
            if not lock_if_abandoned(file):
                return
            position = self._store.positions.get(path.name, 0)
            if next(whole_lines(file, position, limit_bytes=MAX_LINE_BYTES), None) is not None:
                return  # written after we read and before its writer ended: the next pass takes it
            size = path.stat().st_size
            if position < size:
                set_aside(file, position, size)
                self._store.commit([], {path.name: size})
            path.unlink()
        if path.name in self._store.positions:
            self._store.forget(path.name)


def _set_entry_aside(entry: _Entry) -> Path:
    with open_segment(entry.path) as file:
        return set_aside(file, entry.start, entry.end)
