"""The ledger between processes: exact shares, and nothing lost or charged twice when a worker is killed."""

import asyncio
import os
import random
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from llmguard.domain.clock import SystemClock
from llmguard.domain.quota import Amount
from llmguard.quota.ledger import Ledger
from tests.support.ledger_worker import FIFTY_OF_SEVEN, PLENTY, THREE_SCOPES

ROOT = Path(__file__).parents[2]


def a_worker(mode, folder, name):
    command = [sys.executable, "-m", "tests.support.ledger_worker", mode, str(folder), name]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_two_processes_share_a_quota_for_fifty_exactly(tmp_path):
    with ExitStack() as stack:
        workers = [stack.enter_context(a_worker("share", tmp_path, name)) for name in ("w1", "w2")]
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 2
        for worker in workers:
            print(file=worker.stdin, flush=True)
        shares = [int(worker.stdout.readline()) for worker in workers]
        for worker in workers:
            print(file=worker.stdin, flush=True)
    assert [worker.returncode for worker in workers] == [0, 0]

    ledger = Ledger(tmp_path / "state.db", SystemClock(), "later")
    ledger.start()
    (month,) = await ledger.standings(FIFTY_OF_SEVEN)
    await ledger.close()

    assert sum(shares) == 50
    assert (month.used, month.held) == (50 * 5, 0)


@pytest.mark.parametrize("lines", [1, 2, 9, 30, 111, 400])
async def test_holds_of_a_killed_process_are_found_exactly(tmp_path, lines):
    ledger = Ledger(tmp_path / "state.db", SystemClock(), "alive")
    ledger.start()
    await ledger.reserve("mine", PLENTY, Amount(1, 1000, 0))
    with a_worker("churn", tmp_path, "killed") as worker:
        said = [worker.stdout.readline() for _ in range(lines)]
        worker.kill()
        said += worker.stdout.readlines()
    said = [line.split() for line in said if line.endswith("\n")]
    asked, held, settling = (
        {name for step, name in said if step == wanted} for wanted in ("asked", "held", "settling")
    )

    orphans = {orphan.id: orphan for orphan in await ledger.orphans()}
    (month,) = await ledger.standings(PLENTY)

    assert held - settling <= set(orphans) <= asked
    assert {orphan.worker for orphan in orphans.values()} <= {"killed"}
    assert month.held == 1000 + 10 * len(orphans)
    assert month.used == 4 * len(settling - set(orphans))

    for name, orphan in orphans.items():
        ledger.settle_orphan(orphan, Amount(1, 4, 0) if name in settling else None)
    (month,) = await ledger.standings(PLENTY)
    assert month.held == 1000
    assert month.used == 4 * len(settling) + 10 * len(set(orphans) - settling)
    assert await ledger.orphans() == ()
    await ledger.close()


KILLS = int(os.environ.get("LLMGUARD_TEST_KILLS", "2"))  # more of them on purpose: LLMGUARD_TEST_KILLS=200


async def test_workers_killed_at_random_never_leave_a_scope_above_its_limit_nor_apart_from_the_others(tmp_path):
    ledger = Ledger(tmp_path / "state.db", SystemClock(), "watcher", busy_timeout_seconds=20)
    ledger.start()

    async def booked():
        standings = await ledger.standings(THREE_SCOPES)
        assert all(standing.used + standing.held <= standing.limit for standing in standings)
        sums = {(standing.used, standing.held) for standing in standings}
        assert len(sums) == 1  # of all scopes the same, since each request is booked in all of them or in none
        return sums.pop()

    with ExitStack() as stack:
        workers = [stack.enter_context(a_worker("scopes", tmp_path, f"w{number}")) for number in (1, 2)]
        for kill in range(KILLS):
            assert [worker.stdout.readline() for worker in workers] == ["begun\n"] * len(workers)
            await asyncio.sleep(random.random() / 4)
            await booked()
            for worker in workers:
                worker.kill()
                worker.wait()
            if kill + 1 < KILLS:
                workers = [stack.enter_context(a_worker("scopes", tmp_path, f"w{kill}-{number}")) for number in (1, 2)]

    _, held = await booked()
    orphans = await ledger.orphans()
    assert sum(orphan.amount.tokens for orphan in orphans) == held
    for orphan in orphans:
        ledger.settle_orphan(orphan, None)
    used, held = await booked()
    assert used > 0
    assert held == 0
    await ledger.close()


def test_a_full_disk_is_a_fault_and_no_settle_is_lost(tmp_path):
    with a_worker("full", tmp_path, "w1") as worker:
        answer = worker.stdout.read()
    assert worker.returncode == 0
    assert answer.split() == ["ledger_unavailable", "3", "20"]
