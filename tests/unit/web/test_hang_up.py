import asyncio

import pytest

from llmguard.web.connection import HangUp


def hanging_up_after(seconds):
    async def receive():
        await asyncio.sleep(seconds)
        return {"type": "http.disconnect"}

    return receive


async def test_work_is_cancelled_when_the_client_hangs_up():
    finished = False

    async with HangUp(hanging_up_after(0)) as hang_up:
        hang_up.watch()
        await asyncio.sleep(30)
        finished = True

    assert not finished
    assert asyncio.current_task().cancelling() == 0


async def test_work_goes_on_where_nobody_watches():
    async with HangUp(hanging_up_after(0)):
        await asyncio.sleep(0.05)
        finished = True

    assert finished


async def test_cancellation_from_elsewhere_is_passed_on():
    async def work():
        async with HangUp(hanging_up_after(30)) as hang_up:
            hang_up.watch()
            await asyncio.sleep(30)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
