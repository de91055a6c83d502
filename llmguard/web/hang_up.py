"""Stop the work on a request when its client hangs up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.types import Receive


@asynccontextmanager
async def until_hung_up(receive: Receive, *, applies: Callable[[], bool]) -> AsyncIterator[None]:
    """Run the block; if the client disconnects meanwhile and `applies()`, cancel it and return quietly.

    A cancellation that comes from elsewhere (the server is stopping) is passed on.
    """
    work = asyncio.current_task()
    if work is None:
        raise RuntimeError("a request is served by a task")
    hung_up = False

    async def watch() -> None:
        nonlocal hung_up
        while (await receive())["type"] != "http.disconnect":
            pass
        if applies():
            hung_up = True
            work.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not hung_up or work.uncancel() > 0:
            raise
    finally:
        watcher.cancel()
