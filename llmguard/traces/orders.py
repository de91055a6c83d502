"""Erasures that readers ask the ingester for: one at a time, done between two passes, asked after until it is done."""

import threading
from typing import Literal

import msgspec

from llmguard.traces.erasing import Erased, Order
from llmguard.traces.errors import TraceQueryError

State = Literal["waiting", "done", "failed"]


class Progress(msgspec.Struct, frozen=True):
    """What became of an order; `why` it failed, in words."""

    state: State
    erased: Erased | None = None
    why: str | None = None


class Orders:
    """The one order under way, and what became of it; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._order: Order | None = None
        self._progress: dict[str, Progress] = {}

    def place(self, order: Order) -> None:
        """Ask for an erasure.

        Raises:
            TraceQueryError: another one is under way.
        """
        with self._lock:
            if self._order is not None:
                raise TraceQueryError("another erasure is under way; try again when it is done")
            self._order = order
            self._progress = {order.id: Progress("waiting")}

    def next(self) -> Order | None:
        """Return what is to be done; the same until `end`."""
        with self._lock:
            return self._order

    def end(self, progress: Progress) -> None:
        """Say what became of it."""
        with self._lock:
            if self._order is not None:
                self._progress[self._order.id] = progress
                self._order = None

    def progress(self, order_id: str) -> Progress | None:
        """Return what became of an order; None: this process does not know it."""
        with self._lock:
            return self._progress.get(order_id)
