"""What runs beside the workers, in one process: crash recovery, alerts and retention.

It is forked from the process that has everything loaded, so that `llmguard serve` itself imports next to nothing.
"""

import logging
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from llmguard.logs import configure_logging
from llmguard.settings import Settings

_NAME = "llmguard-beside"  # in `ps` and `top`; 15 characters are kept
_WATCH_SECONDS = 1.0
_STOP_SECONDS = 60
_log = logging.getLogger("llmguard")


class Beside:
    """Keeps the process while it is entered, and starts it again when it dies."""

    def __init__(self, forks: ForkServerContext, settings: Settings) -> None:
        """Take what to do; nothing runs yet.

        Args:
            forks: starts processes that have everything loaded.
            settings: of the gateway.
        """
        self._forks = forks
        self._settings = settings
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="beside-watcher", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._process, self._told = self._start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, after what is under way."""
        self._stopping.set()
        self._watcher.join()
        self._told.close()
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            _log.error("recovery, alerts and retention did not end in time; they go on at the next start")
            self._process.kill()

    def _start(self) -> tuple[ForkServerProcess, Connection]:
        """Return the process, and the end of a pipe: it works until that is closed, also by our death."""
        until_closed, told = self._forks.Pipe(duplex=False)
        process = self._forks.Process(target=run_beside, args=(self._settings, until_closed), name=_NAME)
        process.start()
        until_closed.close()
        return process, told

    def _watch(self) -> None:
        while not self._stopping.wait(_WATCH_SECONDS):
            if not self._process.is_alive():
                _log.error("recovery, alerts and retention ended with %s; starting them again", self._process.exitcode)
                self._told.close()
                try:
                    self._process, self._told = self._start()
                except Exception as error:  # noqa: BLE001 - the border of a thread that nobody would start again
                    _log.error("they could not be started, which is tried again: %s", type(error).__name__)


def run_beside(settings: Settings, until_closed: Connection) -> None:
    """Recover, alert and retain until the other end of a pipe is closed; signals are for those who hold it."""
    from llmguard.cli.alerting import Alerting  # noqa: PLC0415 - for this process alone
    from llmguard.cli.recovery import Recovery  # noqa: PLC0415
    from llmguard.cli.retaining import Retaining  # noqa: PLC0415

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # Linux alone has it
        Path("/proc/self/comm").write_text(_NAME, encoding="ascii")
    configure_logging()
    with Recovery(settings), Alerting(settings, os.environ), Retaining(settings):
        until_closed.poll(None)
