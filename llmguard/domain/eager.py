"""Awaitables taken as far as they come by themselves: most of what a request awaits is there already.

A task, or a timer against waiting too long, costs more than many of the steps that it is put around. So an awaitable
is begun first; only if it has to wait, the task or the timer is made, and what is left of it is awaited there.
"""

from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """An awaitable that was begun: `done` with its `result`, or else to be awaited for the rest."""

    __slots__ = ("_rest", "_waits_for", "done", "result")

    def __init__(self, awaitable: Awaitable[T]) -> None:
        """Run it up to its first wait.

        Raises:
            BaseException: whatever it raises until then.
        """
        self._rest = awaitable.__await__()
        self.done = False
        self.result: T
        try:
            self._waits_for: Any = self._rest.send(None)  # a future, or whatever the event loop gave it to wait for
        except StopIteration as stop:
            self.done, self.result = True, stop.value

    async def rest(self) -> T:
        """Wait for the rest, as a task can: `create_task(begun.rest())`."""
        return await self

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the rest; once, and only if it is not done."""
        waits_for = self._waits_for
        try:
            while True:
                try:
                    woken = yield waits_for
                except BaseException as error:  # noqa: BLE001 - a cancellation belongs to what waits
                    waits_for = self._rest.throw(error)
                else:
                    waits_for = self._rest.send(woken)
        except StopIteration as stop:
            result: T = stop.value
            return result
