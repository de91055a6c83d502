"""Traces: how fast the ingester stores them, and how long it takes to find them among many.

`scripts/bench traces [--rows N] [--quick] [--save]`. Ingested are traces of 4 KB as requests leave them; searched are
N made up in SQL, without their texts, over a month and 200 apps; the time of a query includes opening the store.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from llmguard.domain.trace import Trace
from llmguard.traces.drain import Drain
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from llmguard.traces.store import TraceStore
from scripts.measuring import texts
from scripts.measuring.results import Figure, Result, Run, Table
from tests.support.gateway import LLMGUARD
from tests.support.many_traces import put_many

INGESTED, QUICK_INGESTED = 30_000, 4_000
ROWS, QUICK_ROWS = 1_000_000, 50_000
ROUNDS = 5
TEXTS = 40
MONTH = "2026-11"
FINANCE = {
    "finance report --by app": ["report", "--month", MONTH, "--by", "app"],
    "finance report --by app --by day": ["report", "--month", MONTH, "--by", "app", "--by", "day"],
    "finance export --focus": ["export", "--focus", "--month", MONTH],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--rows", type=int, help="how many are searched, up to ten million")
    given = parser.parse_args()
    rows = given.rows or (QUICK_ROWS if given.quick else ROWS)
    with Run("traces", "scripts/bench traces", save=given.save) as result:
        ingest(result, QUICK_INGESTED if given.quick else INGESTED)
        with tempfile.TemporaryDirectory() as folder:
            search(result, Path(folder), rows)


def ingest(result: Result, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder))
        places.create()
        spool = Spool(places.spool, "bench")
        traces = [a_trace(number) for number in range(TEXTS)]
        begun = time.perf_counter()
        for number in range(count):
            traces[number % TEXTS].trace_id = str(uuid.uuid4())
            spool.append(traces[number % TEXTS])
        append_us = (time.perf_counter() - begun) * 1e6 / count
        spool.close()
        spooled = sum(path.stat().st_size for path in places.spool.iterdir())
        store = TraceStore(places)
        begun, cpu = time.perf_counter(), time.process_time()
        moved = Drain(places.spool, store).run()
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
        store.close()
        if moved != count:
            raise SystemExit(f"{moved} of {count} traces were stored")
        stored = places.store.stat().st_size
    rate = count / seconds
    result.figures["ingest"] = Figure(rate, "rows/s", "higher")
    result.figures["ingest: CPU"] = Figure(cpu_seconds * 1e6 / count, "us a row", "lower")
    result.figures["append"] = Figure(append_us, "us", "lower")
    columns = ("traces", "KB a trace", "append us", "rows/s", "CPU us a row", "KB stored")
    sizes = (spooled / count / 1024, append_us, rate, cpu_seconds * 1e6 / count, stored / count / 1024)
    note = f"{TEXTS} different texts in turn: stored, real traces compress less well."
    result.tables.append(Table("Ingest", columns, [(count, *sizes)], note))


def a_trace(number: int) -> Trace:
    """Return a trace of about 4 KB, as a request with a short history leaves it."""
    messages = [{"role": "user", "content": texts.text("prose", 150, number * 10 + turn)} for turn in range(4)]
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": texts.text("prose", 80, number)}}]}
    return Trace(
        "",
        datetime.now(UTC),
        "/v1/chat/completions",
        app=f"app-{number}",
        owner="owner@example.com",
        preset="summarise",
        preset_version=1,
        status=200,
        request={"model": "mock-1", "messages": messages},
        response=answer,
        entities={"PERSON": 2, "EMAIL_ADDRESS": 1},
        input_tokens=600,
        output_tokens=80,
        latency_ms=812.5,
    )


def search(result: Result, folder: Path, rows: int) -> None:
    begun = time.perf_counter()
    put_many(Places(folder), rows)
    print(f"{rows:,} traces made in {time.perf_counter() - begun:.0f} s")
    reader = TraceReader(folder)
    newest = reader.list(limit=1)[0]
    until = "2026-11-15T12:00:00Z"
    queries: dict[str, Callable[[], object]] = {
        "the newest 50": lambda: reader.list(limit=50),
        "the newest 50 of an app": lambda: reader.list(limit=50, app="app-007"),
        "50 refused, by code": lambda: reader.list(limit=50, code="rate_limit_exceeded"),
        "an hour of an app": lambda: reader.list(app="app-007", since="2026-11-15T11:00:00Z", until=until),
        "one by its id": lambda: reader.show(newest["trace_id"]),
        "one by a request id that is not there": lambda: reader.list(request_id="req-0"),
        "how many": reader.count,
    }
    table = []
    for name, query in queries.items():
        took = sorted(milliseconds(query) for _ in range(ROUNDS))
        table.append((name, rows, statistics.median(took), took[-1]))
        result.figures[f"{name}, of {rows:,}"] = Figure(statistics.median(took), "ms", "lower")
    result.tables.append(Table("Finding traces", ("query", "traces", "median ms", "longest ms"), table))
    finance = []
    for name, words in FINANCE.items():
        seconds = min(seconds_of(["finance", *words, "--data", str(folder)]) for _ in range(3))
        finance.append((f"`llmguard {name}`", rows, seconds))
        result.figures[f"{name}, of {rows:,}"] = Figure(seconds, "s", "lower")
    note = "The whole command, its start included; the best of three. 200 apps."
    result.tables.append(Table("A month's reports", ("command", "traces", "seconds"), finance, note))


def milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def seconds_of(words: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([LLMGUARD, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
