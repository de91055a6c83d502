"""Alerts beside the workers: one watch for each data folder, however many gateways serve it."""

import asyncio
import logging
import sqlite3
from collections.abc import Mapping
from contextlib import suppress

from llmguard.alerts.sending import Sender
from llmguard.alerts.watch import Watch
from llmguard.cli.background import Background
from llmguard.domain.catalog import Registry
from llmguard.domain.clock import SystemClock
from llmguard.quota.workers import WorkerLocks
from llmguard.redaction.profiles import RedactionInvalid, load_profiles, read_files
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.finding import Finding, RegistryInvalid
from llmguard.registry.live import LiveRegistry
from llmguard.settings import Settings

_EVERY_SECONDS = 1.0
_ONLY_ONE = "alerts"  # as a worker's name: taken while somebody has it
_log = logging.getLogger(__name__)


class Alerting(Background):
    """Watches and delivers in a thread of its own while it is entered; signing secrets are in the environment."""

    name = "alerts"

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Watch one data folder."""
        super().__init__()
        self._settings = settings
        self._environ = environ

    async def run(self) -> None:
        """Watch until told to stop."""
        locks = WorkerLocks(self._settings.data / "workers", _ONLY_ONE)
        while not await asyncio.to_thread(_holds, locks):
            if await self.pause(_EVERY_SECONDS):
                return
        try:
            live = await self._registry()
            if live is not None:
                await self._watch(live)
        finally:
            locks.drop()

    async def _registry(self) -> LiveRegistry | None:
        profiles = _Profiles(self._settings)
        accepted = AcceptedRegistries(self._settings.data / "registry")
        while True:
            try:
                return LiveRegistry(
                    self._settings.registry, accepted, profiles, on_findings=_say_nothing, on_reload=_say_nothing
                )
            except RegistryInvalid:  # the workers log the findings
                if await self.pause(_EVERY_SECONDS):
                    return None

    async def _watch(self, live: LiveRegistry) -> None:
        stop = asyncio.Event()
        watching = asyncio.create_task(live.watch(stop))
        watch: Watch | None = None
        try:
            while True:
                watch = watch or self._begin(live)
                if watch is not None:
                    watch.look()
                if await self.pause(_EVERY_SECONDS):
                    return
        finally:
            stop.set()
            await watching
            if watch is not None:
                await watch.close()

    def _begin(self, live: LiveRegistry) -> Watch | None:
        try:
            settings, sender = self._settings, Sender(self._environ)
            return Watch(settings.data, lambda: live.current, sender, SystemClock(), at_rest=settings.at_rest)
        except (sqlite3.Error, OSError) as error:
            _log.warning("alerts wait for state.db (%s)", type(error).__name__)
            return None


class _Profiles:
    """The names of the redaction profiles; of broken rules, those that were there before."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.redaction
        self._names: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        with suppress(RedactionInvalid):  # the workers log the findings
            self._names = tuple(load_profiles(read_files(self._folder)))
        return self._names


def _holds(locks: WorkerLocks) -> bool:
    try:
        locks.hold(patience_seconds=0.1)
    except (ValueError, OSError):
        return False
    return True


def _say_nothing(told: tuple[Finding, ...] | Registry) -> None:
    """Leave it to the workers to log what became of the file."""
    del told
