import asyncio

import pytest

from llmguard.domain.errors import Fault
from llmguard.web.connection import Slots


async def test_who_finds_no_slot_gets_the_next_one_in_order():
    slots, order = Slots(1), []
    await slots.take("app")

    async def wait(name):
        await slots.take("app")
        order.append(name)
        slots.give("app")

    waiting = [asyncio.create_task(wait(name)) for name in ("first", "second")]
    await asyncio.sleep(0.01)
    assert order == []
    slots.give("app")
    await asyncio.gather(*waiting)

    assert order == ["first", "second"]


async def test_who_waits_in_vain_is_refused_at_the_end_of_the_wait():
    slots = Slots(1, wait_seconds=0.05)
    await slots.take("app")
    begun = asyncio.get_running_loop().time()

    with pytest.raises(Fault) as refused:
        await slots.take("app")

    assert refused.value.code == "overloaded"
    assert refused.value.retry_after_seconds == 1
    assert asyncio.get_running_loop().time() - begun >= 0.04


async def test_a_wait_in_vain_costs_no_slot():
    slots = Slots(1, wait_seconds=0.02)
    await slots.take("app")
    with pytest.raises(Fault):
        await slots.take("app")
    slots.give("app")

    await asyncio.wait_for(slots.take("app"), 1)


async def test_a_cancelled_wait_costs_no_slot():
    slots = Slots(1)
    await slots.take("app")
    waiting = asyncio.create_task(slots.take("app"))
    await asyncio.sleep(0)
    slots.give("app")  # to the one that is cancelled in the same moment
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await asyncio.wait_for(slots.take("app"), 1)


async def test_only_so_many_may_wait():
    slots = Slots(1, wait_seconds=30)
    await slots.take("app")
    waiting = [asyncio.create_task(slots.take("app")) for _ in range(8)]
    await asyncio.sleep(0)

    with pytest.raises(Fault):
        await asyncio.wait_for(slots.take("app"), 1)

    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_one_app_leaves_slots_to_the_others():
    slots = Slots(4, wait_seconds=0.02)
    for _ in range(3):
        await slots.take("greedy")
    with pytest.raises(Fault):
        await slots.take("greedy")

    await asyncio.wait_for(slots.take("other"), 1)


async def test_a_slot_that_is_given_back_is_free_for_its_app_again():
    slots = Slots(4, wait_seconds=1)
    for _ in range(3):
        await slots.take("greedy")
    waiting = asyncio.create_task(slots.take("greedy"))
    await asyncio.sleep(0)
    slots.give("greedy")

    await asyncio.wait_for(waiting, 1)
