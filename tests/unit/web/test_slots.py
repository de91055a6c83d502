import asyncio

import pytest

from llmguard.domain.errors import Fault
from llmguard.web.connection import Slots


async def test_who_finds_no_slot_gets_the_next_one_in_order():
    slots, order = Slots(1), []
    await slots.take()

    async def wait(name):
        await slots.take()
        order.append(name)
        slots.give()

    waiting = [asyncio.create_task(wait(name)) for name in ("first", "second")]
    await asyncio.sleep(0.01)
    assert order == []
    slots.give()
    await asyncio.gather(*waiting)

    assert order == ["first", "second"]


async def test_who_waits_in_vain_is_refused_at_the_end_of_the_wait():
    slots = Slots(1, wait_seconds=0.05)
    await slots.take()
    begun = asyncio.get_running_loop().time()

    with pytest.raises(Fault) as refused:
        await slots.take()

    assert refused.value.code == "overloaded"
    assert refused.value.retry_after_seconds == 1
    assert asyncio.get_running_loop().time() - begun >= 0.04


async def test_a_wait_in_vain_costs_no_slot():
    slots = Slots(1, wait_seconds=0.02)
    await slots.take()
    with pytest.raises(Fault):
        await slots.take()
    slots.give()

    await asyncio.wait_for(slots.take(), 1)


async def test_a_cancelled_wait_costs_no_slot():
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.give()  # to the one that is cancelled in the same moment
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await asyncio.wait_for(slots.take(), 1)


async def test_only_so_many_may_wait():
    slots = Slots(1, wait_seconds=30)
    await slots.take()
    waiting = [asyncio.create_task(slots.take()) for _ in range(8)]
    await asyncio.sleep(0)

    with pytest.raises(Fault):
        await asyncio.wait_for(slots.take(), 1)

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
