"""How cost grows: with the length of prompts, with callers, with apps in the registry and with stored traces.

`scripts/bench growth [--rows N] [--quick] [--save]`: N is how many traces the largest store has, up to ten million.
Each curve should be flat, or a straight line; its exponent says which: 0 is flat, 1 is a straight line through nothing.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from scripts.measuring import prompts
from scripts.measuring.results import Figure, Result, Run, Table
from scripts.measuring.stand import NAMES, PATTERNS, Mock, Served, require_all_ok, served, wait_until_idle
from tests.support.many_traces import put_many

LENGTHS, QUICK_LENGTHS = (100, 300, 1_000, 3_000, 10_000, 30_000), (100, 1_000, 3_000)
CALLERS, QUICK_CALLERS = (1, 8, 32, 128, 512), (1, 32, 512)
APPS, QUICK_APPS = (10, 100, 1_000, 10_000), (10, 300)
STORED, QUICK_STORED = (0, 10_000, 100_000, 1_000_000, 10_000_000), (0, 10_000, 50_000)
ROWS = 10_000_000
SECONDS, QUICK_SECONDS = 3.0, 1.0
TOKENS_A_CURVE = 60_000  # different prompts of each length have so many tokens together, and at least some
LEAST_PROMPTS, MOST_PROMPTS = 4, 200
FLAT, STRAIGHT = 0.15, 1.1  # the largest exponents that still count as such
LISTED = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--rows", type=int, default=ROWS)
    given = parser.parse_args()
    seconds = QUICK_SECONDS if given.quick else SECONDS
    with (
        Run("growth", "scripts/bench growth", save=given.save) as result,
        tempfile.TemporaryDirectory() as name,
        Mock() as mock,
    ):
        folder = Path(name)
        with served(folder / "first", mock.base_url) as gateway:
            by_length(result, gateway, QUICK_LENGTHS if given.quick else LENGTHS, seconds)
            by_callers(result, gateway, QUICK_CALLERS if given.quick else CALLERS, seconds)
        by_apps(result, folder, mock, QUICK_APPS if given.quick else APPS, seconds)
        stored = [count for count in (QUICK_STORED if given.quick else STORED) if count <= given.rows]
        by_traces(result, folder, mock, stored, seconds)


def by_length(result: Result, gateway: Served, lengths: Sequence[int], seconds: float) -> None:
    rows = []
    for preset in (PATTERNS, NAMES):
        costs = []
        for tokens in lengths:
            count = min(MOST_PROMPTS, max(LEAST_PROMPTS, TOKENS_A_CURVE // tokens))
            bodies = prompts.long_letters(preset, tokens, count, seed=tokens + (preset == NAMES))
            wait_until_idle(gateway)
            new, new_ms = gateway.ask(gateway.load(bodies, mode="once", callers=1, seconds=120))
            require_all_ok(new, f"{tokens} tokens")
            again, again_ms = gateway.ask(gateway.load(bodies[-1:], callers=1, seconds=seconds))
            require_all_ok(again, f"{tokens} tokens again")
            rows.append((preset, tokens, new_ms, new_ms * 1000 / tokens, new.p50_ms, again_ms, again.p50_ms))
            costs.append(new_ms)
        longer = [(tokens, cost) for tokens, cost in zip(lengths, costs, strict=True) if tokens >= 1_000]  # noqa: PLR2004
        words = f"exponent of CPU over prompt length, from 1,000 tokens on, {preset}"
        result.figures[f"length, {preset}"] = Figure(exponent(longer), "exponent", "lower", STRAIGHT, words)
    columns = ("preset", "tokens", "CPU ms, new text", "us a token", "p50 ms", "CPU ms, text seen before", "p50 ms")
    note = "One caller. New: each text is sent once. CPU is read in steps of 10 ms, shared by the requests of a row."
    result.tables.append(Table("Length of the prompt", columns, rows, note))


def by_callers(result: Result, gateway: Served, callers: Sequence[int], seconds: float) -> None:
    rows, costs = [], []
    for count in callers:
        wait_until_idle(gateway)
        measured, cpu_ms = gateway.ask(gateway.load([prompts.letter(PATTERNS)], callers=count, seconds=seconds))
        require_all_ok(measured, f"{count} callers")
        rows.append((count, measured.rps, cpu_ms, measured.p50_ms, measured.p99_ms, measured.longest_ms))
        costs.append((count, cpu_ms))
    words = "exponent of CPU a request over callers"
    result.figures["callers"] = Figure(exponent(costs), "exponent", "lower", FLAT, words)
    columns = ("callers", "requests/s", "CPU ms", "p50 ms", "p99 ms", "longest ms")
    result.tables.append(Table("Callers", columns, rows, "Patterns only, always the same prompt."))


def by_apps(result: Result, folder: Path, mock: Mock, counts: Sequence[int], seconds: float) -> None:
    rows, costs = [], []
    for count in counts:
        place = folder / f"apps-{count}"
        begun = time.perf_counter()
        with served(place, mock.base_url, apps=count) as gateway:
            ready = time.perf_counter() - begun
            measured, cpu_ms = gateway.ask(gateway.load([prompts.letter(PATTERNS)], callers=1, seconds=1))
            measured, cpu_ms = gateway.ask(gateway.load([prompts.letter(PATTERNS)], callers=32, seconds=seconds))
            require_all_ok(measured, f"{count} apps")
            live = seconds_until_live(gateway, count)
        rows.append((count, measured.rps, cpu_ms, measured.p50_ms, ready, live))
        costs.append((count, cpu_ms))
    words = "exponent of CPU a request over apps in the registry"
    result.figures["apps"] = Figure(exponent(costs), "exponent", "lower", FLAT, words)
    columns = ("apps", "requests/s", "CPU ms", "p50 ms", "start and first key, s", "a change is live after, s")
    result.tables.append(Table("Apps in the registry", columns, rows, "32 callers, patterns only."))


def seconds_until_live(gateway: Served, count: int) -> float:
    """Return how long it takes from a changed registry until requests are judged by it."""
    path = gateway.gateway.registry
    path.write_text(path.read_text().replace(f"presets: [{PATTERNS}, {NAMES}]", f"presets: [{NAMES}]", 1))
    body = prompts.letter(PATTERNS).encode()
    begun = time.perf_counter()
    while gateway.gateway.send("POST", "/v1/chat/completions", body, gateway.key)[0] == 200:  # noqa: PLR2004
        if time.perf_counter() - begun > 300:  # noqa: PLR2004
            raise SystemExit(f"a change of a registry with {count} apps was not live within five minutes")
        time.sleep(0.02)
    return time.perf_counter() - begun


def by_traces(result: Result, folder: Path, mock: Mock, counts: Sequence[int], seconds: float) -> None:
    rows, costs, finds = [], [], []
    for count in counts:
        place = folder / f"traces-{count}"
        if count:
            put_many(Places(place / "data"), count)
        with served(place, mock.base_url) as gateway:
            gateway.ask(gateway.load([prompts.letter(PATTERNS)], callers=1, seconds=1))
            measured, cpu_ms = gateway.ask(gateway.load([prompts.letter(PATTERNS)], callers=32, seconds=seconds))
            require_all_ok(measured, f"{count} traces")
            wait_until_idle(gateway)
            reader = TraceReader(place / "data")
            newest = reader.list(limit=1)[0]
            listed = median_ms(lambda reader=reader: reader.list(limit=LISTED))
            of_app = median_ms(lambda reader=reader: reader.list(limit=LISTED, app="app-007"))
            shown = median_ms(lambda reader=reader, newest=newest: reader.show(newest["trace_id"]))
        rows.append((count, measured.rps, cpu_ms, measured.p50_ms, listed, of_app, shown))
        costs.append((count + 1, cpu_ms))
        finds.append((count, shown))
    words = "exponent of CPU a request over traces stored"
    result.figures["traces"] = Figure(exponent(costs), "exponent", "lower", FLAT, words)
    words = "exponent of the time to show a trace over traces stored, from 10,000 on"
    result.figures["traces, show"] = Figure(exponent(finds[1:]), "exponent", "lower", STRAIGHT, words)
    columns = ("traces", "requests/s", "CPU ms", "p50 ms", f"newest {LISTED} ms", f"{LISTED} of an app ms", "show ms")
    note = "32 callers, patterns only; traces made up in SQL, without texts. Found while the gateway runs and is idle."
    result.tables.append(Table("Traces stored", columns, rows, note))


def median_ms(query: object) -> float:
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        query()  # type: ignore[operator] # a function without arguments
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return how cost grows with size: the slope of a straight line through both logarithms."""
    logs = [(math.log(size), math.log(cost)) for size, cost in points if size > 0 and cost > 0]
    if len(logs) < 2:  # noqa: PLR2004
        return 0.0
    return statistics.linear_regression([size for size, _ in logs], [cost for _, cost in logs]).slope


if __name__ == "__main__":
    main()
