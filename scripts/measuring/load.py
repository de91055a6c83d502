"""Callers that ask as fast as they are answered, or so many times a second; a process of its own, one thread.

Reads a `Load` as JSON from standard input and prints a `Measured` as JSON. In a closed loop each caller sends its next
request when it has its answer. With a rate, requests are sent on time whether or not others are answered, and a wait
counts from the moment a request was due.
"""

import asyncio
import json
import os
import re
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import Literal

import uvloop

from scripts.measuring.provider_mock import ends

Mode = Literal["again", "once"]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OK = 200
_TICK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked, by how many, for how long.

    Attributes:
        port: on 127.0.0.1.
        path: of the POST.
        headers: besides content type and length.
        bodies: JSON texts, taken in turn.
        mode: `again` and again, or each `once`: then the load may end before its time.
        callers: at once, in a closed loop.
        seconds: how long new requests are sent.
        rate: requests a second, instead of a closed loop.
        patience_seconds: how long answers are waited for afterwards; what is open then hangs.
        core: to stay on.
    """

    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    mode: Mode = "again"
    callers: int = 1
    seconds: float = 1.0
    rate: float | None = None
    patience_seconds: float = 30.0
    core: int | None = None


@dataclass(slots=True)
class Measured:
    """What came of a load; milliseconds are of answers with status 200, unless it says `any`."""

    seconds: float = 0.0
    ok: int = 0
    rps: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    refusals_with_retry_after: int = 0
    broken: int = 0
    hanging: int = 0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    longest_ms: float = 0.0
    longest_any_ms: float = 0.0
    first_byte_p50_ms: float = 0.0
    first_byte_p99_ms: float = 0.0


class Crowd:
    """All callers of one load, and what they saw."""

    def __init__(self, load: Load) -> None:
        self.load = load
        lines = [f"POST {load.path} HTTP/1.1", f"host: 127.0.0.1:{load.port}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in load.headers.items()]
        head = "\r\n".join(lines).encode()
        requests = [head + b"\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body) for body in _bytes(load.bodies)]
        self.requests: Iterator[bytes] = cycle(requests) if load.mode == "again" else iter(requests)
        self.open = 0
        self.idle: deque[Caller] = deque()
        self.waits: list[float] = []
        self.first_bytes: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        self.retry_after = self.broken = 0
        self.longest_any = self.ends_at = self.last_answer = 0.0
        self.exhausted = False

    async def run(self) -> Measured:
        """Send the load, and wait for what is open at its end."""
        begun = self.last_answer = time.perf_counter()
        self.ends_at = begun + self.load.seconds
        if self.load.rate is None:
            await asyncio.gather(*(self._connect() for _ in range(self.load.callers)))
            await self._wait_for_the_open()
        else:
            await self._keep_rate(begun, self.load.rate)
        return self._measured(begun)

    async def _keep_rate(self, begun: float, rate: float) -> None:
        sent, opening = 0, set()
        while (now := time.perf_counter()) < self.ends_at:
            for number in range(sent, int((now - begun) * rate)):
                due = begun + number / rate
                if self.idle:
                    self.idle.popleft().ask(due)
                else:
                    self.open += 1  # also while it is not even connected
                    task = asyncio.create_task(self._connect(due))
                    opening.add(task)
                    task.add_done_callback(opening.discard)
                sent = number + 1
            await asyncio.sleep(_TICK_SECONDS)
        await self._wait_for_the_open()

    async def _wait_for_the_open(self) -> None:
        while self.open and time.perf_counter() < self.ends_at + self.load.patience_seconds:  # noqa: ASYNC110 - simple
            await asyncio.sleep(0.01)

    async def _connect(self, due: float | None = None) -> None:
        """Open a connection and send its first request."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: Caller(self, due), "127.0.0.1", self.load.port)
        except OSError:
            self.broken += 1
            self.open -= due is not None

    def again(self) -> None:
        """Replace a connection that the server closed, in a closed loop."""
        if self.load.rate is None and time.perf_counter() < self.ends_at:
            self._reconnecting = asyncio.ensure_future(self._connect())

    def _measured(self, begun: float) -> Measured:
        self.waits.sort()
        self.first_bytes.sort()
        # until the last answer: the last requests of slow servers end long after the time is up, or before it
        seconds = self.last_answer - begun if self.exhausted else max(self.last_answer - begun, self.load.seconds)
        return Measured(
            seconds=seconds,
            ok=len(self.waits),
            rps=len(self.waits) / seconds if seconds else 0.0,
            statuses={str(status): count for status, count in self.statuses.items()},
            codes=dict(self.codes),
            refusals_with_retry_after=self.retry_after,
            broken=self.broken,
            hanging=self.open,
            p50_ms=share(self.waits, 0.5),
            p90_ms=share(self.waits, 0.9),
            p99_ms=share(self.waits, 0.99),
            longest_ms=share(self.waits, 1),
            longest_any_ms=self.longest_any * 1000,
            first_byte_p50_ms=share(self.first_bytes, 0.5),
            first_byte_p99_ms=share(self.first_bytes, 0.99),
        )


class Caller(asyncio.Protocol):
    """One connection: sends a request, reads its answer, and goes on."""

    def __init__(self, crowd: Crowd, due: float | None) -> None:
        self._crowd = crowd
        self._due = due
        self._counted = due is not None
        self._asking = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = transport  # type: ignore[assignment] # a stream's, by protocol
        self.ask(self._due)

    def ask(self, due: float | None = None) -> None:
        """Send the next request, if there is one."""
        crowd = self._crowd
        request = next(crowd.requests, None)
        if request is None:
            crowd.exhausted = True
            crowd.open -= self._counted
            self._counted = False
            self._transport.close()
            return
        if not self._counted:
            crowd.open += 1
            self._counted = True
        self._read, self._headed, self._first = b"", False, 0.0
        self._asking = True
        self._asked = due if due is not None else time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read on, until the answer is complete."""
        if not self._headed:
            self._read += data
            end = self._read.find(b"\r\n\r\n")
            if end < 0:
                return
            self._headed = True
            self._status = int(self._read[9:12])
            self._head = self._read[:end].lower()
            length = _LENGTH.search(self._head)
            self._left = int(length[1]) if length else None
            data = self._read = self._read[end + 4 :]
        elif self._status == _OK:  # only the end matters
            self._read = self._read[-8:] + data
        else:
            self._read += data
        if data and not self._first:
            self._first = time.perf_counter()
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._answered()
        elif ends(self._read):
            self._answered()

    def _answered(self) -> None:
        crowd, now = self._crowd, time.perf_counter()
        self._asking = False
        crowd.last_answer = now
        wait = now - self._asked
        crowd.statuses[self._status] += 1
        crowd.longest_any = max(crowd.longest_any, wait)
        if self._status == _OK:
            crowd.waits.append(wait)
            crowd.first_bytes.append(self._first - self._asked)
        else:
            crowd.codes[_code(self._read)] += 1
            crowd.retry_after += b"\r\nretry-after:" in self._head
        closing = b"\r\nconnection: close" in self._head
        if crowd.load.rate is not None or now >= crowd.ends_at or closing:
            crowd.open -= 1
            self._counted = False
            if crowd.load.rate is not None and not closing:
                crowd.idle.append(self)
                return
            self._transport.close()
            if closing:
                crowd.again()
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count an answer that broke off."""
        del exc
        crowd = self._crowd
        if self in crowd.idle:
            crowd.idle.remove(self)
        if self._asking:
            crowd.broken += 1
            crowd.open -= 1
            self._counted = self._asking = False
            crowd.again()


def share(ordered: list[float], part: float) -> float:
    """Return a quantile of sorted seconds, in milliseconds; 0 of nothing."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000 if ordered else 0.0


def _code(body: bytes) -> str:
    try:
        error = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["error"]
        return str(error["code"])
    except (ValueError, KeyError, TypeError):
        return "no code"


def _bytes(bodies: list[str]) -> list[bytes]:
    return [body.encode() for body in bodies]


def main() -> None:
    load = Load(**json.load(sys.stdin))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})
    print(json.dumps(asdict(uvloop.run(Crowd(load).run()))))


if __name__ == "__main__":
    main()
