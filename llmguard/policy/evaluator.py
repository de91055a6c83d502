"""Who evaluates rules for a server: the embedded engine, in a process of its own, or a remote Open Policy Agent.

The embedded engine cannot be interrupted while it evaluates, and holds the interpreter meanwhile. In a process of its
own a rule that takes too long, or too much memory, ends with that process: the request is denied, others go on.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import aiohttp

from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import Fault

COMMAND: Final = (sys.executable, "-m", "llmguard.policy.engine")
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_START_SECONDS: Final = 30.0
_LONGEST_LINE: Final = 1 << 24
_ORPHAN_SECONDS: Final = 1.0  # on top of the time-out: then the other process ends by itself
_OK: Final = 200
_log = logging.getLogger(__name__)


class NoVerdict(Exception):
    """Nobody could decide; the text says why, without any fact of the request.

    Attributes:
        file: the file of rules that was being evaluated; empty where nobody knows.
    """

    def __init__(self, words: str, file: str = "") -> None:
        """Say why."""
        super().__init__(words)
        self.file = file


class Evaluator(Protocol):
    """Who evaluates rules."""

    async def decide(self, document: JsonObject, seconds: float) -> JsonObject:
        """Return `decided` (what each package decides, unchecked) and `errors` (file, line, column, words).

        Raises:
            NoVerdict: there is no answer, or none in time.
        """
        ...

    async def close(self) -> None:
        """End it."""
        ...


def environment() -> dict[str, str]:
    """Return the environment of the other process: nothing that it has no use for, and so no secret."""
    return {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("COVERAGE_")}


class Embedded:
    """The engine in a process of its own, started again when it ends."""

    def __init__(self, files: Mapping[str, str]) -> None:
        """Take the files; the process starts with `start`, or with the first decision."""
        self._files = dict(files)
        self._turn = asyncio.Lock()
        self._under_way = 0
        self._at = ""  # the file that is being evaluated
        self._idle = asyncio.Event()
        self._idle.set()
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None

    async def start(self) -> None:
        """Start the process, and return when it could decide.

        Raises:
            NoVerdict: it does not start.
        """
        await asyncio.shield(self._started())

    async def decide(self, document: JsonObject, seconds: float) -> JsonObject:
        """See `Evaluator`; the time is that of one's own decision, and again as much for those before it.

        Raises:
            Fault: overloaded: others' decisions took all the time. That is no denial, and heals.
        """
        asked = {"document": document, "seconds": seconds + _ORPHAN_SECONDS}
        self._under_way += 1
        self._idle.clear()
        try:
            await self._take_turn(seconds)
            try:
                return await self._decide(asked, seconds)
            finally:
                self._turn.release()
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _take_turn(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise Fault(
                "overloaded",
                "Too many requests are waiting for a decision by the rules of the CoE.",
                hint="Try again in a moment; if this lasts, ask whoever runs llmguard for more workers.",
                retry_after_seconds=1,
            ) from None

    async def _decide(self, asked: JsonObject, seconds: float) -> JsonObject:
        self._at = ""
        try:
            async with asyncio.timeout(seconds):
                process = await asyncio.shield(self._started())
                try:
                    return await self._ask(process, asked)
                except BaseException:  # whatever it is, the next answer would be that of this question
                    self._end(process)
                    raise
        except TimeoutError:
            raise NoVerdict(f"it took longer than {seconds:g} s", self._at) from None
        except (OSError, ValueError, asyncio.IncompleteReadError):
            raise NoVerdict("the engine ended while it decided", self._at) from None

    async def close(self) -> None:
        """End the process, once it has decided what it was asked."""
        await self._idle.wait()
        starting, self._starting = self._starting, None
        if starting is not None:
            with suppress(NoVerdict, OSError, asyncio.CancelledError):
                process = await starting
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def _started(self) -> "asyncio.Task[asyncio.subprocess.Process]":
        if self._starting is None or (
            self._starting.done() and (self._starting.cancelled() or self._starting.exception() is not None)
        ):
            self._starting = asyncio.create_task(self._start())
        return self._starting

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=pipe, stdout=pipe, env=environment(), limit=_LONGEST_LINE, start_new_session=True
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                answer = await self._ask(process, {"files": self._files})
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            answer = {}
        if "packages" not in answer:
            with suppress(ProcessLookupError):
                process.kill()
            raise NoVerdict("the engine does not start")
        return process

    async def _ask(self, process: asyncio.subprocess.Process, question: JsonObject) -> JsonObject:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(json.dumps(question).encode() + b"\n")
        await process.stdin.drain()
        answer: JsonObject = {"at": ""}
        while "at" in answer:
            self._at = answer["at"]
            answer = json.loads(await process.stdout.readuntil(b"\n"))
        return answer

    def _end(self, process: asyncio.subprocess.Process) -> None:
        """Kill the process, and start the next one at once."""
        _log.error("the engine of the rules is started again")
        with suppress(ProcessLookupError):
            process.kill()
        self._starting = asyncio.create_task(self._start())


class RemoteOpa:
    """An Open Policy Agent elsewhere. It has the rules by its own means; here is only what it answers."""

    def __init__(self, url: str, token: str | None) -> None:
        """Ask the server at this base URL, with a bearer token where it wants one.

        Without `strict-builtin-errors` a rule that fails would silently not apply.
        """
        self._address = f"{url}/v1/data/llmguard/policies?strict-builtin-errors=true"
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def decide(self, document: JsonObject, seconds: float) -> JsonObject:
        """See `Evaluator`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.post(self._address, json={"input": document}, allow_redirects=False) as answer,
            ):
                if answer.status != _OK:
                    raise NoVerdict(f"the Open Policy Agent answered with status {answer.status}")
                body = await answer.json(content_type=None)
        except TimeoutError:
            raise NoVerdict(f"the Open Policy Agent took longer than {seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise NoVerdict("the Open Policy Agent cannot be reached or understood") from None
        return {"decided": _decisions_of(body), "errors": []}

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()


def _decisions_of(body: Any) -> JsonObject:  # Any: what the server sent
    packages = body.get("result") if isinstance(body, dict) else None
    if not isinstance(packages, dict):
        raise NoVerdict("the Open Policy Agent has no rules below data.llmguard.policies")
    decided = {
        name: package["decisions"]
        for name, package in packages.items()
        if isinstance(package, dict) and "decisions" in package
    }
    if not decided:  # it has lost them: without rules of our own, nobody would miss one
        raise NoVerdict("the Open Policy Agent has no rules below data.llmguard.policies")
    return decided
