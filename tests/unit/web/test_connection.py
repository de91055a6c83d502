import asyncio

from uvicorn import Config
from uvicorn.server import ServerState

from llmguard.web.connection import Connection

ASK = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n"


class Wire(asyncio.Transport):
    """What leaves, packet by packet."""

    def __init__(self):
        super().__init__()
        self.packets = []
        self.is_closed = False

    def write(self, data):
        self.packets.append(bytes(data))

    def writelines(self, parts):
        self.packets.append(b"".join(parts))

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    def is_closing(self):
        return self.is_closed

    def close(self):
        self.is_closed = True


async def packets_of(app, asked):
    """Return what leaves for each of some requests on one connection."""
    config = Config(app, loop="none", lifespan="off", interface="asgi3", http=Connection, ws="none")
    config.load()
    connection, wire = Connection(config, ServerState(), {}), Wire()
    connection.connection_made(wire)
    left = []
    for data in asked:
        connection.data_received(data)
        await asyncio.gather(*connection.tasks, return_exceptions=True)
        left.append(wire.packets)
        wire.packets = []
    connection._unset_keepalive_if_required()
    return left, wire


def answering(*parts):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for more, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
            await send({"type": "http.response.body", "body": part, "more_body": bool(more)})

    return app


async def test_head_of_each_answer_leaves_with_its_body():
    left, _ = await packets_of(answering(b"Hello"), [ASK + b"\r\n{}"] * 2)

    for packets in left:
        [packet] = packets
        assert packet.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Hello" in packet


async def test_what_follows_in_a_stream_leaves_as_it_comes():
    [packets], _ = await packets_of(answering(b"one", b"two", b"three"), [ASK + b"\r\n{}"])

    assert [b"one" in packets[0], b"two" in packets[1], b"three" in packets[2]] == [True] * 3


async def test_client_that_waits_to_be_asked_for_its_body_is_asked():
    left, _ = await packets_of(answering(b"Hello"), [ASK + b"expect: 100-continue\r\n\r\n{}"])

    go_on, answer = left[0]
    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"Hello" in answer


async def test_head_that_nothing_follows_leaves_too():
    answers, _ = await packets_of(answering(b""), [b"HEAD / HTTP/1.1\r\nhost: here\r\n\r\n"])
    refused, wire = await packets_of(answering(b""), [b"This is no HTTP.\r\n\r\n"])

    assert answers[0][0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert refused[0][0].startswith(b"HTTP/1.1 400 ")
    assert wire.is_closed
