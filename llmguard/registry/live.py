"""The registry that requests are served by: reloaded when the file changes, and never replaced by a broken one."""

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from watchfiles import awatch

from llmguard.domain.catalog import Registry
from llmguard.registry.accepted import AcceptedDamaged, AcceptedRegistries, accepted_digests
from llmguard.registry.check import Checked, check_source, shown_path, unreadable
from llmguard.registry.finding import Finding, RegistryInvalid
from llmguard.registry.prices import PriceMap

_POLL_SECONDS = 0.5  # the net below watchfiles: a change that it misses is still seen within a second
_SETTLE_SECONDS = 0.05  # a file that changed this recently may still be in the middle of being written
_SETTLE_ROUNDS = 10
_STEP_MS = 100  # watchfiles wakes a thread as often, which takes its turn from requests

_Stamp = tuple[int, int, int, int] | None  # device, inode, size and time of change; None: no file

_logger = logging.getLogger(__name__)


class LiveRegistry:
    """One for each worker. Reads are plain attribute reads; checking happens off the event loop."""

    def __init__(
        self,
        path: Path,
        accepted: AcceptedRegistries,
        profiles: Callable[[], Collection[str]],
        *,
        on_findings: Callable[[tuple[Finding, ...]], None] | None = None,
        on_reload: Callable[[Registry], None] | None = None,
    ) -> None:
        """Load the file; if it has findings, go on with the registry that was accepted last.

        Args:
            path: the registry file; may be a symbolic link, or lie in a folder that is one.
            accepted: what was accepted before; shared by all workers.
            profiles: gives the names of the redaction profiles at each check.
            on_findings: called with all findings when a file is not accepted, once and not at each look; default: log.
            on_reload: called with the registry when another one takes over, or when findings are gone; default: log.

        Raises:
            RegistryInvalid: the file has findings, and nothing accepted before is usable.
        """
        self._path = path
        self._file = shown_path(path)
        self._accepted = accepted
        self._profiles = profiles
        self._prices = PriceMap()
        self._on_findings = on_findings or _log_findings
        self._on_reload = on_reload or _log_reload
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stamp: _Stamp = None
        self._must_retry = False
        self._findings: tuple[Finding, ...] = ()
        checked = self._check()
        self._findings = checked.findings
        self._current = checked.registry or self._last_accepted()
        if self._findings:
            self._on_findings(self._findings)

    @property
    def current(self) -> Registry:
        """The registry to serve by; replaced whole, so a request keeps the one that it began with."""
        return self._current

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the file as it is now; empty when it is the one that is served."""
        return self._findings

    async def reload(self) -> None:
        """Check the file again now, as when the redaction profiles have changed."""
        async with self._turn:
            checked = await asyncio.to_thread(self._check)
            self._take(checked)

    async def watch(self, stop: asyncio.Event) -> None:
        """Reload within a second of each change of the file, until told to stop."""
        done = asyncio.Event()  # of its own: a cancelled awatch sets the event that it was given
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(done))
            tasks.create_task(self._look(done))
            await stop.wait()
            done.set()
            self._wake.set()

    async def _listen(self, done: asyncio.Event) -> None:
        """Wake up on any change in the folder: editors replace files, and Kubernetes swaps a link beside them."""
        folders = {self._path.absolute().parent, self._path.resolve().parent}
        try:
            async for _ in awatch(*folders, watch_filter=None, recursive=False, step=_STEP_MS, stop_event=done):
                self._wake.set()
        except (OSError, RuntimeError) as error:  # no more inotify watches, or the folder is gone
            _logger.warning("watching %s failed (%s); looking every %s s", self._file, error, _POLL_SECONDS)

    async def _look(self, done: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            if done.is_set():
                return
            if self._must_retry or _stamp(self._path) != self._stamp:
                await self._settle()
                await self.reload()

    async def _settle(self) -> None:
        """Wait until the file keeps still: the first half of a file can be a valid registry, with apps missing."""
        before = _stamp(self._path)
        for _ in range(_SETTLE_ROUNDS):
            await asyncio.sleep(_SETTLE_SECONDS)
            now = _stamp(self._path)
            if now == before:
                return
            before = now

    def _check(self) -> Checked:
        """Return what the file is worth, and record it if it is right. Runs in a thread."""
        self._stamp = _stamp(self._path)  # before reading: what changes meanwhile is looked at again
        self._must_retry = False
        try:
            source = self._path.read_bytes()
        except OSError as error:
            return unreadable(self._file, error)
        try:
            return self._check_and_accept(source)
        except OSError as error:
            said = f"what was accepted before cannot be read or written: {error.strerror}"
        except AcceptedDamaged as error:
            said = str(error)
        self._must_retry = True
        return Checked(
            None, (Finding(self._file, 1, 1, "", said, None, "check the data folder: its rights, and its disk"),)
        )

    def _check_and_accept(self, source: bytes) -> Checked:
        pinned = self._accepted.presets()
        while True:
            checked = self._check_source(source, pinned)
            if checked.registry is None:
                return checked
            pinned = self._accepted.accept(checked.registry, source)
            if accepted_digests(checked.registry).items() <= pinned.items():
                return checked
            # Another worker was faster with other content of one of these presets: the next round finds that.

    def _check_source(self, source: bytes, pinned: dict[str, str]) -> Checked:
        return check_source(source, file=self._file, profiles=self._profiles(), accepted=pinned, prices=self._prices)

    def _last_accepted(self) -> Registry:
        """Return the registry that was accepted last.

        Raises:
            RegistryInvalid: there is none, or it is none any more.
        """
        try:
            last = self._accepted.last()
            if last is not None:
                checked = self._check_source(last.source, self._accepted.presets())
                if checked.registry is not None and checked.registry.digest == last.digest:
                    return checked.registry
        except (OSError, AcceptedDamaged):
            pass  # its finding is among those raised
        raise RegistryInvalid(self._findings)

    def _take(self, checked: Checked) -> None:
        findings_before, self._findings = self._findings, checked.findings
        if checked.registry is None:
            if self._findings != findings_before:
                self._on_findings(self._findings)
            return
        digest_before, self._current = self._current.digest, checked.registry
        if findings_before or checked.registry.digest != digest_before:
            self._on_reload(checked.registry)


def _log_findings(findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        _logger.error("registry not accepted: %s", finding)


def _log_reload(registry: Registry) -> None:
    _logger.info("registry accepted: %s", registry.digest)


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
