"""The ingester: `python -m llmguard.traces.ingest --data DIR`, one per machine, out of the workers' way.

Moves traces from the spool into DuckDB every 0.2 seconds and answers readers meanwhile. Any number may be started: one
works, the others wait for its lock. A kill -9 at any moment loses nothing and writes nothing twice, since rows and
segment positions are committed together. On SIGTERM it takes what is left, compresses, and ends with 0.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from llmguard.traces.door import Door
from llmguard.traces.drain import Drain
from llmguard.traces.errors import TraceStoreError
from llmguard.traces.lock import ingester_lock
from llmguard.traces.places import Places
from llmguard.traces.queries import TraceQueries
from llmguard.traces.store import TraceStore

_IDLE_SECONDS = 0.2
_FIRST_BACKOFF_SECONDS = 0.5
_LAST_BACKOFF_SECONDS = 10.0
_REFRESH_SECONDS = 5.0
_NICENESS = 10
_LOG = logging.getLogger(__name__)


class Passes:
    """Counts passes over the spool, so that a reader can wait for one that began after its question."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._begun = 0
        self._ended = 0
        self._last_was_good = True
        self._wake = threading.Event()

    def wait_for_next(self) -> bool:
        """Ask for a pass and return whether one begun from now on has ended well, within some seconds.

        While passes fail nobody waits: the answer is False at once.
        """
        with self._condition:
            wanted = self._begun + 1
            self._wake.set()
            self._condition.wait_for(lambda: self._ended >= wanted or not self._last_was_good, _REFRESH_SECONDS)
            return self._ended >= wanted and self._last_was_good

    def begin(self) -> None:
        """Say that a pass looks at the spool from now on."""
        with self._condition:
            self._wake.clear()
            self._begun += 1

    def end(self, *, good: bool) -> None:
        """Say that it has committed what it found, or failed."""
        with self._condition:
            self._ended = self._begun
            self._last_was_good = good
            self._condition.notify_all()

    def rest(self, seconds: float) -> None:
        """Wait, less long if a reader asks."""
        self._wake.wait(seconds)

    def wake(self) -> None:
        """End the rest."""
        self._wake.set()


class Ingester:
    """Runs until it is told to stop; survives a full disk, bad lines and a store that others hold."""

    def __init__(self, data: Path) -> None:
        """Serve one data folder, created if absent."""
        self._places = Places(data)
        self._passes = Passes()
        self._stop = threading.Event()
        self._backoff_seconds = _FIRST_BACKOFF_SECONDS

    def stop(self) -> None:
        """Make `run` take what is left in the spool and return; for any thread, not for signal handlers."""
        self._stop.set()
        self._passes.wake()

    def run(self) -> bool:
        """Work until stopped. Return True when the spool is empty of traces and the store is closed in order."""
        self._places.create()
        while not self._stop.is_set():
            with ingester_lock(self._places) as is_ours:
                if is_ours:
                    return self._run_alone()
            self._stop.wait(_IDLE_SECONDS)
        return True

    def _run_alone(self) -> bool:
        while True:
            is_last_try = self._stop.is_set()
            try:
                self._work()
            except (duckdb.Error, OSError, TraceStoreError) as error:
                _report(error)
                if is_last_try:
                    return False
                self._stop.wait(_FIRST_BACKOFF_SECONDS)
            else:
                return True

    def _work(self) -> None:
        """Open the store, move traces and answer readers until stopped or until the store takes nothing."""
        with _open_store(self._places) as store:
            drain = Drain(self._places.spool, store)
            queries = TraceQueries(store.connection)
            door = Door(queries, self._passes.wait_for_next, self._places.address)
            try:
                while not self._stop.is_set():
                    self._pass(drain)
                    self._passes.rest(_IDLE_SECONDS)
            finally:
                door.close()
                queries.close()
            drain.run()  # what the workers wrote before we were told to stop

    def _pass(self, drain: Drain) -> None:
        self._passes.begin()
        try:
            drain.run()
        except BaseException:
            self._passes.end(good=False)
            self._stop.wait(self._backoff_seconds)  # readers are still answered meanwhile
            self._backoff_seconds = min(2 * self._backoff_seconds, _LAST_BACKOFF_SECONDS)
            raise
        self._passes.end(good=True)
        self._backoff_seconds = _FIRST_BACKOFF_SECONDS


@contextmanager
def _open_store(places: Places) -> Iterator[TraceStore]:
    places.address.unlink(missing_ok=True)  # of an ingester that was killed
    store = TraceStore(places)
    try:
        yield store
    except BaseException:
        store.close(checkpoint=False)
        raise
    store.close()


def _report(error: Exception) -> None:
    """Say what is wrong; DuckDB's own words may quote a row, so only the kind of error is told."""
    words = str(error) if isinstance(error, TraceStoreError) else type(error).__name__
    if isinstance(error, OSError):
        words = os.strerror(error.errno or 0)
    _LOG.error("traces cannot be stored, they wait in the spool: %s", words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a process of its own."""
    parser = argparse.ArgumentParser(
        prog="llmguard.traces.ingest", description="Moves traces from the spool to DuckDB."
    )
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--follow-parent", type=int, metavar="PID", help="stop when this parent process is gone")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    os.umask(0o077)
    os.nice(_NICENESS)
    told: list[int] = []  # a handler that set an event could meet its lock, held by the code that it interrupts
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: told.append(number))
    ingester, results = Ingester(options.data), list[bool]()
    worker = threading.Thread(target=lambda: results.append(ingester.run()), name="ingester")
    worker.start()
    while worker.is_alive() and not told and options.follow_parent in (None, os.getppid()):
        worker.join(_IDLE_SECONDS)
    ingester.stop()
    worker.join()
    return 0 if results == [True] else 1


if __name__ == "__main__":
    sys.exit(main())
