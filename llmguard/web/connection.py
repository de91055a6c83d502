"""What a connection brings besides bytes: load and a body to be bounded, a client that hangs up or reads nothing."""

import asyncio
import zlib
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from starlette.types import Receive
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llmguard.domain.eager import Begun
from llmguard.domain.errors import Fault, Refusal

if TYPE_CHECKING:
    from llmguard.web.crowd import Crowd

MOST_BODY_BYTES = 10 * 1024 * 1024
LONGEST_BODY_SECONDS = 60
READ_AT_ONCE = 65_536  # bytes; what is longer comes in several parts
CROWD = "crowd"  # where the application leaves what turns requests away, for `Connection`
MOST_AT_ONCE = 512
_LONGEST_WAIT_SECONDS = 4.0
_BEGUN_A_ROUND = 8  # 10 ms of work; `serve` lets four times as many connections in meanwhile
_LONGEST_UNREAD_SECONDS = 60  # that what is sent may wait until the client has read enough of what was sent before
_LEFT_TO_OTHERS = 4  # one slot of so many is never had by an app that has all the others
_GO_ON = b"HTTP/1.1 100 "  # no answer: the client waits for it before it sends the body
_WAITING_A_SLOT = 8  # so many requests may wait for each one that is served; a connection of each is all they cost


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


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """Return the whole body, unpacked if it came packed with gzip.

    Raises:
        Refusal: request_too_large, by what is announced, by what arrives or by what it unpacks to; invalid_request,
            when it does not arrive or cannot be unpacked.
        HungUpError: the client went away.
    """
    encoding = headers.get(b"content-encoding")
    unpack = bytes if encoding is None else _unpacker(encoding)
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


class Slots:
    """How many requests a worker serves at once: the next ones wait for their turn, and not for long.

    Two things bound it. So many slots are there, for requests that wait for slow models. And in each round of the event
    loop so few requests begin that the round stays short, however many callers there are: where the processor is what
    there is too little of, a request is rather left waiting here, where it costs nothing, than begun and not finished,
    and those who wait for a connection, a byte or a refusal have theirs soon.

    Those that wait in vain are refused at the end of the wait and not before, so that callers who try again at once
    cannot keep the worker busy with refusals. Apps that wait have their turns one after the other, each its oldest
    request first. One app has at most three quarters of the slots, so that its slow requests do not shut out all other
    apps.
    """

    def __init__(
        self, most: int = MOST_AT_ONCE, *, wait_seconds: float = _LONGEST_WAIT_SECONDS, a_round: int = _BEGUN_A_ROUND
    ) -> None:
        """Serve so many at once, of which so many begin in one round of the event loop; others wait so long."""
        self._most = most
        self._share = most - most // _LEFT_TO_OTHERS
        self._most_waiting = most * _WAITING_A_SLOT
        self._a_round = a_round
        self._wait_seconds = wait_seconds
        self._taken = 0
        self._taken_by: Counter[str] = Counter()
        self._begun = 0  # in this round
        self._waiting = 0
        self._coming = 0  # in this round, and not here yet
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # of apps that wait; whose turn is next comes first

    @property
    def is_crowded(self) -> bool:
        """Whether nobody else may even wait."""
        return self._waiting >= self._most_waiting

    def will_be_crowded(self) -> bool:
        """Return whether nobody else may wait once those are here that came in this round of the event loop.

        If not, whoever asks is taken to come: in a round whose requests are read before any of them asks for a slot,
        more may come than there is room for.
        """
        if not self._waiting:
            return False
        if self._waiting + self._coming >= self._most_waiting:
            return True
        if not self._coming:
            asyncio.get_running_loop().call_soon(self._all_here)
        self._coming += 1
        return False

    def _all_here(self) -> None:
        self._coming = 0

    async def take(self, app: str) -> None:
        """Take a slot for an app, at once or after those who came before; whoever has one gives it back.

        Raises:
            Fault: `overloaded`: none became free in time, or too many wait already.
        """
        if self._is_room() and self._is_room_for(app):  # then nobody waits who could begin
            self._begin(app)
            return
        if self.is_crowded:
            raise self.overloaded()
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._queues.setdefault(app, deque()).append(turn)
        self._waiting += 1
        end = loop.call_later(self._wait_seconds, self._refuse, app, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._queues.get(app, ()):
                self._leave(app, turn)
            elif not turn.cancelled() and turn.exception() is None:  # it got its slot in the same moment
                self.give(app)
            raise
        finally:
            end.cancel()

    def give(self, app: str) -> None:
        """Give a slot of an app back: whose turn it is has it next."""
        self._taken -= 1
        self._taken_by[app] -= 1
        self._let_in()

    def _is_room(self) -> bool:
        return self._begun < self._a_round and self._taken < self._most

    def _is_room_for(self, app: str) -> bool:
        return self._taken_by[app] < self._share

    def _begin(self, app: str) -> None:
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_round)
        self._begun += 1
        self._taken += 1
        self._taken_by[app] += 1

    def _next_round(self) -> None:
        self._begun = 0
        self._let_in()

    def _let_in(self) -> None:
        """Let as many in of those who wait as there is room for."""
        while self._queues and self._is_room():
            app = next((app for app in self._queues if self._is_room_for(app)), None)
            if app is None:
                return
            turn = self._queues[app][0]
            self._leave(app, turn)
            if app in self._queues:
                self._queues[app] = self._queues.pop(app)  # the others' turns come first
            if not turn.cancelled():
                self._begin(app)
                turn.set_result(None)

    def _refuse(self, app: str, turn: "asyncio.Future[None]") -> None:
        if not turn.done():
            self._leave(app, turn)
            turn.set_exception(self.overloaded())

    def _leave(self, app: str, turn: "asyncio.Future[None]") -> None:
        self._waiting -= 1
        queue = self._queues[app]
        queue.remove(turn)  # nearly always the first
        if not queue:
            del self._queues[app]

    def overloaded(self) -> Fault:
        """Return what they are told who wait in vain, or may not even wait."""
        return Fault(
            "overloaded",
            f"llmguard has more to do than it can: {self._taken} requests are being answered by this worker, "
            f"and {self._waiting} others wait for their turn.",
            hint="Try again in a moment. If it lasts, whoever runs llmguard can start more workers, or let each answer "
            "more requests at once if it is the models that are slow.",
            retry_after_seconds=1,
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
