"""Whole answers through all nine steps: rate, processor time and added latency, beside the provider asked straight.

`scripts/bench gateway [--quick] [--save]`. The gateway, with all its processes, stays on one core, callers and provider
on another. *Always the same*: one letter of 200 tokens with a name, an e-mail address and a phone number. *Never the
same*: letters of that kind of which no sentence came before. *Chats*: 20 messages sent before, and a new question.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.measuring import prompts
from scripts.measuring.load import Measured
from scripts.measuring.results import Figure, Result, Run, Table
from scripts.measuring.stand import (
    CALLERS_CORE,
    GATEWAY_CORE,
    NAMES,
    PATTERNS,
    Mock,
    Served,
    a_load,
    require_all_ok,
    run_load,
    served,
)

MANY = 32
SECONDS, QUICK_SECONDS = 8.0, 1.5
NEW_LETTERS = {PATTERNS: 12_000, NAMES: 1_500}  # more than are answered in that time
QUICK_NEW_LETTERS = {PATTERNS: 1_500, NAMES: 200}
AIM_RPS, AIM_CPU_MS, AIM_P50_MS, AIM_P99_MS, AIM_SCALE = 3_000, 0.33, 0.6, 3.0, 1.8
TRACES_READ = 500
COLUMNS = ("preset", "prompts", "callers", "requests/s", "CPU ms", "p50 ms", "p99 ms", "added p50", "added p99")
LEAST_CORES_FOR_TWO = 3
STEPS = ("authenticate", "resolve", "decide", "redact", "reserve", "call", "settle")


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of which preset."""

    preset: str
    prompts: str
    bodies: Sequence[str]
    mode: str = "again"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    seconds, letters = (QUICK_SECONDS, QUICK_NEW_LETTERS) if given.quick else (SECONDS, NEW_LETTERS)
    with Run("gateway", "scripts/bench gateway", save=given.save) as result, tempfile.TemporaryDirectory() as folder:
        measure(result, Path(folder), seconds, letters)


def measure(result: Result, folder: Path, seconds: float, letters: dict[str, int]) -> None:
    with Mock() as mock:
        direct = {
            callers: require_all_ok(ask_straight(mock, callers, seconds / 2), "the provider") for callers in (1, MANY)
        }
        with served(folder / "one", mock.base_url) as one:
            rows, cost = measure_cases(result, one, direct, seconds, letters)
            check_that_it_worked(mock, one)
            steps = time_of_steps(one)
        two_workers(result, folder / "two", mock, seconds, cost)
    columns = ("", "", *COLUMNS[2:4], *COLUMNS[5:7])
    straight = [
        ("provider asked straight", "", callers, measured.rps, measured.p50_ms, measured.p99_ms)
        for callers, measured in direct.items()
    ]
    result.tables[:0] = [Table("Through all nine steps", COLUMNS, rows), Table("The ground", columns, straight)]
    result.tables.append(steps)


def ask_straight(mock: Mock, callers: int, seconds: float) -> Measured:
    return run_load(a_load(mock.port, "none", [prompts.letter("mock-1")], callers=callers, seconds=seconds))


def measure_cases(
    result: Result, gateway: Served, direct: dict[int, Measured], seconds: float, letters: dict[str, int]
) -> tuple[list[tuple], float]:
    """Return the rows, and what a request with patterns cost in ms when many asked."""
    rows, cost = [], {}
    for preset in (PATTERNS, NAMES):
        cases = [Case(preset, "always the same", [prompts.letter(preset)])]
        cases.append(Case(preset, "chats", prompts.chats(preset, letters[preset], seed=1), "once"))
        for case in cases:
            warm_up(gateway, case)
            for callers in (1, MANY) if case.mode == "again" else (MANY,):
                rows.append(row(result, gateway, case, callers, direct, seconds, cost))
        new = [prompts.new_letters(preset, letters[preset] // share, seed=share) for share in (4, 1)]
        for callers, bodies in zip((1, MANY), new, strict=True):
            case = Case(preset, "never the same", bodies, "once")
            rows.append(row(result, gateway, case, callers, direct, seconds, cost))
    return rows, cost[PATTERNS, "always the same", MANY]


def warm_up(gateway: Served, case: Case) -> None:
    """Let the worker see each kind of prompt, as one that has been up for a minute has."""
    require_all_ok(gateway.ask(gateway.load(case.bodies[:1], callers=8, seconds=1))[0], "warming up")


def row(  # noqa: PLR0913 - what one row depends on
    result: Result,
    gateway: Served,
    case: Case,
    callers: int,
    direct: dict[int, Measured],
    seconds: float,
    cost: dict[tuple, float],
) -> tuple:
    load = gateway.load(case.bodies, mode=case.mode, callers=callers, seconds=seconds)
    measured, cpu_ms = gateway.ask(load)
    require_all_ok(measured, f"{case.preset}, {case.prompts}, {callers} callers")
    cost[case.preset, case.prompts, callers] = cpu_ms
    added_p50 = measured.p50_ms - direct[callers].p50_ms
    added_p99 = measured.p99_ms - direct[callers].p99_ms
    name = f"{case.preset}, {case.prompts}, {callers}"
    is_aim = case.preset == PATTERNS and case.prompts == "always the same"
    many, one = is_aim and callers == MANY, is_aim and callers == 1
    figures = {
        "rps": Figure(measured.rps, "requests/s", "higher", AIM_RPS if many else None, f"{MANY} callers, patterns"),
        "cpu_ms": Figure(cpu_ms, "ms", "lower", AIM_CPU_MS if many else None, "processor time of such a request"),
    }
    if callers == 1:
        words = "added to the {} answer, 1 caller, patterns"
        figures["added_p50"] = Figure(added_p50, "ms", "lower", AIM_P50_MS if one else None, words.format("median"))
        figures["added_p99"] = Figure(added_p99, "ms", "lower", AIM_P99_MS if one else None, words.format("p99"))
    result.figures |= {f"{name}: {kind}": figure for kind, figure in figures.items()}
    alone = (added_p50, added_p99) if callers == 1 else (None, None)
    waits = (measured.p50_ms, measured.p99_ms)
    return (case.preset, case.prompts, callers, measured.rps, cpu_ms, *waits, *alone)


def two_workers(result: Result, folder: Path, mock: Mock, seconds: float, cost_of_one: float) -> None:
    """Compare two workers with one: by rate where three cores are, else by what a request costs."""
    cores = sorted({*range_of_cores()} - {CALLERS_CORE}) or [GATEWAY_CORE]
    by_rate = len(cores) >= LEAST_CORES_FOR_TWO - 1
    rates = {}
    body = [prompts.letter(PATTERNS)]
    for workers in (1, 2) if by_rate else (2,):
        places = cores[:workers] if by_rate else [GATEWAY_CORE]
        with served(folder / str(workers), mock.base_url, workers=workers, cores=places) as gateway:
            require_all_ok(gateway.ask(gateway.load(body, callers=MANY, seconds=1))[0], "warming up")
            rates[workers] = gateway.ask(gateway.load(body, callers=MANY, seconds=seconds))
    measured, cpu_ms = rates[2]
    if by_rate:
        scale, how = measured.rps / rates[1][0].rps, f"requests/s of two workers on two cores: {measured.rps:,.0f}"
    else:
        scale = 2 * cost_of_one / cpu_ms
        how = (
            "This machine has no third core for the callers, so this is twice what a request costs one worker, over what "
            f"it costs two that share a core, a ledger and a disk: {cost_of_one:.2f} and {cpu_ms:.2f} ms."
        )
    result.figures["two workers"] = Figure(scale, "times one", "higher", AIM_SCALE, "two workers over one")
    result.tables.append(Table("Two workers", ("workers", "times one"), [(2, scale)], how))


def range_of_cores() -> list[int]:
    import os

    return sorted(os.sched_getaffinity(0))


def check_that_it_worked(mock: Mock, gateway: Served) -> None:
    """End the run if it measured something else than what it says."""
    run_load(gateway.load([prompts.letter(NAMES)], callers=1, seconds=0.05))
    last = json.loads(mock.last())["messages"][-1]["content"]
    leaked = [value for value in ("eleanor.whitfield@example.com", "Whitfield", "496 0182") if value in last]
    if leaked or "<EMAIL_ADDRESS_" not in last:
        raise SystemExit(f"the provider got what should have been hidden: {leaked}")


def time_of_steps(gateway: Served) -> Table:
    """Return where the time of a request goes, from the traces of one caller's requests: medians."""
    rows = []
    for preset in (PATTERNS, NAMES):
        load = gateway.load([prompts.letter(preset)], callers=1, seconds=1)
        require_all_ok(gateway.ask(load)[0], "the steps")
        words = ["traces", "export", "--limit", str(TRACES_READ), "--since", "1m", "--preset", preset, "--json"]
        lines = gateway.gateway.run(*words).stdout.splitlines()
        rows += [(preset, *steps_of([json.loads(line)["steps"] for line in lines]))]
    note = "Microseconds since the step before ended, medians; `call` includes the provider."
    return Table("Where the time of one request goes", ("preset", *STEPS), rows, note)


def steps_of(traces: Sequence[dict[str, int]]) -> list[float | None]:
    """Return what each step took, of what was noted when each ended."""
    took = []
    for number, step in enumerate(STEPS):
        before = STEPS[number - 1] if number else None
        spans = [trace[step] - (trace.get(before, 0) if before else 0) for trace in traces if step in trace]
        took.append(statistics.median(spans) if spans else None)
    return took


if __name__ == "__main__":
    main()
