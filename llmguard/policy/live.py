"""Follows the folder of rules: a good edit is in force within a second, a broken one changes nothing.

Every state that was in force is kept once in the data folder, under its digest, so that older traces can be understood
and decided again.
"""

import asyncio
import logging
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import watchfiles

from llmguard.policy.evaluator import Embedded, NoVerdict
from llmguard.policy.judge import Policies
from llmguard.policy.rego_files import CheckedPolicies, PolicyFinding, RuleSet, check_policies

_POLL_SECONDS: Final = 0.5
_SETTLE_SECONDS: Final = 0.05
_STEP_MS: Final = 100  # watchfiles wakes a thread as often, which takes its turn from requests
_LAST: Final = "last"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_logger = logging.getLogger(__name__)
_Stamp = tuple[tuple[str, int, int], ...] | None  # None: there is no folder


class PoliciesInvalid(Exception):
    """The rules cannot be used, and there are no earlier ones to go on with; `findings` say why."""

    def __init__(self, findings: tuple[PolicyFinding, ...]) -> None:
        """Keep all findings; the text lists them, one a line."""
        super().__init__("\n".join(f"policies/{finding}" for finding in findings))
        self.findings = findings


class KeptPolicies:
    """The rules of one data folder by digest; only ever added to. They are the CoE's, reviewed in git: no secrets."""

    def __init__(self, folder: Path) -> None:
        """Keep them in this folder, which is made with the first."""
        self._folder = folder

    def keep(self, rules: RuleSet) -> None:
        """Write rules under their digest, unless they are there, and remember that they were in force last.

        Raises:
            OSError: they cannot be written.
        """
        if rules.files and not (self._folder / rules.digest).exists():
            self._write(rules.digest, msgspec.json.encode(dict(rules.files)))
        if rules.files or self._folder.exists():
            self._write(_LAST, rules.digest.encode())

    def find(self, digest: str) -> RuleSet | None:
        """Return the rules under a digest; None if they were never kept."""
        try:
            content = (self._folder / digest).read_bytes() if _DIGEST.fullmatch(digest) else b""
            found = RuleSet(msgspec.json.decode(content, type=dict[str, str]))
        except (OSError, msgspec.MsgspecError):
            return None
        return found if found.digest == digest else None

    def last(self) -> RuleSet | None:
        """Return the rules that were in force last; None if there were none."""
        try:
            return self.find((self._folder / _LAST).read_text())
        except OSError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / name)


def accept(folder: Path, kept: KeptPolicies) -> CheckedPolicies:
    """Return the rules to begin with: those of the folder, or those in force last where it has findings or is gone.

    Raises:
        PoliciesInvalid: the folder has findings, and nothing was in force before.
    """
    last, checked = kept.last(), check_policies(folder)
    findings = checked.findings
    if last is not None and last.files and not folder.exists():
        findings = (_gone(folder),)
    if not findings:
        kept.keep(checked.rules)
        return checked
    if last is None:
        raise PoliciesInvalid(findings)
    return CheckedPolicies(last, {}, findings)


class LivePolicies:
    """Keeps the rules of a folder in force in one worker.

    Attributes:
        findings: why the folder's present state is not in force; empty when it is.
    """

    def __init__(self, folder: Path, kept: KeptPolicies, policies: Policies) -> None:
        """Take the folder, where its states are kept, and what judges by them.

        Raises:
            PoliciesInvalid: the folder has findings, and nothing was in force before.
        """
        self._folder = folder
        self._kept = kept
        self._policies = policies
        self._stamp = _stamp(folder)
        checked = accept(folder, kept)
        self._had_folder = self._stamp is not None or bool(checked.rules.files)
        self._first = checked.rules
        self.findings: tuple[PolicyFinding, ...] = ()
        self._report(checked.findings)

    async def start(self) -> None:
        """Put the rules in force that the worker begins with; call it before the first request."""
        await self._use(self._first)

    async def watch(self, stop: asyncio.Event) -> None:
        """Follow the folder until told to stop."""
        done, wake = asyncio.Event(), asyncio.Event()
        listener = asyncio.create_task(self._listen(done, wake))
        stopper = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                woken = asyncio.create_task(wake.wait())
                await asyncio.wait((stopper, woken), timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                wake.clear()
                if not stop.is_set() and _stamp(self._folder) != self._stamp:
                    await asyncio.sleep(_SETTLE_SECONDS)  # several files are often written together
                    await self._reload()
        finally:
            done.set()
            listener.cancel()
            stopper.cancel()

    async def _listen(self, done: asyncio.Event, wake: asyncio.Event) -> None:
        while not done.is_set():
            with suppress(OSError, RuntimeError):  # no folder, or no more watches: looking goes on
                async for _ in watchfiles.awatch(self._folder, stop_event=done, step=_STEP_MS, debounce=200):
                    wake.set()
            await asyncio.sleep(_POLL_SECONDS)

    async def _reload(self) -> None:
        self._stamp = _stamp(self._folder)
        if self._stamp is None and self._had_folder:
            self._report((_gone(self._folder),))
            return
        self._had_folder = True
        checked = await asyncio.to_thread(check_policies, self._folder)
        if not checked.findings and checked.rules != self._policies.rules:
            try:
                await asyncio.to_thread(self._kept.keep, checked.rules)
                await self._use(checked.rules)
            except (OSError, NoVerdict) as error:
                words = "cannot be kept in the data folder" if isinstance(error, OSError) else str(error)
                checked = CheckedPolicies(checked.rules, {}, (PolicyFinding("", 1, 1, words, "check disk and rights"),))
                self._stamp = ()  # to be tried again
        self._report(checked.findings)

    async def _use(self, rules: RuleSet) -> None:
        evaluator = Embedded(rules.files) if rules.packages else None
        if evaluator is not None:
            await evaluator.start()
        before = self._policies.use(rules, evaluator)
        _logger.info("the policies %s are in force", rules.digest[:12] or "(none)")
        if before is not None:
            await before.close()

    def _report(self, findings: tuple[PolicyFinding, ...]) -> None:
        if findings != self.findings:
            for finding in findings:
                _logger.error("the last accepted policies stay in force: policies/%s", finding)
        self.findings = findings


def _gone(folder: Path) -> PolicyFinding:
    fix = "bring it back; an empty folder means that there are no rules"
    return PolicyFinding("", 1, 1, f"the folder {folder} is gone", fix)


def _stamp(folder: Path) -> _Stamp:
    """Return names, times and sizes of the folder's rules."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".rego")]
    except OSError:
        return () if folder.is_dir() else None
    return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in found))
