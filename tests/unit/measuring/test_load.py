"""The load generator against servers that answer, refuse, hang and break off."""

import asyncio
import json

import pytest

from scripts.bench_gateway import steps_of
from scripts.bench_growth import exponent
from scripts.bench_soak import slope_of
from scripts.measuring.load import Crowd, Load, share
from scripts.measuring.provider_mock import Answers, Connection

OVERLOADED = b'{"error": {"code": "overloaded"}}'
REFUSAL = b"HTTP/1.1 503 x\r\nretry-after: 1\r\ncontent-length: %d\r\n\r\n%s" % (len(OVERLOADED), OVERLOADED)


async def measured(protocol, **how):
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    load = {"bodies": ["{}"], "seconds": 0.2, "patience_seconds": 0.3} | how
    found = await Crowd(Load(port, "/v1/chat/completions", {}, **load)).run()
    server.close()
    return found


class Refusing(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(REFUSAL)


class Silent(asyncio.Protocol):
    pass


class Closing(Refusing):
    def data_received(self, data):
        self.transport.close()


@pytest.mark.parametrize("chunk_delay", [0.0, 0.001], ids=["at once", "one by one"])
@pytest.mark.parametrize("body", ["{}", '{"stream": true}'], ids=["whole", "streamed"])
async def test_answers_are_counted_and_timed(body, chunk_delay):
    answers = Answers(chunks=3, delay_seconds=0.01, chunk_delay_seconds=chunk_delay)

    found = await measured(lambda: Connection(answers), callers=4, bodies=[body])

    assert found.statuses == {"200": found.ok}
    assert found.ok == answers.count > 8
    assert answers.last == body.encode()
    assert 9 < found.p50_ms <= found.p99_ms <= found.longest_ms < 5000
    assert found.first_byte_p50_ms <= found.p50_ms
    assert (found.hanging, found.broken) == (0, 0)


async def test_each_body_is_sent_once_where_none_may_be_repeated():
    answers = Answers(chunks=1, delay_seconds=0, chunk_delay_seconds=0)

    found = await measured(lambda: Connection(answers), callers=2, bodies=["1", "2", "3"], mode="once", seconds=5.0)

    assert (found.ok, answers.count) == (3, 3)
    assert found.seconds < 4


async def test_a_rate_is_kept_however_slow_the_answers_are():
    answers = Answers(chunks=1, delay_seconds=0.1, chunk_delay_seconds=0)

    found = await measured(lambda: Connection(answers), rate=200.0, seconds=0.5, patience_seconds=5.0)

    assert 80 <= found.ok <= 100
    assert found.hanging == 0


async def test_refusals_are_told_from_answers():
    found = await measured(Refusing, callers=2)

    assert found.ok == 0
    assert found.codes == {"overloaded": found.statuses["503"]}
    assert found.refusals_with_retry_after == found.statuses["503"] > 1


async def test_what_gets_no_answer_hangs():
    assert (await measured(Silent, callers=3)).hanging == 3
    assert (await measured(Silent, rate=50.0)).hanging >= 5


async def test_a_connection_that_ends_without_an_answer_is_broken_off():
    found = await measured(Closing, callers=1)

    assert found.broken > 0
    assert (found.ok, found.hanging) == (0, 0)


async def test_the_mock_tells_what_it_got():
    answers = Answers(chunks=1, delay_seconds=0, chunk_delay_seconds=0)
    answers.count, answers.last = 7, b"asked"
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    said = []
    for name in ("count", "last"):
        writer.write(f"GET /{name} HTTP/1.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        said.append(await reader.readexactly(int(head.partition(b"content-length: ")[2])))
    writer.close()
    server.close()

    assert said == [b"7", b"asked"]


def test_the_mocks_answer_is_a_chat_completion():
    whole = json.loads(Answers(chunks=5, delay_seconds=0, chunk_delay_seconds=0).whole.partition(b"\r\n\r\n")[2])

    assert whole["choices"][0]["message"]["content"] == "Thank you for the details"
    assert whole["usage"]["completion_tokens"] == 5


def test_shares_of_sorted_waits():
    assert share([0.001, 0.002, 0.003, 0.004], 0.5) == pytest.approx(3)
    assert share([0.001, 0.002], 1) == pytest.approx(2)
    assert share([], 0.5) == 0


def test_a_flat_curve_has_the_exponent_zero_and_a_straight_one_one():
    assert exponent([(10, 5.0), (100, 5.0), (1000, 5.0)]) == pytest.approx(0)
    assert exponent([(10, 1.0), (100, 10.0), (1000, 100.0)]) == pytest.approx(1)
    assert exponent([(10, 1.0), (100, 100.0)]) == pytest.approx(2)


def test_a_slope_comes_with_its_error():
    assert slope_of([(0, 1.0), (1, 3.0), (2, 5.0)]) == (pytest.approx(2), pytest.approx(0))
    slope, error = slope_of([(0, 1.0), (1, -1.0), (2, 1.0), (3, -1.0)])
    assert abs(slope) < 2 * error


def test_a_step_took_what_lies_between_its_end_and_the_one_before():
    traces = [{"resolve": 30, "authenticate": 10}, {"authenticate": 20, "resolve": 60}]

    assert steps_of(traces) == [("authenticate", 15), ("resolve", 30)]
