import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmguard.quota.workers import WorkerLocks

ROOT = Path(__file__).parents[3]
HOLD_A_LOCK = """
import sys, time
from pathlib import Path
from llmguard.quota.workers import WorkerLocks
WorkerLocks(Path(sys.argv[1]), sys.argv[2]).hold()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def locks(tmp_path):
    locks = WorkerLocks(tmp_path / "workers", "me")
    locks.hold()
    yield locks
    locks.drop()


def test_a_worker_sees_that_it_lives_itself(locks):
    assert locks.lives("me")


def test_a_worker_without_a_lock_file_does_not_live(locks):
    assert not locks.lives("never-was")


def test_a_worker_that_dropped_its_lock_does_not_live_and_leaves_no_file(locks, tmp_path):
    other = WorkerLocks(tmp_path / "workers", "other")
    other.hold()
    assert locks.lives("other")

    other.drop()
    other.drop()

    assert not locks.lives("other")
    assert [file.name for file in (tmp_path / "workers").iterdir()] == ["me.lock"]


def test_a_worker_that_was_killed_does_not_live_though_its_file_is_there(locks, tmp_path):
    command = [sys.executable, "-c", HOLD_A_LOCK, str(tmp_path / "workers"), "other"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert locks.lives("other")

        process.kill()
        process.wait()

    assert not locks.lives("other")
    assert (tmp_path / "workers" / "other.lock").exists()


def test_sweeping_removes_files_of_the_dead_that_need_not_be_kept(locks, tmp_path):
    for name in ("dead", "kept"):
        (tmp_path / "workers" / f"{name}.lock").touch()

    locks.sweep(keep=frozenset({"kept"}))

    assert sorted(file.name for file in (tmp_path / "workers").iterdir()) == ["kept.lock", "me.lock"]


def test_a_second_living_worker_cannot_take_the_same_identity(locks, tmp_path):
    with pytest.raises(ValueError, match="identity me"):
        WorkerLocks(tmp_path / "workers", "me").hold(patience_seconds=0.05)


def test_a_lock_file_left_behind_is_taken_over(locks, tmp_path):
    (tmp_path / "workers" / "again.lock").touch()
    again = WorkerLocks(tmp_path / "workers", "again")

    again.hold()

    assert locks.lives("again")
    again.drop()


def test_a_lock_counts_only_on_the_file_that_has_the_name(locks, tmp_path):
    # Somebody sweeps between open and lock, again and again: whoever holds a lock at the end must be seen to live.
    stop = threading.Event()

    def sweep():
        sweeper = WorkerLocks(tmp_path / "workers", "sweeper")
        while not stop.is_set():
            sweeper.sweep(keep=frozenset())

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        for number in range(300):
            worker = WorkerLocks(tmp_path / "workers", f"w{number}")
            worker.hold()
            assert locks.lives(f"w{number}")
            worker.drop()
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("worker", ["", "a/b", "..", ".hidden", "a b", "x" * 200])
def test_an_identity_that_is_no_file_name_is_refused(tmp_path, worker):
    with pytest.raises(ValueError, match="identity"):
        WorkerLocks(tmp_path, worker)


def test_the_lock_is_not_passed_on_to_programs_that_are_run(locks):
    assert not os.get_inheritable(locks._descriptor)
