import asyncio

import pytest

from llmguard.domain.errors import Fault
from llmguard.web.slots import Slots


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


async def a_round_later():
    """Return when the event loop has come round to what was waiting when this was asked."""
    for _ in range(2):
        await asyncio.sleep(0)


async def take_in_order(slots, *apps, begun=None):
    """Let the apps ask for slots; return the list that their names come into as they get them, and their tasks."""
    begun = [] if begun is None else begun

    async def take(app):
        await slots.take(app)
        begun.append(app)

    tasks = [asyncio.create_task(take(app)) for app in apps]
    await asyncio.sleep(0)
    return begun, tasks


async def test_no_more_begin_in_a_round_than_keep_it_short():
    slots = Slots(100, a_round=2)
    begun, tasks = await take_in_order(slots, *"abcde")

    assert begun == ["a", "b"]
    await a_round_later()
    assert begun == ["a", "b", "c", "d"]
    await asyncio.gather(*tasks)
    assert begun == ["a", "b", "c", "d", "e"]


async def test_who_waits_for_the_next_round_begins_before_who_comes_then():
    slots = Slots(100, a_round=1)
    begun, tasks = await take_in_order(slots, "first", "second", "third")
    _, more = await take_in_order(slots, "fourth", begun=begun)

    await asyncio.gather(*tasks, *more)
    assert begun == ["first", "second", "third", "fourth"]


async def test_apps_that_wait_have_their_turns_one_after_the_other():
    slots = Slots(1)
    await slots.take("other")
    begun, tasks = await take_in_order(slots, "greedy", "greedy", "greedy", "modest")

    for _ in range(4):
        slots.give(begun[-1] if begun else "other")
        await a_round_later()

    assert begun == ["greedy", "modest", "greedy", "greedy"]
    await asyncio.gather(*tasks)


async def test_who_has_its_share_does_not_hold_up_the_others():
    slots = Slots(4)
    for _ in range(3):
        await slots.take("greedy")
    begun, tasks = await take_in_order(slots, "greedy", "modest")

    assert begun == ["modest"]
    slots.give("greedy")
    await asyncio.gather(*tasks)


async def test_the_turn_of_who_left_is_the_next_ones():
    slots = Slots(1)
    await slots.take("app")
    begun, tasks = await take_in_order(slots, "app", "app")
    tasks[0].cancel()
    slots.give("app")  # before the cancelled one has noticed

    await tasks[1]
    assert begun == ["app"]
    await asyncio.gather(*tasks, return_exceptions=True)
    slots.give("app")
    await asyncio.wait_for(slots.take("app"), 1)


async def test_it_is_crowded_while_nobody_else_may_wait():
    slots = Slots(1, wait_seconds=30)
    await slots.take("app")
    _, tasks = await take_in_order(slots, *["app"] * 7)
    assert not slots.is_crowded
    _, more = await take_in_order(slots, "app")
    assert slots.is_crowded

    tasks[0].cancel()
    await a_round_later()
    assert not slots.is_crowded
    for task in (*tasks, *more):
        task.cancel()
    await asyncio.gather(*tasks, *more, return_exceptions=True)


async def test_who_came_in_the_same_round_is_reckoned_with_before_it_asks_for_a_slot():
    slots = Slots(1, wait_seconds=30)
    await slots.take("app")
    assert not slots.will_be_crowded()
    _, tasks = await take_in_order(slots, *["app"] * 6)

    assert [slots.will_be_crowded() for _ in range(4)] == [False, False, True, True]
    assert not slots.is_crowded  # those two did not ask
    await a_round_later()
    assert not slots.will_be_crowded()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
