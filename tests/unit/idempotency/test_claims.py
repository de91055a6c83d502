"""Who answers first, and what is left of a claim when its caller goes away."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from llmguard.idempotency.claims import Claim, Claims
from llmguard.idempotency.store import AnswerStore
from tests.support.builders import FrozenClock

SECRET = b"a secret for tests only"
REQUEST = ("app", "key-1", "/v1/chat/completions", b"{}")


@asynccontextmanager
async def the_claims(folder, worker="one", **changes):
    claims = Claims(
        lambda: AnswerStore(folder / "state.db", SECRET, FrozenClock()), worker, lambda name: name != "dead", **changes
    )
    yield claims
    await claims.close()


@pytest.mark.parametrize("holder", [None, "dead"], ids=["first", "after a dead one"])
def test_caller_who_is_cancelled_leaves_no_claim_behind(tmp_path, holder):
    async def hang_up_after(claims, turns):
        task = asyncio.create_task(claims.claim(*REQUEST))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        task.cancel()
        (claim,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(claim, Claim):
            claim.give_up()

    async def run():
        if holder is not None:
            async with the_claims(tmp_path, holder) as claims:
                await claims.claim(*REQUEST)
        async with the_claims(tmp_path) as claims:
            await claims.asked(lambda store, _: store.named(*REQUEST))
            for turns in range(1, 12):
                await hang_up_after(claims, turns)
        async with the_claims(tmp_path, "two") as claims:
            return await asyncio.wait_for(claims.claim(*REQUEST), 5)

    assert isinstance(asyncio.run(run()), Claim)


def test_those_who_wait_long_look_more_seldom(tmp_path):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    async def run():
        async with the_claims(tmp_path) as first, the_claims(tmp_path, "two", sleep=sleep) as second:
            await first.claim(*REQUEST)
            await second.claim(*REQUEST)

    with pytest.raises(Exception, match="still being answered"):
        asyncio.run(run())

    assert pauses[0] < 0.1
    assert pauses == sorted(pauses)
    assert len(pauses) < 700
