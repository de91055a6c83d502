"""Who answers a repeated request: the first one does, and everybody else waits for it and gets the same answer."""

import asyncio
import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from llmguard.domain.errors import Fault, Refusal
from llmguard.idempotency.store import AnswerStore, KeptAnswer, Named

HEADER: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_LOOK_SECONDS: Final = 0.05  # at first; those who wait long look more seldom, so that many of them cost little
_LOOK_AT_LEAST_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 600.0  # as long as a provider may take for a whole answer
LARGEST_ANSWER_BYTES: Final = 4 * 1024 * 1024
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Claim:
    """The right and the duty to answer first. Ends with `keep` or `give_up`."""

    def __init__(self, claims: "Claims", named: Named) -> None:
        self._claims = claims
        self._named = named
        self._ended = False

    async def keep(self, answer: KeptAnswer) -> None:
        """Keep the answer for those who ask again; one that is huge is not kept.

        Raises:
            Fault: ledger_unavailable.
        """
        if len(answer.body) <= LARGEST_ANSWER_BYTES:
            await self._claims.asked(lambda store, worker: store.keep(self._named, worker, answer))
            self._ended = True

    def give_up(self) -> None:
        """Let the next one be the first, unless an answer was kept; does not wait for it."""
        if not self._ended:
            self._ended = True
            self._claims.later(lambda store, worker: store.give_up(self._named, worker))


class Claims:
    """The claims of one worker."""

    def __init__(
        self,
        open_store: Callable[[], AnswerStore],
        worker: str,
        lives: Callable[[str], bool],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Name the parts; the store is opened by the first request that has an idempotency key.

        Args:
            open_store: opens the table.
            worker: unique for each life of a process.
            lives: tells whether another worker still does.
            sleep: how to wait.
        """
        self._open_store = open_store
        self._store: AnswerStore | None = None
        self._opening = asyncio.Lock()
        self._worker = worker
        self._lives = lives
        self._sleep = sleep
        self._ending: set[asyncio.Task[Any]] = set()  # whatever they return

    async def claim(self, app: str, key: str, path: str, body: bytes) -> Claim | KeptAnswer:
        """Return the claim on a request, or the answer that its first one got, waiting for it while that is answered.

        Raises:
            Refusal: invalid_request, the key is none; idempotency_key_reuse, it came with another request before.
            Fault: ledger_unavailable; overloaded, the first one takes too long.
        """
        if not _KEY.fullmatch(key):
            raise Refusal(
                "invalid_request",
                f"The header {HEADER} must be 1 to 255 printable characters without spaces.",
                hint="Use a new random UUID for each request, and the same one when you repeat it.",
            )
        named = await self.asked(lambda store, _: store.named(app, key, path, body))
        waited = 0.0
        while waited < _LONGEST_WAIT_SECONDS:
            found = await self._claimed(
                named, lambda store, worker: store.claim(named, worker), lambda found: found is None
            )
            if found is None:
                return Claim(self, named)
            if not found.same_request:
                raise Refusal(
                    "idempotency_key_reuse",
                    f"This {HEADER} came with a different request before.",
                    hint="Use a new key for a new request; a repeated request must be the same to the byte.",
                )
            if found.answer is not None:
                return found.answer
            if not self._lives(found.worker) and await self._taken_over(named, found.worker):
                return Claim(self, named)
            pause = min(max(_LOOK_SECONDS, waited / 4), _LOOK_AT_LEAST_SECONDS)
            await self._sleep(pause)
            waited += pause
        raise Fault(
            "overloaded",
            "The first request with this idempotency key is still being answered.",
            hint="Repeat it later.",
            retry_after_seconds=10,
        )

    async def _taken_over(self, named: Named, dead: str) -> bool:
        return await self._claimed(
            named, lambda store, worker: store.take_over(named, worker, dead), lambda taken: taken
        )

    async def _claimed(self, named: Named, order: Callable[[AnswerStore, str], T], is_ours: Callable[[T], bool]) -> T:
        """Return what the store answers; a caller that is cancelled meanwhile leaves no claim behind."""
        asking = asyncio.create_task(self.asked(order))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._under_way(self._give_back(named, asking, is_ours))
            raise

    async def _give_back(self, named: Named, asking: "asyncio.Task[T]", is_ours: Callable[[T], bool]) -> None:
        if is_ours(await asking):
            await self.asked(lambda store, worker: store.give_up(named, worker))

    async def asked(self, question: Callable[[AnswerStore, str], T]) -> T:
        """Return what the store answers, off the event loop.

        Raises:
            Fault: ledger_unavailable.
        """
        try:
            async with self._opening:
                if self._store is None:
                    self._store = await asyncio.to_thread(self._open_store)
            return await asyncio.to_thread(question, self._store, self._worker)
        except (sqlite3.Error, OSError):
            raise Fault(
                "ledger_unavailable",
                "Whether this request was answered before cannot be seen now.",
                hint="Try again in a moment.",
                retry_after_seconds=1,
            ) from None

    def later(self, order: Callable[[AnswerStore, str], None]) -> None:
        """Give the store an order without waiting, for a caller that may be cancelled."""
        self._under_way(self.asked(order))

    async def close(self) -> None:
        """Wait for what is under way, and close the store."""
        while self._ending:
            await asyncio.wait(self._ending)
        if self._store is not None:
            self._store.close()

    def _under_way(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._ending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("an idempotency key stays claimed until its worker ends: the store cannot answer")
