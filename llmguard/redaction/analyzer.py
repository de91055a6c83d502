"""Step 4, first half: which spans of a text are personal data or secrets, under one profile.

Findings are sorted and disjoint, and only of entities that the profile looks for. It refuses to know messages,
placeholders and what becomes of a finding. Nothing that fails in here lets a text pass: it becomes a `Fault`.
"""

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmguard.domain.errors import Fault
from llmguard.redaction.detector import Detector, Findings, Plan, uses_model
from llmguard.redaction.digest import rules_digest
from llmguard.redaction.findings import ExplainedFinding, Finding
from llmguard.redaction.ner import NerModel
from llmguard.redaction.patterns import PatternPass
from llmguard.redaction.prefilter_cache import DatabaseCache
from llmguard.redaction.profiles import Profile, load_profiles, read_files
from llmguard.redaction.recognizer_list import RECOGNIZERS_FILE, load_recognizers
from llmguard.redaction.workers import Workers

_INLINE_CHARACTERS = 1_000  # patterns alone take about a millisecond on these: not worth a thread
_JOB_CHARACTERS = 4_000  # short texts share a job up to here, so that a chat costs few thread switches
_CACHE_BYTES = 64 * 2**20
_ENTRY_BYTES = 300  # key, tuple and two dictionary slots; measured with sys.getsizeof
_FINDING_BYTES = 150
_TIME_LIMIT_SECONDS = 60.0
_WARM_UP = "Dana Lee (dana@example.com, +1 212 555 0123) lives in Paris; card 4111 1111 1111 1111, naïve “quotes” №."

Key = tuple[str, bytes]
_Job = list[tuple[Key, str]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What analyzers may share, since it costs seconds to make.

    Attributes:
        patterns: the recognizers of `recognizers.yaml`.
        ner: the language model, once a profile needed it.
        workers: the threads that it runs in.
        databases: where compiled patterns are kept for the next process and the next analyzer.
    """

    patterns: PatternPass
    ner: NerModel | None
    workers: Workers
    databases: DatabaseCache | None = None


class Analyzer:
    """The rules of one folder, ready to find; `find_all` belongs to one event loop, the rest to any thread.

    Attributes:
        digest: SHA-256 over everything that decides findings, in hex.
        profiles: by name.
        files: the folder's files by name, as they were read.
        parts: what a next analyzer may take over.
    """

    def __init__(
        self,
        files: Mapping[str, str],
        parts: Parts,
        *,
        time_limit_seconds: float = _TIME_LIMIT_SECONDS,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        """Put the parts together; `Analyzer.load` makes them.

        Args:
            files: the folder's files by name.
            parts: compiled from the same files.
            time_limit_seconds: what one text may take at most before it is refused; short ones get less.
            cache_bytes: how much memory the findings of texts seen before may take.

        Raises:
            RedactionInvalid: with everything that is wrong in `profiles.yaml` and the lists.
            ModelMissing: a profile needs a language model, and none is installed.
        """
        self.profiles: Mapping[str, Profile] = load_profiles(files)
        needs_model = any(uses_model(profile) for profile in self.profiles.values())
        ner = (parts.ner or NerModel.load()) if needs_model else None
        self.digest = rules_digest(files, ner.name if ner else "")
        self.files = files
        self.parts = parts if ner in (None, parts.ner) else replace(parts, ner=ner)
        self._detector = Detector(parts.patterns, ner, time_limit_seconds=time_limit_seconds)
        self._plans = {name: self._detector.prepare(profile) for name, profile in self.profiles.items()}
        self._cache = FindingsCache(cache_bytes)
        self._running: dict[Key, asyncio.Future[Findings]] = {}

    @classmethod
    def load(cls, folder: Path, *, previous: "Analyzer | None" = None, cache: Path | None = None) -> "Analyzer":
        """Return the analyzer of a folder of rules.

        Args:
            folder: the CoE's `redaction/`.
            cache: a folder of this user alone, where compiled patterns are kept: it spares the next start seconds.
            previous: an analyzer whose language model, threads and, if `recognizers.yaml` is the same, compiled
                patterns are taken over, and its cache; then this takes milliseconds instead of seconds.

        Raises:
            RedactionInvalid: with everything that is wrong in the folder.
            ModelMissing: a profile needs a language model, and none is installed.
        """
        files = read_files(folder)
        if previous is None:
            databases = DatabaseCache(cache) if cache else None
            patterns = PatternPass(load_recognizers(files), cache=databases)
            return cls(files, Parts(patterns, None, Workers(), databases))
        if previous.files.get(RECOGNIZERS_FILE) == files.get(RECOGNIZERS_FILE):
            return cls(files, previous.parts)
        patterns = PatternPass(load_recognizers(files), cache=previous.parts.databases)
        return cls(files, replace(previous.parts, patterns=patterns))

    def find(self, text: str, profile: Profile) -> Findings:
        """Return what is found in a text, at once and in this thread.

        Args:
            text: any length; long ones go through in windows, with the same findings.
            profile: one of `profiles`.

        Raises:
            Fault: `redaction_unavailable`, when the text could not be analysed; it holds nothing of the text.
        """
        key = cache_key(profile.name, text)
        known = self._cache.get(key)
        return self._analyse(key, text) if known is None else known

    async def find_all(self, texts: Sequence[str], profile: Profile) -> list[Findings]:
        """Return the findings of each text, without blocking the event loop.

        Texts seen before come from the cache, and a text that is under way is not analysed twice.

        Raises:
            Fault: `redaction_unavailable` as in `find`; `overloaded` when too much is waiting.
        """
        plan = self._plans[profile.name]
        keys = [cache_key(profile.name, text) for text in texts]
        known = self._cache.get_all(keys)
        waiting: dict[Key, str] = {}
        for key, text in zip(keys, texts, strict=True) if len(known) < len(keys) else ():
            if key in known:
                continue
            if _is_quick(plan, text):
                known[key] = self._analyse(key, text)
            else:
                waiting[key] = text
        if waiting:
            known |= await self._wait_for(waiting)
        return [known[key] for key in keys]

    def explain(self, text: str, profile: Profile) -> list[ExplainedFinding]:
        """Return every span that was proposed, with what became of it and why: for `llmguard redaction try`.

        Raises:
            Fault: as `find`.
        """
        return self._detector.explain(self._plans[profile.name], text)

    def warm_up(self) -> None:
        """Touch everything that is made on first use, so that the first request is not slow."""
        for name, plan in self._plans.items():
            self._detector.find(plan, _WARM_UP + f" {name}")

    def close(self) -> None:
        """Stop the threads; an analyzer that shares them stops with it."""
        self.parts.workers.close()

    def _analyse(self, key: Key, text: str) -> Findings:
        findings = self._detector.find(self._plans[key[0]], text)
        self._cache.put(key, findings)
        return findings

    async def _wait_for(self, waiting: dict[Key, str]) -> dict[Key, Findings]:
        fresh = [(key, text) for key, text in waiting.items() if key not in self._running]
        jobs, together = _jobs(fresh), sum(len(text) for _, text in fresh)
        if len(jobs) > 1:  # all of them or none
            self.parts.workers.check(together)
        for job in jobs:
            self._start(job, together)
        running = {key: self._running[key] for key in waiting}
        await asyncio.wait(running.values())  # unlike gather, it leaves them running for others when we are cancelled
        return {key: future.result() for key, future in running.items()}

    def _start(self, job: _Job, together: int) -> None:
        """Start one job of a request that brings so many characters together, and a future for each of its texts.

        Raises:
            Fault: `overloaded`.
        """
        done = self.parts.workers.submit(
            lambda: [self._analyse(key, text) for key, text in job], sum(len(text) for _, text in job), of=together
        )
        for key, _ in job:
            self._running[key] = done.get_loop().create_future()
        done.add_done_callback(lambda _: self._finish(job, done))

    def _finish(self, job: _Job, done: "asyncio.Future[list[Findings]]") -> None:
        """Hand the results of a job, or its failure, to all who wait for them."""
        stopped = Fault("redaction_unavailable", "The gateway is stopping.", retry_after_seconds=1)
        error = stopped if done.cancelled() else done.exception()
        for place, (key, _) in enumerate(job):
            future = self._running.pop(key)
            if error is None:
                future.set_result(done.result()[place])
            else:
                future.set_exception(error)
                future.exception()  # counts as retrieved, should every caller have hung up


def _is_quick(plan: Plan, text: str) -> bool:
    return len(text) <= (_INLINE_CHARACTERS if plan.ner is None else 0)


def _jobs(texts: _Job) -> list[_Job]:
    """Return the texts in jobs: short ones together."""
    jobs: list[_Job] = []
    held_characters = _JOB_CHARACTERS
    for key, text in texts:
        if held_characters + len(text) > _JOB_CHARACTERS:
            jobs.append([])
            held_characters = 0
        jobs[-1].append((key, text))
        held_characters += len(text)
    return jobs


def cache_key(profile: str, text: str) -> Key:
    """Return the key of a text under a profile: 16 bytes of BLAKE2b, so that two texts never share one."""
    return profile, hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class FindingsCache:
    """Findings by digest of the text, least recently used first out; never a text. Safe to use from several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[Key, tuple[Finding, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> tuple[Finding, ...] | None:
        """Return the findings of a text that was analysed before, or None."""
        return self.get_all([key]).get(key)

    def get_all(self, keys: Iterable[Key]) -> dict[Key, tuple[Finding, ...]]:
        """Return the findings of those texts that were analysed before."""
        with self._lock:
            known = {key: self._entries[key] for key in keys if key in self._entries}
            for key in known:
                self._entries.move_to_end(key)
            return known

    def put(self, key: Key, findings: tuple[Finding, ...]) -> None:
        """Remember findings, and forget the least recently used ones beyond the limit."""
        with self._lock:
            replaced = self._entries.pop(key, None)
            if replaced is not None:
                self.held_bytes -= _size(replaced)
            self._entries[key] = findings
            self.held_bytes += _size(findings)
            while self.held_bytes > self._limit_bytes:
                _, forgotten = self._entries.popitem(last=False)
                self.held_bytes -= _size(forgotten)


def _size(findings: tuple[Finding, ...]) -> int:
    return _ENTRY_BYTES + _FINDING_BYTES * len(findings)
