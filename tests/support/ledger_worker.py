"""A worker process of ledger tests: `python -m tests.support.ledger_worker MODE DATA WORKER`.

`share`: reserves 100 times at once, 7 tokens each, settles what it got for 5, ends, and prints how many it got.
`churn`: reserves and settles with eight callers until it is killed, and prints each step once it is known.
`scopes`: reserves what is left of three scopes, settles or forgets it, until it is killed; says when it has begun.
`full`: runs into a full disk, prints what happens, has room again, and prints how the app stands.
"""

import asyncio
import random
import resource
import signal
import sys
from pathlib import Path

from llmguard.domain.catalog import QuotaScope
from llmguard.domain.clock import SystemClock
from llmguard.domain.errors import Fault, Refusal
from llmguard.domain.quota import Amount
from llmguard.quota.ledger import Ledger
from tests.support.builders import a_quota, an_app

FIFTY_OF_SEVEN = an_app(quota=a_quota(tokens_per_month=50 * 7))
THREE_SCOPES = an_app(
    quota=a_quota(tokens_per_month=30_000, time_zone="Asia/Kathmandu"),
    shared=(
        QuotaScope("owner", "dana@example.com", a_quota(tokens_per_month=20_000, time_zone="Europe/Berlin")),
        QuotaScope("cost_center", "4711", a_quota(tokens_per_month=15_000)),
    ),
)
PLENTY = an_app(quota=a_quota(tokens_per_month=1_000_000))


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def share(ledger, worker):
    async def caller(number):
        try:
            return await ledger.reserve(f"{worker}-{number}", FIFTY_OF_SEVEN, Amount(1, 7, 0))
        except Refusal:
            return None

    say("ready")
    sys.stdin.readline()  # both processes begin at once
    holds = [hold for hold in await asyncio.gather(*map(caller, range(100))) if hold]
    say(len(holds))
    sys.stdin.readline()  # and nobody settles before both are through
    for hold in holds:
        ledger.settle(hold, Amount(1, 5, 0))
    await ledger.close()


async def churn(ledger, worker):
    async def caller(name):
        for number in range(1_000_000):
            hold_id = f"{name}-{number}"
            say("asked", hold_id)
            hold = await ledger.reserve(hold_id, PLENTY, Amount(1, 10, 0))
            say("held", hold_id)
            await asyncio.sleep(random.random() / 100)
            if number % 3:
                say("settling", hold_id)
                ledger.settle(hold, Amount(1, 4, 0))

    await asyncio.gather(*(caller(f"{worker}-{number}") for number in range(8)))


async def scopes(ledger, worker):
    say("begun")

    async def caller(name):
        for number in range(1_000_000):
            least, most = Amount(1, 10, 10), Amount(1, 10 + random.randrange(200), 10)
            try:
                hold = await ledger.reserve(
                    f"{name}-{number}", THREE_SCOPES, most, least=least, steps=most.tokens - least.tokens
                )
            except Refusal:
                hold = None
            await asyncio.sleep(random.random() / 100)
            if hold is None:
                continue
            if random.random() < 0.3:
                ledger.release(hold)
            else:
                ledger.settle(hold, Amount(1, random.randint(0, hold.amount.tokens), 0))

    await asyncio.gather(*(caller(f"{worker}-{number}") for number in range(8)))


async def full(ledger, worker):
    hold = await ledger.reserve("before", PLENTY, Amount(1, 10, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails, as on a full disk
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    ledger.settle(hold, Amount(1, 3, 0))
    try:
        await ledger.reserve("meanwhile", PLENTY, Amount(1, 10, 0))
    except Fault as fault:
        answer = fault.code
    else:
        answer = "reserved"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    while True:
        try:
            await ledger.reserve("after", PLENTY, Amount(1, 20, 0))
            break
        except Fault:
            await asyncio.sleep(0.01)
    (month,) = await ledger.standings(PLENTY)
    say(answer, month.used, month.held)
    await ledger.close()


async def main(mode, data, worker):
    ledger = Ledger(Path(data) / "state.db", SystemClock(), worker)
    ledger.start()
    await {"share": share, "churn": churn, "scopes": scopes, "full": full}[mode](ledger, worker)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
