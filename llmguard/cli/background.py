"""What runs beside the workers of `llmguard serve`, each in a thread with an event loop of its own."""

import asyncio
import threading
from types import TracebackType
from typing import Self


class Background:
    """Runs while it is entered; at the end it is told to stop, and waited for."""

    name = "background"

    def __init__(self) -> None:
        """Make the thread; nothing runs yet."""
        self.stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.run()), name=self.name, daemon=True)

    async def run(self) -> None:
        """Do the work until `stop` is set."""
        raise NotImplementedError

    async def pause(self, seconds: float) -> bool:
        """Wait, and return whether it is time to stop."""
        return await asyncio.to_thread(self.stop.wait, seconds)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, after what is under way."""
        self.stop.set()
        self._thread.join()
