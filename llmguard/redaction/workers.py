"""A few threads for the language model, with a bounded queue: beyond it new work is refused, not piled up."""

import asyncio
import os
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from llmguard.domain.errors import Fault

T = TypeVar("T")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def bound_blas_threads(environ: MutableMapping[str, str] | None = None) -> None:
    """Let BLAS use one thread a process, unless the operator chose otherwise; call it before numpy is imported.

    With more, workers fight over the cores and single requests take ten times as long (REDACTION.md).
    """
    chosen = os.environ if environ is None else environ
    for name in _THREAD_VARIABLES:
        chosen.setdefault(name, "1")


class Workers:
    """Runs functions off the event loop, first come first served."""

    def __init__(self, *, threads: int = 1, waiting_characters: int = 1_000_000, waiting_jobs: int = 512) -> None:
        """Make the pool; threads start with the first job.

        Args:
            threads: how many run at once.
            waiting_characters: when this much text is under way, further jobs are refused; a job that finds nothing
                under way is always taken.
            waiting_jobs: likewise for the number of jobs.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="redaction")
        self._most_characters = waiting_characters
        self._most_jobs = waiting_jobs
        self._characters = 0
        self._jobs = 0

    def submit(self, work: Callable[[], T], characters: int) -> "asyncio.Future[T]":
        """Start work in a thread and return its future; nobody's cancellation stops it for others.

        Raises:
            Fault: `overloaded`, when too much is waiting.
        """
        if self._jobs and (self._characters + characters > self._most_characters or self._jobs >= self._most_jobs):
            raise Fault(
                "overloaded",
                "Too many texts are waiting to be checked for personal data.",
                hint="Try again in a second; if this lasts, ask the CoE for more workers.",
                retry_after_seconds=1,
            )
        self._jobs += 1
        self._characters += characters
        future = asyncio.wrap_future(self._pool.submit(work))
        future.add_done_callback(lambda _: self._done(characters))
        return future

    def close(self) -> None:
        """Drop what waits and let what runs finish."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, characters: int) -> None:
        self._jobs -= 1
        self._characters -= characters
