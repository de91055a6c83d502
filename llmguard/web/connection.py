"""What a connection brings besides bytes: a body to be bounded, a client that hangs up or reads nothing, a crowd."""

import asyncio
import zlib
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from starlette.types import Receive
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llmguard.domain.eager import Begun
from llmguard.domain.errors import Refusal

if TYPE_CHECKING:
    from llmguard.web.crowd import Crowd

MOST_BODY_BYTES = 10 * 1024 * 1024
LONGEST_BODY_SECONDS = 60
READ_AT_ONCE = 65_536  # bytes; what is longer comes in several parts
_MOST_DIGITS = 20  # of a length; Python refuses to read thousands of them
CROWD = "crowd"  # where the application leaves what turns requests away, for `Connection`
_LONGEST_UNREAD_SECONDS = 60  # that what is sent may wait until the client has read enough of what was sent before
_GO_ON = b"HTTP/1.1 100 "  # no answer: the client waits for it before it sends the body


class Connection(HttpToolsProtocol):
    """uvicorn's connection, except that the head of an answer leaves with its body, and that requests are turned away.

    They are while nobody else may even wait. Nothing else is made for them: their body is read, as it is short, and
    dropped, and with its last byte they have their answer. Trap: a connection that is closed while more comes is reset,
    and the answer may be lost.
    """

    _heads: "_HeldHeads"
    _refusal: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to serve a client."""
        super().connection_made(transport)
        self.transport = self._heads = _HeldHeads(transport)

    def on_response_complete(self) -> None:
        """End an answer."""
        self._heads.end_answer()
        super().on_response_complete()

    def on_headers_complete(self) -> None:
        """Take a request, or turn it away."""
        if self._refusal is not None:
            return  # it comes behind one that was turned away
        crowd: Crowd | None = self.app_state.get(CROWD)
        is_first = self.cycle is None or self.cycle.response_complete
        if crowd is not None and is_first and self.parser.get_method() == b"POST" and crowd.slots.will_be_crowded():
            self._refusal = crowd.refusal(self.url, self.scheme or "", self.headers, self.server_state.default_headers)
        if self._refusal is None:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, or drop it."""
        if self._refusal is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin with a request, or answer that it is turned away."""
        if self._refusal is None:
            super().on_message_complete()
        elif not self.transport.is_closing():
            self.transport.write(self._refusal)
            self.transport.close()


class _HeldHeads(asyncio.Transport):
    """A transport that holds the first that is written of an answer until there is more: the client wakes up once."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""
        self._is_begun = False

    def write(self, data: bytes) -> None:  # type: ignore[override] # what uvicorn writes
        """Write it, or hold it if an answer begins with it."""
        if self._is_begun:
            self._transport.write(data)
        elif self._head:
            self._is_begun = True
            self._transport.writelines((self._head, data))
        elif data.startswith(_GO_ON):
            self._transport.write(data)
        else:
            self._head = data

    def end_answer(self) -> None:
        """Let go of a head that nothing followed; what is written next begins an answer."""
        if self._head and not self._is_begun and not self._transport.is_closing():
            self._transport.write(self._head)
        self._head, self._is_begun = b"", False

    def is_closing(self) -> bool:
        """Return whether it is being closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close it, once all is written."""
        self.end_answer()
        self._transport.close()


class HungUpError(Exception):
    """The client closed the connection before its request was complete, or does not read what it is answered."""


def announced_bytes(headers: Mapping[bytes, bytes]) -> int | None:
    """Return how long a body is said to be, or None if nobody knows; what has more digits is zeros in front."""
    length = headers.get(b"content-length", b"")
    return int(length) if length.isdigit() and len(length) <= _MOST_DIGITS else None


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """Return the whole body, unpacked if it came packed with gzip.

    Raises:
        Refusal: request_too_large, by what is announced, by what arrives or by what it unpacks to; invalid_request,
            when it does not arrive or cannot be unpacked.
        HungUpError: the client went away.
    """
    encoding = headers.get(b"content-encoding")
    unpack = bytes if encoding is None else _unpacker(encoding)
    announced = announced_bytes(headers)
    if announced is not None and announced > MOST_BODY_BYTES:
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


class Delivery:
    """What a client is sent: as far as it needs no waiting at once, the rest by itself, and not for ever."""

    def __init__(self) -> None:
        """Send nothing yet."""
        self._sending: asyncio.Future[None] | None = None

    def begin(self, sending: Coroutine[Any, Any, None]) -> None:
        """Begin to send, once all from before is `taken`; never raises, never waits."""
        try:
            begun = Begun(sending)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._sending = asyncio.get_running_loop().create_future()
            self._sending.set_exception(error)
            return
        if not begun.done:
            self._sending = asyncio.create_task(begun.rest())

    async def taken(self) -> None:
        """Wait until the connection has taken all.

        Raises:
            HungUpError: the client has read nothing for too long; it does not keep a slot and a provider for that.
        """
        if self._sending is None:
            return
        try:
            async with asyncio.timeout(_LONGEST_UNREAD_SECONDS):
                await self._sending
        except TimeoutError:
            raise HungUpError from None
        self._sending = None

    def stop(self) -> None:
        """Send no more of what is not taken yet."""
        if self._sending is not None:
            self._sending.cancel()


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
