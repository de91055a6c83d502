"""Crash recovery beside the workers: at the start, and soon after a worker died."""

import asyncio
import logging
import threading
from types import TracebackType
from typing import Self

from llmguard.domain.clock import SystemClock
from llmguard.domain.errors import GuardError
from llmguard.domain.identifiers import worker_name
from llmguard.gateway.recovery import settle_orphans
from llmguard.quota.ledger import Ledger
from llmguard.settings import Settings
from llmguard.traces.errors import TraceStoreError
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool

_EVERY_SECONDS = 2.0
_ONLY_ONE = "recovery"  # a worker's name is taken while it lives: of two gateways on one folder, one recovers
_log = logging.getLogger(__name__)


class Recovery:
    """Settles orphaned holds in a thread of its own while it is entered."""

    def __init__(self, settings: Settings) -> None:
        """Recover one data folder."""
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, after what is under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._recover_until_stopped())

    async def _recover_until_stopped(self) -> None:
        data = self._settings.data
        ledger = Ledger(data / "state.db", SystemClock(), _ONLY_ONE)
        while not _starts(ledger):
            if await asyncio.to_thread(self._stop.wait, _EVERY_SECONDS):
                return
        spool, reader = Spool(data / "spool", worker_name()), TraceReader(data)
        try:
            while True:
                await self._recover(ledger, spool, reader)
                if await asyncio.to_thread(self._stop.wait, _EVERY_SECONDS):
                    break
        finally:
            spool.close()
        await ledger.close()

    async def _recover(self, ledger: Ledger, spool: Spool, reader: TraceReader) -> None:
        try:
            settled = await settle_orphans(ledger, spool, reader.find_many)
        except (GuardError, TraceStoreError) as error:
            _log.warning("holds of workers that died wait to be settled: %s", error)
            return
        if settled:
            _log.warning("settled %d holds of workers that died", settled)


def _starts(ledger: Ledger) -> bool:
    try:
        ledger.start()
    except ValueError:
        return False
    return True
