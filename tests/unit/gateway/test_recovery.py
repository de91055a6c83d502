import subprocess
import sys
from datetime import UTC, datetime

import pytest

from llmguard.domain.clock import SystemClock
from llmguard.domain.quota import Amount
from llmguard.gateway.recovery import settle_orphans
from llmguard.quota.ledger import Ledger
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import a_quota, a_trace, an_app

ANSWERED = "019aafd0-0000-7000-8000-00000000000a"
UNREACHED = "019aafd0-0000-7000-8000-00000000000b"
IN_FLIGHT = "019aafd0-0000-7000-8000-00000000000c"
APP = an_app(quota=a_quota(tokens_per_day=1000))

DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from llmguard.domain.clock import SystemClock
from llmguard.domain.quota import Amount
from llmguard.quota.ledger import Ledger
from tests.unit.gateway.test_recovery import APP

async def main():
    ledger = Ledger(Path(sys.argv[1]) / "state.db", SystemClock(), "dies")
    ledger.start()
    for hold_id in sys.argv[2:]:
        await ledger.reserve(hold_id, APP, Amount(1, 100, 5))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def killed_worker(tmp_path):
    subprocess.run([sys.executable, "-c", DIES, tmp_path, ANSWERED, UNREACHED, IN_FLIGHT], check=False)


async def test_dead_workers_holds_are_settled_by_what_their_traces_say(tmp_path, killed_worker):
    spool = Spool(tmp_path / "spool", "test")
    now = datetime.now(UTC)
    spool.append(
        a_trace(
            trace_id=ANSWERED,
            started_at=now,
            app=APP.name,
            status=200,
            input_tokens=10,
            output_tokens=7,
            cost_nano_usd=3,
        )
    )
    spool.append(a_trace(trace_id=UNREACHED, started_at=now, app=APP.name, status=502, code="provider_error"))
    ledger = Ledger(tmp_path / "state.db", SystemClock(), "lives")
    ledger.start()
    reader = TraceReader(tmp_path)

    settled = await settle_orphans(ledger, spool, reader.find_many)
    again = await settle_orphans(ledger, spool, reader.find_many)
    [standing] = await ledger.standings(APP)
    await ledger.close()
    spool.close()

    assert (settled, again) == (3, 0)
    assert (standing.used, standing.held) == (17 + 100, 0)  # the answer's own, and the whole hold of the one in flight
    interrupted = reader.show(IN_FLIGHT)
    assert (interrupted["code"], interrupted["input_tokens"]) == ("interrupted", 100)
    assert Amount(1, 100, 5).tokens == interrupted["input_tokens"]


async def test_nothing_is_done_when_all_workers_live(tmp_path):
    ledger = Ledger(tmp_path / "state.db", SystemClock(), "lives")
    ledger.start()
    spool = Spool(tmp_path / "spool", "test")
    await ledger.reserve(IN_FLIGHT, APP, Amount(1, 100, 5))

    assert await settle_orphans(ledger, spool, TraceReader(tmp_path).find_many) == 0

    await ledger.close()
    spool.close()
