"""Two threads for the language model, with bounded queues: beyond them new work is refused, not piled up.

Whoever asks for much shall not keep out those who ask for little: long work has a thread of its own, and a job is due
so much later, the longer it is. What is due first goes first, so that shorter work overtakes, and none is overtaken for
ever: with the shortest first, the longest of many nearly equal prompts waited for seconds. What counts against a limit
is what goes before.
"""

import asyncio
import os
import time
from collections.abc import Callable, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from heapq import heappop, heappush
from itertools import count
from threading import Lock
from typing import Any, TypeVar

from llmguard.domain.errors import Fault

T = TypeVar("T")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_SHORT_CHARACTERS = 20_000  # of one request, which take a second or two
_DUE_SECONDS_A_CHARACTER = 100e-6  # ten times what one costs: a short prompt is due in a tenth of a second


def bound_blas_threads(environ: MutableMapping[str, str] | None = None) -> None:
    """Let BLAS use one thread a process, unless the operator chose otherwise; call it before numpy is imported.

    With more, workers fight over the cores and single requests take ten times as long.
    """
    chosen = os.environ if environ is None else environ
    for name in _THREAD_VARIABLES:
        chosen.setdefault(name, "1")


class Workers:
    """Runs functions off the event loop: what is due first, which is sooner after it came the shorter it is."""

    def __init__(
        self,
        *,
        waiting_characters: int = 1_000_000,
        waiting_jobs: int = 512,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the lanes; their threads start with the first job.

        Args:
            waiting_characters: when this much text would go before, further jobs are refused; a job that finds nothing
                before it is always taken.
            waiting_jobs: likewise for the number of jobs.
            now: seconds of a clock that never goes back.
        """
        self._now = now
        self._short, self._long = (
            _Lane(name, waiting_characters, waiting_jobs) for name in ("redaction", "redaction-long")
        )

    def submit(self, work: Callable[[], T], characters: int, *, of: int = 0) -> "asyncio.Future[T]":
        """Start work in a thread and return its future; nobody's cancellation stops it for others.

        Args:
            work: what to do.
            characters: how much it is.
            of: how much belongs together, where one request brings several pieces of work.

        Raises:
            Fault: `overloaded`, when too much is waiting.
        """
        size = max(characters, of)
        return self._lane(size).submit(work, characters, self._due(size))

    def check(self, characters: int) -> None:
        """Do nothing while so much work in pieces can be taken as a whole.

        Raises:
            Fault: `overloaded`.
        """
        self._lane(characters).check(characters, self._due(characters), is_whole=False)

    def close(self) -> None:
        """Drop what waits and let what runs finish."""
        self._short.close()
        self._long.close()

    def _due(self, size: int) -> float:
        return self._now() + size * _DUE_SECONDS_A_CHARACTER

    def _lane(self, size: int) -> "_Lane":
        return self._short if size <= _SHORT_CHARACTERS else self._long


class _Lane:
    """One thread and what waits for it; all but the work belongs to one event loop."""

    def __init__(self, name: str, most_characters: int, most_jobs: int) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._most_characters = most_characters
        self._most_jobs = most_jobs
        self._numbers = count()
        self._under_way: dict[int, tuple[float, int]] = {}  # number: when it is due, and characters
        self._lock = Lock()
        self._waiting: list[tuple[float, int]] = []  # a heap of when each is due, and numbers
        self._jobs: dict[int, tuple[Callable[[], None], Future[Any]]] = {}  # of those; Any: whatever work returns

    def submit(self, work: Callable[[], T], characters: int, due: float) -> "asyncio.Future[T]":
        self.check(characters, due)
        number, done = next(self._numbers), Future[T]()
        self._under_way[number] = due, characters
        with self._lock:
            self._jobs[number] = partial(_run, work, done), done
            heappush(self._waiting, (due, number))
        self._pool.submit(self._run_next)
        future = asyncio.wrap_future(done)
        future.add_done_callback(lambda _: self._under_way.pop(number))
        return future

    def check(self, characters: int, due: float, *, is_whole: bool = True) -> None:
        before = [one for other, one in self._under_way.values() if other <= due]
        if is_whole and not before:
            return
        if sum(before) + characters > self._most_characters or len(before) >= self._most_jobs:
            raise Fault(
                "overloaded",
                "Too many texts are waiting to be checked for personal data.",
                hint="Try again in a second; if this lasts, ask the CoE for more workers.",
                retry_after_seconds=1,
            )

    def close(self) -> None:
        with self._lock:
            waiting, self._jobs, self._waiting = list(self._jobs.values()), {}, []
        for _, done in waiting:
            done.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run_next(self) -> None:
        with self._lock:
            if not self._waiting:
                return  # closed
            run, _ = self._jobs.pop(heappop(self._waiting)[1])
        run()


def _run(work: Callable[[], T], done: "Future[T]") -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
        done.set_exception(error)
