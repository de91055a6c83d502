"""Retention beside the workers: once a day, for each data folder, payloads that are old enough go."""

import asyncio
import logging
import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from llmguard.audit.log import AuditLog
from llmguard.cli.background import Background
from llmguard.domain.catalog import Registry
from llmguard.domain.clock import SystemClock
from llmguard.evidence.erasure import carry_out, retention_order
from llmguard.quota.workers import WorkerLocks
from llmguard.redaction.profiles import RedactionInvalid, load_profiles, read_files
from llmguard.registry.accepted import AcceptedDamaged, AcceptedRegistries
from llmguard.registry.app_states import in_force, states_at
from llmguard.registry.check import check_registry
from llmguard.settings import Settings
from llmguard.traces.erasing import BEGUN
from llmguard.traces.errors import TraceQueryError, TraceStoreError

EVERY = timedelta(days=1)
_LOOK_SECONDS = 600.0
_FIRST_LOOK_SECONDS = 20.0
_ONLY_ONE = "retention"  # as a worker's name: taken while somebody has it
_log = logging.getLogger(__name__)


class Retaining(Background):
    """Carries out the registry's retention while it is entered, wherever it was not within a day."""

    name = "retention"

    def __init__(self, settings: Settings) -> None:
        """Serve one data folder."""
        super().__init__()
        self._settings = settings
        self._clock = SystemClock()

    async def run(self) -> None:
        """Look every few minutes, after a start that is left alone."""
        wait = _FIRST_LOOK_SECONDS
        while not await self.pause(wait):
            wait = _LOOK_SECONDS
            try:
                await asyncio.to_thread(self.look)
            except (TraceStoreError, TraceQueryError, AcceptedDamaged, sqlite3.Error, OSError) as error:
                _log.warning("retention waits (%s)", type(error).__name__)

    def look(self) -> None:
        """Do it if it is due and nobody else sees to it.

        Raises:
            TraceStoreError, TraceQueryError, AcceptedDamaged, sqlite3.Error, OSError: it has to wait.
        """
        locks = WorkerLocks(self._settings.data / "workers", _ONLY_ONE)
        try:
            locks.hold(patience_seconds=0.1)
        except ValueError:
            return  # another gateway of this data folder sees to it
        try:
            if is_due(self._settings.data, self._clock.now()) and (registry := self._registry()) is not None:
                outcome = carry_out(self._settings, retention_order(registry, self._clock.now()))
                _log.info("retention: the payloads of %d traces are gone", outcome.rows)
        finally:
            locks.drop()

    def _registry(self) -> Registry | None:
        """Return the registry as it is now; while it has findings nothing goes, since nobody knows what it wanted."""
        settings = self._settings
        profiles: tuple[str, ...] = ()
        with suppress(RedactionInvalid):
            profiles = tuple(load_profiles(read_files(settings.redaction)))
        accepted = AcceptedRegistries(settings.data / "registry").presets()
        registry = check_registry(settings.registry, profiles=profiles, accepted=accepted).registry
        return None if registry is None else in_force(registry, states_at(settings.data / "state.db"))


def is_due(data: Path, now: datetime) -> bool:
    """Whether retention was not carried out within a day, as the audit log has it."""
    recent = AuditLog(data / "state.db", SystemClock()).entries(since=now - EVERY)
    return not any(entry.what == BEGUN["retention"] for entry in recent)
