import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmguard.cli.beside import Beside
from llmguard.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 60
ENTERED = """
import multiprocessing, sys, time
from pathlib import Path
from llmguard.cli.beside import Beside
from llmguard.settings import Settings

root, data = map(Path, sys.argv[1:])
with Beside(multiprocessing.get_context("forkserver"), Settings(root / "registry.yaml", root / "redaction", data)):
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(600)
"""


def until(is_so):
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def holds(data, name):
    return (data / "workers" / f"{name}.lock").exists()


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(data):
    return Settings(ROOT / "registry.yaml", ROOT / "redaction", data)


def test_a_killed_process_is_started_again_and_a_living_one_ends_in_order(settings, data):
    with Beside(multiprocessing.get_context("forkserver"), settings):
        [first] = multiprocessing.active_children()
        until(lambda: holds(data, "recovery"))
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: [one.pid for one in multiprocessing.active_children()] not in ([], [first.pid]))
        [second] = multiprocessing.active_children()
    assert (first.exitcode, second.exitcode) == (-signal.SIGKILL, 0)


class ShortOfProcesses:
    """Starts processes as the context does, but for those that the system has no room for."""

    def __init__(self, has_room):
        self._forks = multiprocessing.get_context("forkserver")
        self._has_room = iter(has_room)
        self.Pipe = self._forks.Pipe

    def Process(self, **given):  # noqa: N802 - named as the context's own
        if not next(self._has_room):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return self._forks.Process(**given)


def test_a_start_that_fails_is_tried_again(settings, data):
    with Beside(ShortOfProcesses([True, False, True]), settings):
        [first] = multiprocessing.active_children()
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: [one.pid for one in multiprocessing.active_children()] not in ([], [first.pid]))
        [second] = multiprocessing.active_children()
    assert second.exitcode == 0


def test_signals_are_left_to_whoever_holds_it(settings, data):
    with Beside(multiprocessing.get_context("forkserver"), settings):
        [process] = multiprocessing.active_children()
        until(lambda: holds(data, "recovery"))  # from then on it has nothing to set up
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGINT)
        process.join(0.5)
        assert process.is_alive()
    assert process.exitcode == 0


def test_it_ends_when_whoever_holds_it_is_killed(data):
    holder = subprocess.Popen([sys.executable, "-c", ENTERED, ROOT, data], stdout=subprocess.PIPE, text=True)
    pid = int(holder.stdout.readline())
    holder.kill()
    holder.communicate()
    until(lambda: not Path(f"/proc/{pid}").exists())
