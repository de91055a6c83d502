"""Sends a body to a provider and brings the head of what it answers, by aiohttp's pool, resolver and parser.

aiohttp's own session does more for each request than any provider needs: redirects, cookies, forms, middlewares, and on
Python 3.11 a task that writes the body. That is half of what a call costs. Proxies from the environment are not used.
"""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

_SWITCHING: Final = 101
_FINAL: Final = 200  # lower statuses announce an answer
# No compression: answers are small, and a bomb is no JSON.
_HEADERS: Final = {
    "user-agent": f"llmguard/{version('llmguard')}",
    "accept-encoding": "identity",
    "content-type": "application/json",
}


class Response:
    """An answer whose head is here. `content` brings its body; once that was read, the connection serves others."""

    __slots__ = ("_connection", "content", "headers", "status")

    def __init__(self, connection: Connection, head: RawResponseMessage, content: aiohttp.StreamReader) -> None:
        """Take a connection whose answer has begun."""
        self._connection = connection
        self.status = head.code
        self.headers = head.headers
        self.content = content
        content.on_eof(connection.release)

    @property
    def content_type(self) -> str:
        """What the body is said to be, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def close(self) -> None:
        """Close the connection; nothing where the body was read to its end."""
        self._connection.close()


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
            return await _answer(connection, lines + content)
        except HttpProcessingError:
            connection.close()
            raise aiohttp.ClientPayloadError from None
        except BaseException:
            connection.close()
            raise

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


async def _answer(connection: Connection, request: bytes) -> Response:
    """Write a request, and return its answer as soon as the head is here."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    transport.write(request)
    while True:
        message, body = await protocol.read()
        if message.code == _SWITCHING:
            raise aiohttp.ServerDisconnectedError
        if message.code >= _FINAL:
            return Response(connection, message, body)
