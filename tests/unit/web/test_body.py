import pytest

from llmguard.domain.errors import Refusal
from llmguard.web.connection import MOST_BODY_BYTES, HungUpError, read_body


def receiving(*messages):
    waiting = list(messages)

    async def receive():
        return waiting.pop(0)

    return receive


def a_part(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_parts_are_joined():
    receive = receiving(a_part(b"ab", more=True), a_part(b"", more=True), a_part(b"c", more=False))

    assert await read_body({}, receive) == b"abc"


async def test_announced_size_is_refused_before_anything_is_read():
    with pytest.raises(Refusal) as refused:
        await read_body({b"content-length": str(MOST_BODY_BYTES + 1).encode()}, receiving())

    assert refused.value.code == "request_too_large"


async def test_size_that_was_not_announced_is_refused_as_it_arrives():
    half = b"x" * (MOST_BODY_BYTES // 2 + 1)

    with pytest.raises(Refusal) as refused:
        await read_body({}, receiving(a_part(half, more=True), a_part(half, more=True)))

    assert refused.value.code == "request_too_large"


async def test_hang_up_in_the_middle_is_told():
    with pytest.raises(HungUpError):
        await read_body({}, receiving(a_part(b"ab", more=True), {"type": "http.disconnect"}))


async def test_announced_size_of_thousands_of_zeros_stops_nobody():
    assert await read_body({b"content-length": b"0" * 5_000 + b"2"}, receiving(a_part(b"{}", more=False))) == b"{}"
