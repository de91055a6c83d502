"""What encryption at rest costs, and an erasure, a verification and a pack, in processor time.

.venv/bin/python -m scripts.measuring.trace_store --rows 50000
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from llmguard.audit.log import AuditLog
from llmguard.domain.at_rest import PLAIN, AtRest
from llmguard.domain.clock import SystemClock
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.trace import Trace
from llmguard.evidence.pack import make_pack
from llmguard.evidence.proof import prove
from llmguard.evidence.scope import Scope
from llmguard.settings import load_settings
from llmguard.traces.drain import Drain
from llmguard.traces.erasing import Order
from llmguard.traces.places import Places
from llmguard.traces.queries import TraceQueries
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool, SpoolLimits
from llmguard.traces.store import TraceStore
from tests.support.builders import NOON, a_trace

SECRET = "a secret for measuring, from nowhere"
REPORT = "SELECT app, sum(cost_usd)::VARCHAR AS cost FROM traces GROUP BY ALL"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings({"LLMGUARD_SECRET": SECRET}, data=folder)
        ways = {"plain": PLAIN, "encrypted": AtRest(encrypts=True, keys=settings.at_rest.keys)}
        found = {name: measure(Path(folder) / name, at_rest, rows) for name, at_rest in ways.items()}
    print(f"{rows:,} traces of about 4.4 KB")
    for what, plain in found["plain"].items():
        other = found["encrypted"][what]
        print(f"{what}: plain {plain:,.4g}, encrypted {other:,.4g}, {other / plain:.2f} times")


def measure(data: Path, at_rest: AtRest, rows: int) -> dict[str, float]:
    places = Places(data, at_rest)
    places.create()
    spool = Spool(places.spool, "w", at_rest=at_rest, limits=SpoolLimits(backlog_bytes=1 << 40))
    chance = random.Random(1)
    words = [chance.randbytes(4).hex() for _ in range(3_000)]
    traces = [_trace(number, chance, words) for number in range(2_000)]
    found: dict[str, float] = {}
    started = time.process_time()
    for number in range(rows):
        traces[number % 2_000].trace_id = new_trace_id(NOON + timedelta(seconds=number))
        traces[number % 2_000].started_at = NOON + timedelta(seconds=number)
        spool.append(traces[number % 2_000])
    found["append, microseconds a trace"] = (time.process_time() - started) / rows * 1e6
    spool.close()
    store = TraceStore(places)
    found["ingest, seconds"] = _seconds(lambda: Drain(places.spool, store).run())
    found["checkpoint, seconds"] = _seconds(lambda: store.connection.execute("CHECKPOINT"))
    queries = TraceQueries(store.connection)
    for name, question in {
        "newest 50, ms": lambda: queries.list(limit=50, filters={}),
        "text over all, ms": lambda: queries.count(filters={"text": "nowhere to be found"}),
        "placeholder of one app, ms": lambda: queries.count(
            filters={"app": "app-3", "placeholders": ["<PERSON_KOFADE"]}
        ),
        "cost by app, ms": lambda: queries.query(sql=REPORT, parameters=[], limit=100),
    }.items():
        found[name] = min(_seconds(question) for _ in range(3)) * 1000
    queries.close()
    store.close()
    found["file, MB"] = places.store.stat().st_size / 1e6
    reader, audit = TraceReader(data, at_rest), AuditLog(places.state, SystemClock())
    found["verify, seconds"] = _seconds(lambda: prove(reader, audit))
    order = Order(id="a", kind="erasure", who="os:me", reason="CASE-1", filters={"app": "app-3"})
    found["erase one app of 20, seconds"] = _seconds(lambda: reader.erase(order))
    environ = {"LLMGUARD_SECRET": SECRET} | ({"LLMGUARD_TRACES_ENCRYPTION": "true"} if at_rest.encrypts else {})
    scope = Scope(NOON, NOON + timedelta(days=400), "app-4")
    settings = load_settings(environ, data=str(data))
    found["pack of one app, seconds"] = _seconds(lambda: make_pack(settings, scope, data / "pack.zip"))
    return found


def _trace(number: int, chance: random.Random, words: list[str]) -> Trace:
    text = " ".join(chance.choice(words) for _ in range(220))
    return a_trace(
        app=f"app-{number % 20}",
        status=200,
        cost_nano_usd=1_000,
        request={"messages": [{"role": "user", "content": text}]},
        response={"choices": [{"message": {"content": text[::-1]}}]},
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()  # the machine may be busy with other things
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
