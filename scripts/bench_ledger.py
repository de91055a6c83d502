"""Reserve and settle in the ledger: 1, 2 and 4 workers, 1 and 3 scopes, and the code of another checkout beside ours.

`scripts/bench ledger [--quick] [--against FOLDER] [--save]`: FOLDER holds another version of llmguard/, measured in
turn with this one in the same run; it has one scope only. Times are what a caller waits for a reserve, and what both
cost the processor; ratios matter, not seconds.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llmguard.domain import catalog
from llmguard.domain.clock import SystemClock
from llmguard.domain.quota import Amount
from llmguard.quota.ledger import Ledger
from scripts.measuring.results import Figure, Run, Table

ROOT = Path(__file__).resolve().parents[1]
CALLERS, PAIRS, QUICK_PAIRS = 8, 4_000, 1_000
ROUNDS, QUICK_ROUNDS = 3, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--work", nargs=4, metavar=("DATA", "NAME", "SCOPES", "PAIRS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        data, name, scopes, pairs = given.work
        print(json.dumps(asyncio.run(work(Path(data), name, int(scopes), int(pairs)))))
        return
    with Run("ledger", "scripts/bench ledger" + (" --quick" if given.quick else ""), save=given.save) as result:
        sizes = (QUICK_PAIRS, QUICK_ROUNDS) if given.quick else (PAIRS, ROUNDS)
        rows = measure(given.against, *sizes)
        columns = ("code", "workers", "scopes", "reserve p50 us", "p99 us", "CPU us a pair", "pairs/s")
        note = "One reservation and its settlement; three scopes are app, owner and cost centre."
        result.tables.append(Table("", columns, [tuple(row.values()) for row in rows], note))
        for row in rows:
            name = f"{row['code']}, {row['workers']} workers, {row['scopes']} scopes"
            result.figures[f"{name}: pairs/s"] = Figure(row["pairs_per_second"], "pairs/s", "higher")
            result.figures[f"{name}: CPU"] = Figure(row["cpu_us"], "us", "lower")


def measure(against: Path | None, pairs: int, rounds: int) -> list[dict]:
    """Return the median of the rounds of each case; cases take turns, so that a busy minute hits all of them."""
    cases = [("this", workers, scopes) for workers in (1, 2, 4) for scopes in (1, 3)]
    if against is not None:
        cases += [("other", workers, 1) for workers in (1, 2, 4)]
    folders = {"this": ROOT, "other": against}
    found: dict[tuple, list[dict]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            code, workers, scopes = case
            found[case].append(run(folders[code], workers, scopes, pairs // workers))
    return [
        {"code": code, "workers": workers, "scopes": scopes}
        | {name: statistics.median(one[name] for one in found[code, workers, scopes]) for name in found[cases[0]][0]}
        for code, workers, scopes in cases
    ]


def run(folder: Path, workers: int, scopes: int, pairs: int) -> dict[str, float]:
    environ = {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryDirectory() as data:
        work_on = [sys.executable, __file__, "--work", data]
        commands = [[*work_on, f"w{number}", str(scopes), str(pairs)] for number in range(workers)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) for command in commands]
        answers = [json.loads(process.communicate()[0]) for process in processes]
    waits = sorted(wait for answer in answers for wait in answer["waits_us"])
    return {
        "p50_us": waits[len(waits) // 2],
        "p99_us": waits[len(waits) * 99 // 100],
        "cpu_us": statistics.mean(answer["cpu_us"] for answer in answers),
        "pairs_per_second": sum(answer["pairs_per_second"] for answer in answers),
    }


async def work(data: Path, name: str, scopes: int, pairs: int) -> dict:
    """Reserve and settle with eight callers, and tell what it took."""
    limits = {"requests_per_minute": 10**9, "tokens_per_day": 10**12, "nano_usd_per_month": 10**15}
    quota = catalog.Quota(**limits)
    facts = {"name": "app", "owner": "o", "status": "approved", "sensitivity": catalog.Sensitivity.INTERNAL}
    facts |= {"presets": (), "quota": quota, "cost_center": "c"}
    if scopes > 1:
        facts["shared"] = (catalog.QuotaScope("owner", "o", quota), catalog.QuotaScope("cost_center", "c", quota))
    app = catalog.App(**facts)
    ledger = Ledger(data / "state.db", SystemClock(), name, busy_timeout_seconds=30)
    ledger.start()
    waits: list[float] = []

    async def caller(number: int) -> None:
        for pair in range(pairs // CALLERS):
            before = time.perf_counter_ns()
            hold = await ledger.reserve(f"{name}-{number}-{pair}", app, Amount(1, 100, 1000))
            waits.append((time.perf_counter_ns() - before) / 1000)
            await asyncio.sleep(0.001)  # as long as a fast model
            ledger.settle(hold, Amount(1, 60, 600))

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(caller, range(CALLERS)))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    await ledger.close()
    return {"waits_us": waits, "cpu_us": cpu_seconds * 1e6 / len(waits), "pairs_per_second": len(waits) / seconds}


if __name__ == "__main__":
    main()
