"""How operations reach the ledger's store: all that wait as one batch, on the event loop where nothing can hold it up.

Orders of the loop that started it are collected for one turn of the loop, and committed there and then: without the
switch to another thread and back, which costs more than the booking. Where that could take longer (another process
writes, the file is in trouble, earlier orders still wait) the batch goes to the ledger thread, and so do orders of
other threads.

Two kinds of orders exist. A reservation has somebody waiting, and gets a result or a fault. A settle or release has
nobody waiting and may not get lost: if its batch cannot be committed it is tried again, with growing pauses, until it
is; meanwhile new reservations are refused, because the ledger does not know what is really left.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from threading import Lock, Thread, get_ident
from typing import Any, NamedTuple, TypeVar

from llmguard.domain.errors import Fault
from llmguard.quota.operations import Operation, Release, Reserve, Result, Settle
from llmguard.quota.store import LedgerStore

Answer = TypeVar("Answer")

_BATCH_LIMIT = 256  # bounds how long one worker keeps the write lock from the others
_SETTLE_WITHIN_SECONDS = 0.002
_BATCHES_BETWEEN_CHECKPOINTS = 256  # about 1,000 pages, which is when SQLite would do it by itself
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_RETRY_AFTER_SECONDS = 1.0

_log = logging.getLogger(__name__)


class _Waiter(NamedTuple):
    """A coroutine that waits on its own loop."""

    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"  # Any: a Result for orders, whatever was asked for questions


class _Order(NamedTuple):
    """An operation to commit; without a waiter it is kept until it is committed."""

    operation: Operation
    waiter: _Waiter | None = None


class _Question(NamedTuple):
    """Something to read."""

    read: Callable[[LedgerStore], object]
    waiter: _Waiter


class _Checkpoint:
    """The write-ahead log has grown."""


class _Stop:
    """The last thing in the queue."""


_Item = _Order | _Question | _Checkpoint | _Stop


class Committer:
    """Owns the ledger's store, the thread that uses it, and a second way into it for the loop."""

    def __init__(self, store: LedgerStore, *, close_timeout_seconds: float) -> None:
        """Take the store over; nothing happens before `start`."""
        self._store = store
        self._close_timeout_seconds = close_timeout_seconds
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._thread = Thread(target=self._run, name="ledger", daemon=True)
        self._at_once = store.at_once()
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None  # the loop that commits at once, and its thread
        self._turn: list[_Order] = []  # of this turn of that loop
        self._context = copy_context()  # a turn is of many requests, and of none of their contexts
        self._is_urgent = False  # somebody waits for one of them
        self._counting = Lock()
        self._unfinished = 0  # orders that the thread has not committed yet: nothing may overtake them
        self._unwritten = 0  # batches since the last checkpoint
        self._in_hand: list[_Item] = []  # taken from the queue and not answered yet
        self._backlog: list[_Order] = []  # settles and releases whose commit failed
        self._open = False
        self._give_up_at = float("inf")

    def start(self) -> None:
        """Start the thread; the loop that runs here and now, if one does, commits by itself from now on."""
        with suppress(RuntimeError):
            self._home = get_ident(), asyncio.get_running_loop()
        self._open = True
        self._thread.start()

    def submit(self, operation: Settle | Release) -> None:
        """Enqueue it and return at once; it is committed while this process lives, however often that fails."""
        self._enqueue(_Order(operation))

    async def reserve(self, operation: Reserve) -> Result:
        """Return the result once it is committed; whoever stops waiting gives the hold back.

        Raises:
            Fault: `ledger_unavailable`; nothing stays reserved.
        """
        self.check()
        try:
            waiter = _waiter()
            self._enqueue(_Order(operation, waiter))
            result: Result = await self._reply(waiter)
        except BaseException:
            # Cancelled, closed, or a commit of which nobody knows whether it took place. The queue keeps its order, so
            # this comes after the reservation; where no hold came about it does nothing.
            self.submit(Release(operation.hold_id))
            raise
        return result

    async def ask(self, read: Callable[[LedgerStore], Answer]) -> Answer:
        """Return what `read` finds in the store, after everything enqueued before.

        Raises:
            Fault: `ledger_unavailable`.
        """
        self._commit_turn()
        waiter = _waiter()
        self._queue.put(_Question(read, waiter))
        answer: Answer = await self._reply(waiter)
        return answer

    def check(self) -> None:
        """Do nothing while reservations are possible.

        Raises:
            Fault: `ledger_unavailable`.
        """
        if not self._open or self._backlog:
            raise _unavailable()

    async def close(self) -> None:
        """Commit everything enqueued, then end the thread.

        Raises:
            Fault: `ledger_unavailable`, when it could not be committed in time. What is missing stays held
                until a later worker settles it as an orphan.
        """
        self._commit_turn()
        self._open = False
        self._give_up_at = time.monotonic() + self._close_timeout_seconds
        self._queue.put(_Stop())
        await asyncio.to_thread(self._thread.join)
        self._at_once.close()
        if self._backlog:
            raise _unavailable()

    async def _reply(self, waiter: _Waiter) -> Any:  # Any: see _Waiter
        # Checked after the enqueuing: either the ending thread answers as it empties the queue, or this sees the end.
        if not self._open:
            raise _unavailable()
        return await waiter.future

    def _enqueue(self, order: _Order) -> None:
        if self._home is None or self._home[0] != get_ident() or not self._open:
            self._hand_over([order])
            return
        self._turn.append(order)
        if order.waiter is not None:
            if not self._is_urgent:
                self._is_urgent = True
                self._home[1].call_soon(self._commit_turn, context=self._context)
        elif len(self._turn) == 1:  # nobody waits: it goes with the next reservation, and soon without one
            self._home[1].call_later(_SETTLE_WITHIN_SECONDS, self._commit_turn, context=self._context)

    def _commit_turn(self) -> None:
        """Commit what this turn of the loop brought, or leave it to the thread if that would take longer."""
        if not self._turn or self._home is None or self._home[0] != get_ident():
            return
        orders, self._turn, self._is_urgent = self._turn, [], False
        if self._unfinished or self._backlog:
            self._hand_over(orders)
            return
        try:
            replies = self._at_once.apply([order.operation for order in orders])
        except Exception:  # noqa: BLE001 - border: nothing was changed, and the thread finds out what is wrong
            self._hand_over(orders)
            return
        for order, reply in zip(orders, replies, strict=True):
            if order.waiter is not None and not order.waiter.future.done():
                order.waiter.future.set_result(reply)
        self._unwritten += 1
        if self._unwritten >= _BATCHES_BETWEEN_CHECKPOINTS:
            self._unwritten = 0
            self._queue.put(_Checkpoint())

    def _hand_over(self, orders: Sequence[_Order]) -> None:
        with self._counting:
            self._unfinished += len(orders)
        for order in orders:
            self._queue.put(order)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - border: nobody above sees what ends a thread
            _log.critical("The ledger thread died of %s; this worker reserves nothing any more.", _describe(error))
        finally:
            self._open = False
            self._store.close()
            unanswered = [*self._in_hand, *self._take(wait=False, limit=None)]
            waiters = [item.waiter for item in unanswered if isinstance(item, _Order | _Question)]
            _deliver([(waiter, _unavailable()) for waiter in waiters if waiter is not None])

    def _serve(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        stopping = False
        while not stopping or self._backlog or not self._queue.empty():
            items = self._in_hand = self._take(wait=not stopping and not self._backlog, limit=_BATCH_LIMIT)
            stopping = stopping or any(isinstance(item, _Stop) for item in items)
            orders = [item for item in items if isinstance(item, _Order)]
            self._commit(orders)
            with self._counting:
                self._unfinished = self._unfinished - len(orders)
            _deliver([self._read(item) for item in items if isinstance(item, _Question)])
            self._in_hand = []
            if any(isinstance(item, _Checkpoint) for item in items):
                self._checkpoint()
            if not self._backlog:
                pause_seconds = _FIRST_PAUSE_SECONDS
                continue
            if time.monotonic() > self._give_up_at:
                _log.error("The ledger ends with %d operations that could not be committed.", len(self._backlog))
                return
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _checkpoint(self) -> None:
        try:
            self._store.checkpoint()
        except Exception as error:  # noqa: BLE001 - border: the log is longer for a while, and nothing else
            _log.warning("The ledger's log could not be brought into its file: %s", _describe(error))

    def _take(self, *, wait: bool, limit: int | None) -> list[_Item]:
        items = [self._queue.get()] if wait else []
        while limit is None or len(items) < limit:
            try:
                items.append(self._queue.get_nowait())
            except Empty:
                break
        return items

    def _commit(self, orders: list[_Order]) -> None:
        batch = [*self._backlog, *orders]
        if not batch:
            return
        replies: Sequence[object]
        try:
            replies = self._store.apply([order.operation for order in batch])
        except Exception as error:  # noqa: BLE001 - border: the thread lives on, and lets nothing pass meanwhile
            _log.warning("The ledger could not commit %d operations: %s", len(batch), _describe(error))
            self._backlog = [order for order in batch if order.waiter is None]
            replies = [_unavailable() for _ in batch]
        else:
            self._backlog = []
        _deliver([(order.waiter, reply) for order, reply in zip(batch, replies, strict=True) if order.waiter])

    def _read(self, question: _Question) -> tuple[_Waiter, object]:
        try:
            return question.waiter, question.read(self._store)
        except Exception as error:  # noqa: BLE001 - border: the one who asked gets a fault, the thread lives on
            _log.warning("The ledger could not be read: %s", _describe(error))
            return question.waiter, _unavailable()


def _waiter() -> _Waiter:
    loop = asyncio.get_running_loop()
    return _Waiter(loop, loop.create_future())


def _deliver(replies: Sequence[tuple[_Waiter, object]]) -> None:
    """Hand each loop all its replies in one call; waking a loop costs more than the reply."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiter, object]]] = {}
    for reply in replies:
        by_loop.setdefault(reply[0].loop, []).append(reply)
    for loop, group in by_loop.items():
        # A closed loop has nobody who waits any more; their coroutines released what they had reserved.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, group)


def _resolve(replies: Sequence[tuple[_Waiter, object]]) -> None:
    for waiter, reply in replies:
        if waiter.future.done():  # cancelled meanwhile
            continue
        if isinstance(reply, BaseException):
            waiter.future.set_exception(reply)
        else:
            waiter.future.set_result(reply)


def _unavailable() -> Fault:
    return Fault(
        "ledger_unavailable",
        "The quota cannot be checked right now, so nothing is passed on.",
        hint="Try again shortly. If it lasts, tell whoever runs llmguard: state.db in the data folder is missing, "
        "locked, full or damaged.",
        retry_after_seconds=_RETRY_AFTER_SECONDS,
    )


def _describe(error: BaseException) -> str:
    """Name the error without its message, which could quote what was stored."""
    return getattr(error, "sqlite_errorname", type(error).__name__)
