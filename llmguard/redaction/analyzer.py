"""Step 4, first half: which spans of a text are personal data or secrets, under one profile.

Findings are sorted and disjoint, and only of entities that the profile looks for. It refuses to know messages,
placeholders and what becomes of a finding. Nothing that fails in here lets a text pass: it becomes a `Fault`.
"""

import asyncio
import hashlib
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from struct import Struct

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
_CACHE_BYTES = 24 * 2**20
_GENERATIONS = 16
_TEXTS_A_GENERATION = 5_461  # as many as a dictionary of 2**13 slots has room for: 87,376 texts in all
_ENTRY_BYTES = 150  # at most: key 48, slots of the dictionary 54, and what bytes take beside their content
_FINDING = Struct("<III")  # start, end, and what it is: a tenth of what an object takes
_MOST_UNPACKED = 10_000  # findings and texts that are at hand as objects: 1.5 MB
_TIME_LIMIT_SECONDS = 60.0
_WARM_UP = (
    "Dana Lee (dana@example.com, phone: +1 212 555 0123) lives in Paris; card 4111 1111 1111 1111, naïve “quotes” №."
)

Key = bytes
_Job = list[tuple[Key, str]]
_Kind = tuple[str, float, str]  # entity, score, recognizer


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
        return self._analyse(self._plans[profile.name], key, text) if known is None else known

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
                known[key] = self._analyse(plan, key, text)
            else:
                waiting[key] = text
        if waiting:
            known |= await self._wait_for(plan, waiting)
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

    def _analyse(self, plan: Plan, key: Key, text: str) -> Findings:
        findings = self._detector.find(plan, text)
        self._cache.put(key, findings)
        return findings

    async def _wait_for(self, plan: Plan, waiting: dict[Key, str]) -> dict[Key, Findings]:
        fresh = [(key, text) for key, text in waiting.items() if key not in self._running]
        jobs, together = _jobs(fresh), sum(len(text) for _, text in fresh)
        if len(jobs) > 1:  # all of them or none
            self.parts.workers.check(together)
        for job in jobs:
            self._start(plan, job, together)
        running = {key: self._running[key] for key in waiting}
        await asyncio.wait(running.values())  # unlike gather, it leaves them running for others when we are cancelled
        return {key: future.result() for key, future in running.items()}

    def _start(self, plan: Plan, job: _Job, together: int) -> None:
        """Start one job of a request that brings so many characters together, and a future for each of its texts.

        Raises:
            Fault: `overloaded`.
        """
        done = self.parts.workers.submit(
            lambda: [self._analyse(plan, key, text) for key, text in job],
            sum(len(text) for _, text in job),
            of=together,
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
    """Return the key of a text under a profile: 15 bytes of BLAKE2b, so that two texts never share one.

    One more, and Python would take 64 bytes for it in place of 48.
    """
    return hashlib.blake2b(f"{profile}\0{text}".encode("utf-8", "surrogatepass"), digest_size=15).digest()


class FindingsCache:
    """Findings by digest of the text, those not used for longest out first; never a text. Safe to use from threads.

    Texts that come, or come again, join the newest of some generations, and the oldest is forgotten as a whole: so the
    memory stays the same, where a dictionary whose keys come and go is made anew, and larger, after a hundred thousand.
    Findings are kept as numbers; those of texts that came again lately also as objects, until there are enough of them.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._most_bytes = limit_bytes // _GENERATIONS
        self._generations: deque[dict[Key, bytes]] = deque([{}], _GENERATIONS)  # the newest first
        self._held: deque[int] = deque([0], _GENERATIONS)  # bytes of each
        self._unpacked: dict[Key, tuple[Finding, ...]] = {}
        self._unpacked_size = 0
        self._kinds: list[_Kind] = []  # as many as rules and scores make
        self._place_of: dict[_Kind, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._generations))

    @property
    def held_bytes(self) -> int:
        """How much memory is taken by what is kept, but for a little that is at hand as objects."""
        return sum(self._held)

    def get(self, key: Key) -> tuple[Finding, ...] | None:
        """Return the findings of a text that was analysed before, or None."""
        return self.get_all([key]).get(key)

    def get_all(self, keys: Sequence[Key]) -> dict[Key, tuple[Finding, ...]]:
        """Return the findings of those texts that were analysed before."""
        with self._lock:
            known = {key: self._unpacked[key] for key in keys if key in self._unpacked}
            for key in keys if len(known) < len(keys) else ():
                if key not in known and (packed := self._recall(key)) is not None:
                    known[key] = self._unpack(key, packed)
            return known

    def put(self, key: Key, findings: tuple[Finding, ...]) -> None:
        """Remember findings, and forget what was not used for longest beyond the limits."""
        with self._lock:
            self._keep(key, b"".join(_FINDING.pack(one.start, one.end, self._place(one)) for one in findings))

    def _recall(self, key: Key) -> bytes | None:
        """Return what is kept of a text, which is now among the newest."""
        for generation in self._generations:
            packed = generation.get(key)
            if packed is not None:
                if generation is not self._generations[0]:
                    self._keep(key, generation.pop(key))
                return packed
        return None

    def _keep(self, key: Key, packed: bytes) -> None:
        size = _ENTRY_BYTES + len(packed)
        if size > self._most_bytes or key in self._generations[0]:
            return
        if self._held[0] + size > self._most_bytes or len(self._generations[0]) >= _TEXTS_A_GENERATION:
            self._generations.appendleft({})
            self._held.appendleft(0)
        self._generations[0][key] = packed
        self._held[0] += size

    def _unpack(self, key: Key, packed: bytes) -> tuple[Finding, ...]:
        kinds = self._kinds
        findings = tuple([Finding(start, end, *kinds[place]) for start, end, place in _FINDING.iter_unpack(packed)])
        self._unpacked_size += 1 + len(findings)
        if self._unpacked_size > _MOST_UNPACKED:
            self._unpacked.clear()
            self._unpacked_size = 1 + len(findings)
        self._unpacked[key] = findings
        return findings

    def _place(self, one: Finding) -> int:
        """Return where it stands of what kind a finding is."""
        kind = (one.entity_type, one.score, one.recognizer)
        place = self._place_of.get(kind)
        if place is None:
            place = self._place_of[kind] = len(self._kinds)
            self._kinds.append(kind)
        return place
