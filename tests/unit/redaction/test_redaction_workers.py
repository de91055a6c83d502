import asyncio
import threading

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
        workers.submit(opened.wait, 1)
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
