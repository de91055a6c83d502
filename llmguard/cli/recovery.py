"""Crash recovery beside the workers: at the start, and soon after a worker died."""

import logging

from llmguard.cli.background import Background
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


class Recovery(Background):
    """Settles orphaned holds in a thread of its own while it is entered."""

    name = "recovery"

    def __init__(self, settings: Settings) -> None:
        """Recover one data folder."""
        super().__init__()
        self._settings = settings

    async def run(self) -> None:
        """Recover until told to stop."""
        data = self._settings.data
        ledger = Ledger(data / "state.db", SystemClock(), _ONLY_ONE)
        while not _starts(ledger):
            if await self.pause(_EVERY_SECONDS):
                return
        at_rest = self._settings.at_rest
        spool, reader = Spool(data / "spool", worker_name(), at_rest=at_rest), TraceReader(data, at_rest)
        try:
            while True:
                await self._recover(ledger, spool, reader)
                if await self.pause(_EVERY_SECONDS):
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
