"""What a connection brings besides bytes: a body that must be bounded, and a client that may hang up."""

import asyncio
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from starlette.types import Receive, Scope

from llmguard.domain.eager import Begun
from llmguard.domain.errors import Refusal

MOST_BODY_BYTES = 10 * 1024 * 1024
LONGEST_BODY_SECONDS = 60


class HungUpError(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body, unpacked if it came packed with gzip.

    Raises:
        Refusal: request_too_large, by what is announced, by what arrives or by what it unpacks to; invalid_request,
            when it does not arrive or cannot be unpacked.
        HungUpError: the client went away.
    """
    headers = dict(scope["headers"])
    unpack = _unpacker(headers.get(b"content-encoding", b"identity"))
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > MOST_BODY_BYTES:
        raise _too_large()
    receiving = Begun(_receive_all(receive))
    if receiving.done:
        return unpack(receiving.result)
    try:
        async with asyncio.timeout(LONGEST_BODY_SECONDS):
            return unpack(await receiving)
    except TimeoutError:
        raise Refusal(
            "invalid_request",
            f"The body of the request did not arrive within {LONGEST_BODY_SECONDS} seconds.",
            hint="Send it at once; look at the network if it is slow.",
        ) from None


async def _receive_all(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUpError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise _too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _unpacker(encoding: bytes) -> Callable[[bytes], bytes]:
    match encoding.strip().lower():
        case b"identity" | b"":
            return bytes
        case b"gzip" | b"x-gzip":
            return _gunzip
    raise Refusal(
        "invalid_request",
        "The body is packed in a way that llmguard does not read.",
        hint="Send it as it is, or with content-encoding: gzip.",
    )


def _gunzip(packed: bytes) -> bytes:
    """Return what was packed; never more than a body may have, whatever it would unpack to."""
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        unpacked = member.decompress(packed, MOST_BODY_BYTES + 1)
    except zlib.error:
        unpacked = b""
    if len(unpacked) > MOST_BODY_BYTES:
        raise _too_large()
    if not member.eof or member.unused_data:  # several members in a row (RFC 1952, 2.2) are not worth their cost
        raise Refusal(
            "invalid_request",
            "The body is not what its header content-encoding: gzip says.",
            hint="Pack it with gzip, or leave the header out.",
        )
    return unpacked


def _too_large() -> Refusal:
    return Refusal(
        "request_too_large",
        f"The request is larger than {MOST_BODY_BYTES // 1024 // 1024} MiB.",
        hint="Send less text at once; no model reads that much.",
    )


class HangUp:
    """Cancels the block that it is entered around when the client disconnects, from `watch` on; the block ends quietly.

    A cancellation that comes from elsewhere (the server is stopping) is passed on.
    """

    def __init__(self, receive: Receive) -> None:
        """Take what tells of the client; nothing is watched yet."""
        self._receive = receive
        self._work: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._hung_up = False

    def watch(self) -> None:
        """Begin to listen, in the block: once nothing more is to be read of the body."""
        self._work = asyncio.current_task()
        self._watcher = asyncio.create_task(self._wait())

    async def __aenter__(self) -> Self:
        """Do nothing yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Stop listening; swallow the cancellation that was made here."""
        if self._watcher is None or self._work is None:
            return False
        self._watcher.cancel()
        return isinstance(error, asyncio.CancelledError) and self._hung_up and self._work.uncancel() == 0

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._hung_up = True
        if self._work is not None:
            self._work.cancel()
