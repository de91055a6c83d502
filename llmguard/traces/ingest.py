"""The ingester: `python -m llmguard.traces.ingest --data DIR`, one per machine, out of the workers' way.

Moves traces from the spool into DuckDB every 0.2 seconds and answers readers meanwhile. Any number may be started: one
works, the others wait for its lock. A kill -9 at any moment loses nothing and writes nothing twice, since rows and
segment positions are committed together. On SIGTERM it takes what is left, compresses, and ends with 0.
"""

import argparse
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import duckdb

from llmguard.domain.at_rest import PLAIN, AtRest, at_rest_from
from llmguard.traces.copying import NOTHING_DUE, drop_copy, make_copy, put_in_place
from llmguard.traces.door import Door
from llmguard.traces.drain import Drain
from llmguard.traces.erasing import Erased, Order, confirm, erase
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.traces.lock import ingester_lock
from llmguard.traces.orders import Orders, Progress
from llmguard.traces.places import Places
from llmguard.traces.queries import TraceQueries
from llmguard.traces.store import TraceStore

_IDLE_SECONDS = 0.2
_FIRST_BACKOFF_SECONDS = 0.5
_LAST_BACKOFF_SECONDS = 10.0
_REFRESH_SECONDS = 5.0
_COPY_AGAIN_SECONDS = 600.0
_NICENESS = 10
_LOG = logging.getLogger(__name__)


class Passes:
    """Counts passes over the spool, so that a reader can wait for one that began after its question."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._begun = 0
        self._ended = 0
        self._last_was_good = True
        self._closing = False
        self._wake = threading.Event()

    def wait_for_next(self) -> bool:
        """Ask for a pass and return whether one begun from now on has ended well, within some seconds.

        While passes fail nobody waits: the answer is False at once.

        Raises:
            TraceStoreError: the store is being closed; whoever asks again finds it open, or can open it.
        """
        with self._condition:
            wanted = self._begun + 1
            self._wake.set()
            self._condition.wait_for(
                lambda: self._closing or self._ended >= wanted or not self._last_was_good, _REFRESH_SECONDS
            )
            if self._closing:
                raise TraceStoreError("the trace store is being closed")
            return self._ended >= wanted and self._last_was_good

    def open(self) -> None:
        """Say that there will be passes."""
        with self._condition:
            self._closing = False

    def close(self) -> None:
        """Say that there will be none for a while; nobody waits for one any more."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()

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

    def __init__(self, data: Path, at_rest: AtRest = PLAIN) -> None:
        """Serve one data folder, created if absent."""
        self._places = Places(data, at_rest)
        self._orders = Orders()
        self._next_copy = 0.0
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
                copied = self._work()
            except (duckdb.Error, OSError, TraceStoreError) as error:
                _report(error)
                if is_last_try:
                    return False
                self._stop.wait(_FIRST_BACKOFF_SECONDS)
            else:
                if copied is None:
                    return True
                copied()

    def _work(self) -> Callable[[], None] | None:
        """Open the store, move traces and answer readers until stopped or until the store takes nothing.

        Returns:
            What puts a copy of the store in its place, now that it is closed; None when stopped.
        """
        with _open_store(self._places) as store:
            drain = Drain(self._places.spool, store)
            queries = TraceQueries(store.connection)
            self._passes.open()
            door = Door(queries, self._passes.wait_for_next, self._places.address, self._orders)
            try:
                while not self._stop.is_set():
                    self._pass(drain)
                    copied = self._copy(store)
                    if copied is not None:
                        return copied
                    self._passes.rest(_IDLE_SECONDS)
            finally:
                self._passes.close()
                door.close()
                queries.close()
            drain.run()  # what the workers wrote before we were told to stop
        return None

    def _copy(self, store: TraceStore) -> Callable[[], None] | None:
        """Carry out an erasure that was ordered, or encrypt the store as the setting says, by a copy of the store."""
        order = self._orders.next()
        if order is None and (store.is_kept_as_wanted or time.monotonic() < self._next_copy):
            return None
        try:
            if order is None:
                store.connection.execute(NOTHING_DUE)
                make_copy(store.connection, self._places)
                _LOG.info("the trace store is kept as the setting for encryption says")
                return partial(put_in_place, self._places)
            erased = erase(store, order)
            if erased.rows and not order.dry_run:
                return partial(self._finish, order, erased)
            self._orders.end(Progress("done", erased))
        except TraceQueryError as error:
            self._orders.end(Progress("failed", why=str(error)))
        except (duckdb.Error, OSError, sqlite3.Error, TraceStoreError) as error:
            _report(error)
            self._orders.end(Progress("failed", why=f"the store could not be copied ({type(error).__name__})"))
            self._next_copy = time.monotonic() + _COPY_AGAIN_SECONDS
        return None

    def _finish(self, order: Order, erased: Erased) -> None:
        try:
            put_in_place(self._places)
            confirm(self._places.state, order, erased)
        except (OSError, sqlite3.Error, TraceStoreError) as error:
            _report(error)
            self._orders.end(Progress("failed", why=f"it did not end in order ({type(error).__name__})"))
        else:
            self._orders.end(Progress("done", erased))

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
    drop_copy(places)
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


def _stand_back() -> None:
    """Leave the processor to the workers where there is too little of it.

    Linux shares it out between sessions first, and niceness counts within one alone: a session of our own, which
    `serve` gives us, would have as much as all workers. Source: sched(7), autogroups.
    """
    os.nice(_NICENESS)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # no Linux, or one without autogroups
            Path("/proc/self/autogroup").write_text(str(_NICENESS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a process of its own."""
    parser = argparse.ArgumentParser(
        prog="llmguard.traces.ingest", description="Moves traces from the spool to DuckDB."
    )
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--keys-on-stdin", action="store_true", help="how text is kept, as JSON on standard input")
    parser.add_argument("--follow-parent", type=int, metavar="PID", help="stop when this parent process is gone")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    os.umask(0o077)
    _stand_back()
    told: list[int] = []  # a handler that set an event could meet its lock, held by the code that it interrupts
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: told.append(number))
    at_rest = at_rest_from(sys.stdin.buffer) if options.keys_on_stdin else PLAIN
    ingester, results = Ingester(options.data, at_rest), list[bool]()
    worker = threading.Thread(target=lambda: results.append(ingester.run()), name="ingester")
    worker.start()
    while worker.is_alive() and not told and options.follow_parent in (None, os.getppid()):
        worker.join(_IDLE_SECONDS)
    ingester.stop()
    worker.join()
    return 0 if results == [True] else 1


if __name__ == "__main__":
    sys.exit(main())
