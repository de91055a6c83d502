"""What goes over a connection to a provider, and when it is used again."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from llmguard.providers.connections import Connections

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: Application/JSON; charset=utf-8\r\ncontent-length: 2\r\n\r\n{}"
TIMING = aiohttp.ClientTimeout(total=None, connect=30)


class Provider:
    """Answers each request with the next of some bytes, None with nothing; knows what came over which connection."""

    def __init__(self, answers, bytes_at_once, hang_up):
        self._answers = iter(answers)
        self._bytes_at_once = bytes_at_once
        self._hang_up = hang_up
        self.requests = []
        self._connections = 0

    async def serve(self, reader, writer):
        self._connections += 1
        number = self._connections
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append((number, head, await reader.readexactly(length)))
                if (answer := next(self._answers)) is None:
                    continue
                for at in range(0, len(answer), self._bytes_at_once or len(answer)):
                    writer.write(answer[at : at + (self._bytes_at_once or len(answer))])
                    await asyncio.sleep(0)
                if self._hang_up or b"connection: close" in answer or b"\r\n\r\n" not in answer:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()


@asynccontextmanager
async def asking(*answers, path="/v1/chat/completions", credentials="", bytes_at_once=0, hang_up=False):
    """Serve these answers, so many bytes at a time (0: all), and hang up after each or not."""
    provider = Provider(answers, bytes_at_once, hang_up)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    url = URL(f"http://{credentials}127.0.0.1:{server.sockets[0].getsockname()[1]}{path}")
    connections = Connections(10)
    try:
        yield provider, lambda **headers: connections.post(url, b'{"a":1}', headers, TIMING)
    finally:
        await connections.close()
        server.close()


async def read(response):
    content = b""
    while piece := await response.read():
        content += piece
    return content


async def test_a_request_has_the_lines_that_a_provider_needs_and_no_more():
    async with asking(WHOLE, path="/v1/a%20b") as (provider, post):
        await read(await post(authorization="Bearer k"))

    (_, head, body), *_ = provider.requests
    first, *lines = head.decode().splitlines()
    names = [line.partition(":")[0].lower() for line in lines if line]
    assert first == "POST /v1/a%20b HTTP/1.1"
    expected = ["accept", "accept-encoding", "authorization", "content-length", "content-type", "host", "user-agent"]
    assert sorted(names) == expected
    assert body == b'{"a":1}'


async def test_a_connection_whose_answer_was_read_serves_the_next_request():
    async with asking(WHOLE, WHOLE) as (provider, post):
        for _ in range(2):
            response = await post()
            assert (response.status, response.content_type) == (200, "application/json")
            assert await read(response) == b"{}"
            response.close()

    assert [number for number, *_ in provider.requests] == [1, 1]


async def test_a_connection_whose_answer_was_not_read_to_its_end_is_never_used_again():
    longer = WHOLE.replace(b"length: 2", b"length: 3")
    async with asking(longer, WHOLE) as (provider, post):
        (await post()).close()
        assert await read(await post()) == b"{}"

    assert [number for number, *_ in provider.requests] == [1, 2]


async def test_a_connection_that_is_to_be_closed_is_not_used_again():
    closing = WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with asking(closing, WHOLE) as (provider, post):
        assert [await read(await post()) for _ in range(2)] == [b"{}", b"{}"]

    assert [number for number, *_ in provider.requests] == [1, 2]


async def test_statuses_that_announce_an_answer_are_passed_over():
    async with asking(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + WHOLE) as (_, post):
        response = await post()
        assert (response.status, await read(response)) == (200, b"{}")


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b""],
    ids=["another protocol", "no HTTP", "nothing"],
)
async def test_what_is_no_answer_breaks_and_its_connection_is_never_used_again(answer):
    async with asking(answer, WHOLE) as (provider, post):
        with pytest.raises(aiohttp.ClientError):
            await post()
        assert await read(await post()) == b"{}"

    assert [number for number, *_ in provider.requests] == [1, 2]


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("bytes_at_once", [1, 3, 1000])
async def test_a_body_in_chunks_comes_whole_however_it_is_cut_and_its_connection_serves_on(bytes_at_once):
    answer = CHUNKED + b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nlate: trailer\r\n\r\n"
    async with asking(answer, answer, bytes_at_once=bytes_at_once) as (provider, post):
        for _ in range(2):
            response = await post()
            assert await read(response) == b"abcde"
            assert "late" not in response.headers

    assert [number for number, *_ in provider.requests] == [1, 1]


async def test_a_body_whose_length_nobody_said_ends_with_its_connection():
    async with asking(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc") as (_, post):
        assert await read(await post()) == b"abc"


@pytest.mark.parametrize(
    "cut_off",
    [CHUNKED + b"2\r\nab\r\n", CHUNKED + b"2\r\nab\r\nno length", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"],
    ids=["before the last chunk", "by what is no chunk", "before its length"],
)
async def test_a_body_that_breaks_off_is_an_error_and_its_connection_is_never_used_again(cut_off):
    async with asking(cut_off, WHOLE, hang_up=True) as (provider, post):
        response = await post()
        with pytest.raises(aiohttp.ClientPayloadError):
            await read(response)
        assert await read(await post()) == b"{}"

    assert [number for number, *_ in provider.requests] == [1, 2]


async def test_a_connection_with_an_answer_that_nobody_asked_for_is_not_used_again():
    async with asking(WHOLE + WHOLE.replace(b"{}", b"[]"), WHOLE) as (provider, post):
        for _ in range(2):
            assert await read(await post()) == b"{}"

    assert [number for number, *_ in provider.requests] == [1, 2]


async def test_a_head_without_end_breaks():
    async with asking(b"HTTP/1.1 200 OK\r\n" + b"x-more: of this\r\n" * 5_000) as (_, post):
        with pytest.raises(aiohttp.ClientPayloadError):
            await post()


async def test_what_follows_the_last_chunk_without_end_breaks():
    async with asking(CHUNKED + b"2\r\nab\r\n0\r\n" + b"x-more: of this\r\n" * 50_000) as (_, post):
        response = await post()
        with pytest.raises(aiohttp.ClientPayloadError):
            async with asyncio.timeout(30):
                await read(response)


async def test_a_request_is_not_sent_behind_one_that_has_not_left_yet():
    numbers = []

    async def answer_before_the_body_is_read(reader, writer):
        numbers.append(len(numbers) + 1)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(WHOLE)

    server = await asyncio.start_server(answer_before_the_body_is_read, "127.0.0.1", 0)
    url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    connections = Connections(10)
    for _ in range(2):
        async with asyncio.timeout(30):
            assert await read(await connections.post(url, b"x" * 32 * 1024 * 1024, {}, TIMING)) == b"{}"
    await connections.close()
    server.close()

    assert numbers == [1, 2]


async def test_a_provider_waits_for_whoever_reads_slowly():
    length = 32 * 1024 * 1024
    async with asking(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + b"x" * length, WHOLE) as (
        provider,
        post,
    ):
        response = await post()
        await asyncio.sleep(0.2)
        first = await response.read()
        assert len(first) < length / 8
        assert len(first) + len(await read(response)) == length
        assert await read(await post()) == b"{}"

    assert [number for number, *_ in provider.requests] == [1, 1]


async def test_a_cancelled_request_leaves_no_connection_behind():
    async with asking(None, WHOLE) as (provider, post):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await post()
        assert await read(await post()) == b"{}"

    assert [number for number, *_ in provider.requests] == [1, 2]


async def test_credentials_of_an_address_are_sent_unless_there_are_others():
    async with asking(WHOLE, credentials="user:secret@") as (provider, post):
        await read(await post())
        with pytest.raises(ValueError, match="credentials"):
            await post(authorization="Bearer k")

    assert b"\r\nAuthorization: Basic dXNlcjpzZWNyZXQ=\r\n" in provider.requests[0][1]
    assert len(provider.requests) == 1
