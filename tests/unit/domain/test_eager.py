import asyncio

import pytest

from llmguard.domain.eager import Begun


async def ready(value):
    return value


async def after_a_wait(value, seconds=0.0):
    await asyncio.sleep(seconds)
    return value


async def test_what_is_there_already_is_done_at_once():
    begun = Begun(ready(7))

    assert begun.done
    assert begun.result == 7


@pytest.mark.parametrize("seconds", [0.0, 0.001], ids=["a turn of the loop", "a timer"])
async def test_what_has_to_wait_is_awaited_where_it_stands(seconds):
    begun = Begun(after_a_wait(7, seconds))

    assert not begun.done
    assert await begun == 7


async def test_the_rest_can_be_awaited_by_a_task_of_its_own():
    begun = Begun(after_a_wait(7, 0.001))

    assert await asyncio.create_task(begun.rest()) == 7


async def test_an_error_comes_out_where_it_is_raised():
    async def failing(seconds):
        if seconds:
            await asyncio.sleep(seconds)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Begun(failing(0))
    begun = Begun(failing(0.001))
    with pytest.raises(ValueError, match="no"):
        await begun


async def test_a_timeout_cancels_what_waits_and_lets_it_tidy_up():
    tidied = []

    async def slow():
        try:
            await asyncio.sleep(30)
        finally:
            tidied.append(True)

    begun = Begun(slow())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await begun

    assert tidied == [True]


async def test_the_end_of_an_asynchronous_generator_is_told():
    async def one():
        yield 1

    items = one()

    assert Begun(anext(items)).result == 1
    with pytest.raises(StopAsyncIteration):
        Begun(anext(items))
