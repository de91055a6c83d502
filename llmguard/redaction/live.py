"""Follows the folder of redaction rules: a good edit is live within a second, a broken one changes nothing."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import watchfiles

from llmguard.redaction.analyzer import Analyzer
from llmguard.redaction.profiles import RedactionInvalid, RuleFinding, read_files

_logger = logging.getLogger(__name__)
_POLL_SECONDS = 1.0  # some file systems report no changes: look at the files' times and sizes as well

_Stamp = tuple[tuple[str, int, int], ...]


class LiveAnalyzer:
    """The analyzer in force, and what is wrong with a newer state of the folder, if anything is.

    Attributes:
        current: the newest analyzer that could be built; take it once per request.
        findings: why the folder's present state is not in force; empty when it is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path | None = None,
        on_reload: Callable[[Analyzer], None] = lambda _: None,
        ready: Analyzer | None = None,
    ) -> None:
        """Load the folder.

        Args:
            folder: the CoE's `redaction/`.
            cache: a folder of this user alone for compiled patterns, such as `redaction-cache` in the data folder.
            ready: an analyzer that was made before, of this folder as it is or as it was.
            on_reload: is called with each newer analyzer as it takes over.

        Raises:
            RedactionInvalid: it cannot be used, and there is no older state to keep.
        """
        self._folder = folder
        self._on_reload = on_reload
        self._stamp = _stamp(folder)
        is_fresh = ready is not None and read_files(folder) == ready.files
        self.current = ready if ready and is_fresh else Analyzer.load(folder, previous=ready, cache=cache)
        self.findings: tuple[RuleFinding, ...] = ()

    async def watch(self, stop: asyncio.Event) -> None:
        """Follow the folder until `stop` is set; building a new analyzer does not block the event loop."""
        noticed = asyncio.Event()
        notifier = asyncio.create_task(self._listen(noticed, stop))
        try:
            while not stop.is_set():
                await _first_of(noticed, stop)
                noticed.clear()
                await self.refresh()
        finally:
            notifier.cancel()

    async def refresh(self) -> None:
        """Put the folder's state in force if it changed and is good; else keep the analyzer and note the findings."""
        stamp = await asyncio.to_thread(_stamp, self._folder)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            fresh = await asyncio.to_thread(_load_warm, self._folder, self.current)
        except RedactionInvalid as error:
            self._keep(error.findings)
        except Exception as error:  # noqa: BLE001  # the border of a background task: the last good rules stay
            self._keep((RuleFinding(str(self._folder), "", f"cannot be loaded ({type(error).__name__})"),))
        else:
            self.current, self.findings = fresh, ()
            self._on_reload(fresh)
            _logger.info("New redaction rules are in force: %s", fresh.digest[:12])

    def _keep(self, findings: tuple[RuleFinding, ...]) -> None:
        self.findings = findings
        _logger.warning("The redaction rules in %s are broken; the last good ones stay in force.", self._folder)

    async def _listen(self, noticed: asyncio.Event, stop: asyncio.Event) -> None:
        """Set `noticed` when the system reports a change in the folder."""
        try:
            async for _ in watchfiles.awatch(self._folder, stop_event=stop, step=50, debounce=200):
                noticed.set()
        except OSError:  # the folder is gone or cannot be watched: polling goes on
            _logger.warning("The folder %s cannot be watched; its files are looked at every second.", self._folder)


def _load_warm(folder: Path, previous: Analyzer) -> Analyzer:
    analyzer = Analyzer.load(folder, previous=previous)
    analyzer.warm_up()
    return analyzer


def _stamp(folder: Path) -> _Stamp:
    """Return names, times and sizes of the folder's files; empty when it cannot be read."""
    try:
        found = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.suffix in {".yaml", ".txt"}]
    except OSError:
        return ()
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in found)


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set or the poll interval is over."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
