import asyncio
import threading
from functools import partial

import pytest

from llmguard.domain.errors import Fault
from llmguard.redaction.workers import Workers, bound_blas_threads


def test_blas_gets_one_thread_unless_the_operator_chose():
    environ = {"OMP_NUM_THREADS": "4"}
    bound_blas_threads(environ)
    assert environ["OMP_NUM_THREADS"] == "4"
    assert environ["OPENBLAS_NUM_THREADS"] == "1"


async def test_work_runs_in_another_thread_and_comes_back():
    workers = Workers()
    assert await workers.submit(threading.get_ident, 1) != threading.get_ident()
    workers.close()


async def test_a_single_job_is_taken_however_large_and_the_next_is_refused():
    workers = Workers(waiting_characters=10)
    opened = threading.Event()
    first = workers.submit(opened.wait, 1_000)
    with pytest.raises(Fault, match="waiting") as refused:
        workers.submit(opened.wait, 1_000)
    opened.set()
    await first
    assert refused.value.code == "overloaded"
    await asyncio.sleep(0)
    assert await workers.submit(lambda: 1, 1_000) == 1
    workers.close()


async def test_too_many_jobs_are_refused_however_short():
    workers = Workers(waiting_jobs=2)
    opened = threading.Event()
    held = [workers.submit(opened.wait, 1) for _ in range(2)]
    with pytest.raises(Fault):
        workers.submit(opened.wait, 1)
    opened.set()
    await asyncio.gather(*held)
    workers.close()


async def test_long_work_keeps_no_short_work_waiting():
    workers = Workers()
    opened = threading.Event()
    long = workers.submit(opened.wait, 900_000)
    pieces = [workers.submit(opened.wait, 4_000, of=90_000) for _ in range(3)]

    assert await asyncio.wait_for(workers.submit(lambda: "done", 200), 5) == "done"

    opened.set()
    await asyncio.gather(long, *pieces)
    workers.close()


async def test_shorter_work_goes_first_and_is_taken_while_much_waits():
    workers = Workers(waiting_characters=30_000)
    opened, order = threading.Event(), []
    held = workers.submit(opened.wait, 10)
    waiting = [workers.submit(partial(order.append, size), size) for size in (15_000, 14_000)]
    with pytest.raises(Fault):
        workers.submit(opened.wait, 16_000)
    waiting.append(workers.submit(partial(order.append, 500), 500))
    opened.set()
    await asyncio.gather(held, *waiting)

    assert order == [500, 14_000, 15_000]
    workers.close()


async def test_longer_work_that_came_long_before_is_not_overtaken():
    now = 0.0
    workers = Workers(now=lambda: now)
    opened, order = threading.Event(), []
    held = workers.submit(opened.wait, 10)
    waiting = []
    for at, size in ((0.0, 900), (0.05, 500), (0.2, 800), (0.3, 10)):
        now = at
        waiting.append(workers.submit(partial(order.append, size), size))
    opened.set()
    await asyncio.gather(held, *waiting)

    assert order == [900, 500, 800, 10]
    workers.close()


async def test_what_waits_is_dropped_when_the_lanes_are_closed():
    workers = Workers()
    opened = threading.Event()
    held, waiting = workers.submit(opened.wait, 10), workers.submit(opened.wait, 10)
    workers.close()
    opened.set()

    assert await held
    with pytest.raises(asyncio.CancelledError):
        await waiting
