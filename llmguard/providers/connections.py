"""Sends a body to a provider and brings what it answers, over the connections of aiohttp's pool.

aiohttp's own session does more for each request than any provider needs: redirects, cookies, forms, middlewares, and on
Python 3.11 a task that writes the body; and its streams take six times as long for a body that comes in chunks. That
is most of what a call costs. Proxies from the environment are not used.
"""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

import aiohttp
import httptools
from aiohttp.connector import Connection
from yarl import URL

_SWITCHING: Final = 101
_FINAL: Final = 200  # lower statuses announce an answer
_LARGEST_HEAD_BYTES: Final = 64 * 1024
_LONGEST_HEADER_BYTES: Final = 8 * 1024
_MOST_UNREAD_BYTES: Final = 512 * 1024  # beyond it the provider waits for the app
# No compression: answers are small, and a bomb is no JSON.
_HEADERS: Final = {
    "user-agent": f"llmguard/{version('llmguard')}",
    "accept-encoding": "identity",
    "content-type": "application/json",
}


class Response(asyncio.Protocol):
    """An answer, read off a connection of the pool; once it is here to its end, the connection serves others.

    It takes the transport over from the pool's own protocol, which takes many steps for each chunk of a body, and
    gives it back at the end. `status` and `headers` (by lower-case names) are there after `wait_for_head`.
    """

    __slots__ = (
        "_connection",
        "_has_head",
        "_is_broken",
        "_is_complete",
        "_is_paused",
        "_parser",
        "_pieces",
        "_pooled",
        "_serves_others",
        "_transport",
        "_unread_bytes",
        "_waiter",
        "headers",
        "on_body",
        "status",
    )

    def __init__(self, connection: Connection) -> None:
        """Take a connection over.

        Raises:
            aiohttp.ServerDisconnectedError: it was closed, or something came over it that nobody asked for.
        """
        pooled, transport = connection.protocol, connection.transport
        if pooled is None or transport is None or pooled.should_close:
            raise aiohttp.ServerDisconnectedError
        self._connection, self._pooled, self._transport = connection, pooled, transport
        self.status = 0
        self.headers: dict[str, str] = {}
        self._has_head = self._is_complete = self._is_broken = self._is_paused = self._serves_others = False
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # the parser's, as all `on_...` here
        self._unread_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(  # as in aiohttp: there are servers that need them
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._parser: httptools.HttpResponseParser | None = parser  # None once the connection is let go
        transport.set_protocol(self)

    @property
    def content_type(self) -> str:
        """What the body is said to be, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def send(self, request: bytes) -> None:
        """Write the request that this answers."""
        self._transport.write(request)

    async def wait_for_head(self) -> None:
        """Wait for status and headers.

        Raises:
            aiohttp.ClientPayloadError: the connection broke, or what came is not HTTP.
        """
        while not self._has_head:
            await self._wait()

    async def read(self) -> bytes:
        """Return what has come of the body, waiting if that is nothing; nothing once it is here to its end.

        Raises:
            aiohttp.ClientPayloadError: it broke off. What came with the break is lost, and so all can be asked again.
        """
        while self._is_broken or not self._pieces:
            if self._is_complete:
                return b""
            await self._wait()
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._unread_bytes = 0
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    def close(self) -> None:
        """Close the connection; nothing where the body was here to its end."""
        if self._parser is not None:
            self._is_broken, self._serves_others = True, False
            self._let_go()

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        if self._parser is None:
            return
        self._unread_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._is_broken, self._serves_others = not self._is_complete, False
        if self._unread_bytes > _LARGEST_HEAD_BYTES and not (self._pieces or self._is_complete):
            self._is_broken = True  # so much, and no body yet, or no more: of a head, or of what follows the last chunk
        if self._is_complete or self._is_broken:
            self._let_go()
        elif self._unread_bytes > _MOST_UNREAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the pool; a body whose length nobody said is here to its end."""
        self._pooled.connection_lost(exc)
        is_measured = "content-length" in self.headers or "transfer-encoding" in self.headers
        self._is_complete = self._has_head and exc is None and not is_measured
        self._is_broken = not self._is_complete
        self._parser = None
        self._connection.close()
        self._wake()

    def on_message_begin(self) -> None:
        """Stop at an answer that nobody asked for."""
        if self._has_head:
            raise aiohttp.ClientPayloadError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the first of each name; trailers are none."""
        if len(name) + len(value) > _LONGEST_HEADER_BYTES:
            raise aiohttp.ClientPayloadError
        if not self._has_head:
            self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """The head is here, unless it only announces an answer."""
        self.status = self._parser.get_status_code() if self._parser is not None else 0
        if self.status == _SWITCHING:
            raise aiohttp.ClientPayloadError
        if self.status >= _FINAL:
            self._has_head = True
        else:
            self.headers.clear()

    def on_message_complete(self) -> None:
        """The body is here to its end; the next request does not go behind one that has not left yet."""
        if self._has_head and self._parser is not None:
            self._is_complete = True
            self._serves_others = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()

    def _let_go(self) -> None:
        self._parser = None  # which knows this object: nothing has to look for the circle
        self._transport.set_protocol(self._pooled)
        if not self._serves_others:
            self._connection.close()
            return
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        self._connection.release()

    async def _wait(self) -> None:
        if self._is_broken:
            raise aiohttp.ClientPayloadError
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connections:
    """All connections of a worker to providers; belongs to one event loop."""

    def __init__(self, limit: int) -> None:
        """Open at most so many."""
        self._connector = aiohttp.TCPConnector(limit=limit, ttl_dns_cache=60)
        self._destinations: dict[URL, tuple[aiohttp.ClientRequest, bytes]] = {}  # grows with the registry at most

    async def close(self) -> None:
        """Close every connection; what is under way breaks."""
        await self._connector.close()

    async def post(
        self, url: URL, content: bytes, headers: Mapping[str, str], timing: aiohttp.ClientTimeout
    ) -> Response:
        """Send a body, and return its answer as soon as the head is here.

        Args:
            url: where to.
            content: JSON.
            headers: of this request, in ASCII, without line ends.
            timing: its `connect` counts: for what comes before anything is sent.

        Raises:
            aiohttp.ConnectionTimeoutError: there was no connection in time.
            aiohttp.ClientConnectorError: there was none.
            aiohttp.ClientError, OSError: it broke, or what came is not HTTP.
            ValueError: there are credentials in the address and in the headers.
        """
        request, head = self._destination(url)
        if request.auth is not None and "authorization" in headers:
            raise ValueError("there are credentials in the address and in the headers")
        own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        lines = b"%b%bcontent-length: %d\r\n\r\n" % (head, own.encode("ascii"), len(content))
        try:
            connection = await self._connector.connect(request, [], timing)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError from None
        try:
            response = Response(connection)
        except aiohttp.ServerDisconnectedError:
            connection.close()
            raise
        try:
            response.send(lines + content)
            await response.wait_for_head()
        except BaseException:
            response.close()
            raise
        return response

    def _destination(self, url: URL) -> tuple[aiohttp.ClientRequest, bytes]:
        """Return what the pool goes by for an address, and the lines that all requests to it begin with."""
        known = self._destinations.get(url)
        if known is None:
            request = aiohttp.ClientRequest("POST", url, headers=_HEADERS, loop=asyncio.get_running_loop())
            lines = [f"POST {url.raw_path_qs} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in request.headers.items() if name != "Content-Length"]
            head = "".join(f"{line}\r\n" for line in lines).encode("ascii")
            known = self._destinations[url] = (request, head)
        return known
