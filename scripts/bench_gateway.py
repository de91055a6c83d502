"""Whole answers through all nine steps: rate, processor time and added latency, beside the provider asked straight.

`scripts/bench gateway [--quick] [--save]`. The gateway, with all its processes, stays on one core, callers and provider
on another. *Always the same*: one letter of 200 tokens with a name, an e-mail address and a phone number. *Never the
same*: letters of that kind of which no sentence came before. *Chats*: 20 messages sent before, and a new question.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
    wait_until_idle,
)

MANY = 32
SAME = "always the same"
SECONDS, QUICK_SECONDS = 8.0, 1.5
NEW_LETTERS = {PATTERNS: 12_000, NAMES: 1_500}  # more than are answered in that time
QUICK_NEW_LETTERS = {PATTERNS: 1_500, NAMES: 200}
AIM_RPS, AIM_CPU_MS, AIM_P50_MS, AIM_P99_MS, AIM_SCALE = 3_000, 0.33, 0.6, 3.0, 1.8
TRACES_READ = 500
COLUMNS = ("preset", "prompts", "callers", "requests/s", "CPU ms", "p50 ms", "p99 ms", "added p50", "added p99")
LEAST_CORES_FOR_TWO = 3


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
            rows = Cases(result, one, direct, seconds).measure(letters)
            check_that_it_worked(mock, one)
            steps = time_of_steps(one)
        two_workers(result, folder / "two", mock, seconds)
    columns = ("", "", *COLUMNS[2:4], *COLUMNS[5:7])
    straight = [
        ("provider asked straight", "", callers, measured.rps, measured.p50_ms, measured.p99_ms)
        for callers, measured in direct.items()
    ]
    result.tables[:0] = [Table("Through all nine steps", COLUMNS, rows), Table("The ground", columns, straight)]
    result.tables.append(steps)


def ask_straight(mock: Mock, callers: int, seconds: float) -> Measured:
    return run_load(a_load(mock.port, "none", [prompts.letter("mock-1")], callers=callers, seconds=seconds))


class Cases:
    """Measures one gateway, case by case."""

    def __init__(self, result: Result, gateway: Served, direct: dict[int, Measured], seconds: float) -> None:
        self._result = result
        self._gateway = gateway
        self._direct = direct
        self._seconds = seconds

    def measure(self, letters: dict[str, int]) -> list[tuple]:
        """Return the rows of the table; figures go into the result."""
        rows = []
        for preset in (PATTERNS, NAMES):
            count = letters[preset]
            same = Case(preset, SAME, [prompts.letter(preset)])
            self._warm_up(same)
            rows += [self._row(same, callers) for callers in (1, MANY)]
            chats = prompts.chats(preset, count // 3, seed=1)
            self._warm_up(Case(preset, "chats", chats))
            rows.append(self._row(Case(preset, "chats", chats[1:], "once"), MANY))
            for callers, some in ((1, count // 4), (MANY, count)):
                new = prompts.new_letters(preset, some, seed=callers)
                rows.append(self._row(Case(preset, "never the same", new, "once"), callers))
        return rows

    def _warm_up(self, case: Case) -> None:
        """Let the worker see each kind of prompt, as one that has been up for a minute has."""
        load = self._gateway.load(case.bodies[:1], callers=8, seconds=1)
        require_all_ok(self._gateway.ask(load)[0], "warming up")

    def _row(self, case: Case, callers: int) -> tuple:
        wait_until_idle(self._gateway)
        load = self._gateway.load(case.bodies, mode=case.mode, callers=callers, seconds=self._seconds)
        measured, cpu_ms = self._gateway.ask(load)
        name = f"{case.preset}, {case.prompts}, {callers}"
        require_all_ok(measured, name)
        added_p50 = measured.p50_ms - self._direct[callers].p50_ms
        added_p99 = measured.p99_ms - self._direct[callers].p99_ms
        is_aim = case.preset == PATTERNS and case.prompts == SAME
        many, one = is_aim and callers == MANY, is_aim and callers == 1
        who = f"{MANY} callers, patterns only"
        figures = {
            "requests/s": Figure(measured.rps, "requests/s", "higher", AIM_RPS if many else None, who),
            "CPU": Figure(cpu_ms, "ms", "lower", AIM_CPU_MS if many else None, "processor time of each of these"),
        }
        if callers == 1:
            words = "added to the answer, 1 caller, patterns only: "
            figures["added p50"] = Figure(added_p50, "ms", "lower", AIM_P50_MS if one else None, words + "median")
            figures["added p99"] = Figure(added_p99, "ms", "lower", AIM_P99_MS if one else None, words + "p99")
        self._result.figures |= {f"{name}: {kind}": figure for kind, figure in figures.items()}
        alone = (added_p50, added_p99) if callers == 1 else (None, None)
        return (case.preset, case.prompts, callers, measured.rps, cpu_ms, measured.p50_ms, measured.p99_ms, *alone)


def two_workers(result: Result, folder: Path, mock: Mock, seconds: float) -> None:
    """Compare two workers with one: by rate where three cores are, else by what a request costs."""
    cores = sorted(os.sched_getaffinity(0) - {CALLERS_CORE}) or [GATEWAY_CORE]
    by_rate = len(cores) >= LEAST_CORES_FOR_TWO - 1
    rates = {}
    body = [prompts.letter(PATTERNS)]
    for workers in (1, 2) if by_rate else (2,):
        places = cores[:workers] if by_rate else [GATEWAY_CORE]
        with served(folder / str(workers), mock.base_url, workers=workers, cores=places) as gateway:
            require_all_ok(gateway.ask(gateway.load(body, callers=MANY, seconds=1))[0], "warming up")
            rates[workers] = gateway.ask(gateway.load(body, callers=MANY, seconds=seconds))
    measured, cpu_ms = rates[2]
    cost_of_one = result.figures[f"{PATTERNS}, {SAME}, {MANY}: CPU"].value
    if by_rate:
        scale, how = measured.rps / rates[1][0].rps, f"requests/s of two workers on two cores: {measured.rps:,.0f}"
    else:
        scale = 2 * cost_of_one / cpu_ms
        how = (
            "This machine has no third core for the callers, so this is twice what a request costs one worker, over "
            f"what it costs two that share a core, a ledger and a disk: {cost_of_one:.2f} and {cpu_ms:.2f} ms."
        )
    result.figures["two workers"] = Figure(scale, "times one", "higher", AIM_SCALE, "two workers over one")
    result.tables.append(Table("Two workers", ("workers", "times one"), [(2, scale)], how))


def check_that_it_worked(mock: Mock, gateway: Served) -> None:
    """End the run if it measured something else than what it says."""
    run_load(gateway.load([prompts.letter(NAMES)], callers=1, seconds=0.05))
    last = json.loads(mock.last())["messages"][-1]["content"]
    leaked = [value for value in ("eleanor.whitfield@example.com", "Whitfield", "496 0182") if value in last]
    if leaked or "<EMAIL_ADDRESS_" not in last:
        raise SystemExit(f"the provider got what should have been hidden: {leaked}")


def time_of_steps(gateway: Served) -> Table:
    """Return where the time of a request goes, from the traces of one caller's requests: medians."""
    rows: list[tuple] = []
    for preset in (PATTERNS, NAMES):
        since = datetime.now(UTC).isoformat()
        require_all_ok(gateway.ask(gateway.load([prompts.letter(preset)], callers=1, seconds=1))[0], "the steps")
        words = ["traces", "export", "--limit", str(TRACES_READ), "--since", since, "--preset", preset, "--json"]
        traces = [json.loads(line) for line in gateway.gateway.run(*words).stdout.splitlines()]
        rows += [(preset, step, took) for step, took in steps_of([trace["steps"] for trace in traces])]
    note = "Microseconds since the step before ended, medians of one caller's requests; `call` includes the provider."
    return Table("Where the time of one request goes", ("preset", "step", "us"), rows, note)


def steps_of(traces: Sequence[str | dict[str, int]]) -> list[tuple[str, float]]:
    """Return each step, in order, with what it took: of what was noted as each ended."""
    spans: dict[str, list[int]] = {}
    for trace in traces:
        ends = json.loads(trace) if isinstance(trace, str) else trace
        before = 0
        for step, end in sorted(ends.items(), key=lambda one: one[1]):
            spans.setdefault(step, []).append(end - before)
            before = end
    return [(step, statistics.median(took)) for step, took in spans.items()]


if __name__ == "__main__":
    main()
