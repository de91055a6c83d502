"""Memory under load for a long time: a sample every few seconds, and the slope of the line through them.

`scripts/bench soak [--minutes N] [--save]`: 32 callers at full speed; every prompt has numbers and names that were not
there before. What is remembered of texts and words is filled up to its bounds first, by requests of a hundred new texts
each, since at full speed that would take an hour. The first half of the samples is not counted.
"""

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from scripts.measuring import prompts, texts
from scripts.measuring.processes import memory_of
from scripts.measuring.results import Figure, Result, Run, Table
from scripts.measuring.stand import NAMES, PATTERNS, Mock, Served, require_all_ok, served, wait_until_idle

MINUTES, QUICK_MINUTES = 15.0, 0.5
SAMPLE_SECONDS = 2.0
ROUND_SECONDS = 15.0
CALLERS = 32
PROMPTS_A_ROUND = 4_000
TEXTS_A_REQUEST = 101  # the user's first and last
FILLING = ((PATTERNS, 1_000), (NAMES, 80))  # requests: 100,000 texts, and 24,000 words that the language model reads
FILLING_SECONDS = 600.0  # patience
NOISE_MB_AN_HOUR = 20.0  # a tenth of a worker
SHOWN = 12
ROLES = ("worker", "ingester", "parent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    minutes = given.minutes or (QUICK_MINUTES if given.quick else MINUTES)
    command = f"scripts/bench soak --minutes {minutes:g}"
    with (
        Run("soak", command, save=given.save) as result,
        tempfile.TemporaryDirectory() as folder,
        Mock() as mock,
        served(Path(folder), mock.base_url) as gateway,
    ):
        samples, asked = soak(gateway, minutes * 60)
        report(result, samples, asked, minutes)


def soak(gateway: Served, seconds: float) -> tuple[dict[str, list[tuple[float, float]]], int]:
    """Return hours and MB of each role, and how many requests were answered."""
    fill(gateway)
    samples: dict[str, list[tuple[float, float]]] = {role: [] for role in ROLES}
    ended = threading.Event()
    begun = time.monotonic()

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            for role in ROLES:
                total = sum(memory_of(pid).own for pid in gateway.pids(role))
                samples[role].append(((time.monotonic() - begun) / 3600, total))

    watcher = threading.Thread(target=watch)
    watcher.start()
    asked = 0
    try:
        for number in count():
            if time.monotonic() - begun >= seconds:
                break
            load = gateway.load(some_prompts(number), callers=CALLERS, seconds=min(ROUND_SECONDS, seconds))
            measured, _ = gateway.ask(load)
            if set(measured.statuses) != {"200"} or measured.broken or measured.hanging:
                raise SystemExit(f"not every request was answered: {measured}")
            asked += measured.ok
    finally:
        ended.set()
        watcher.join()
    return samples, asked


def fill(gateway: Served) -> None:
    """Have it remember as many texts and words as it ever does."""
    for preset, requests in FILLING:
        rng = random.Random(f"filling {preset}")
        bodies = [prompts.asked(preset, [_order(rng) for _ in range(TEXTS_A_REQUEST)]) for _ in range(requests)]
        load = gateway.load(bodies, callers=2, seconds=FILLING_SECONDS, mode="once")
        require_all_ok(gateway.ask(load)[0], "filling")
    wait_until_idle(gateway)


def some_prompts(number: int) -> list[str]:
    """Return prompts with values of which none came in earlier rounds; one in fifty has its names looked for."""
    rng = random.Random(f"soak {number}")
    return [
        prompts.asked(
            PATTERNS if one % 50 else NAMES,
            [f"{prompts.LETTER} {_order(rng)}"],
        )
        for one in range(PROMPTS_A_ROUND)
    ]


def _order(rng: random.Random) -> str:
    return f"The order is {texts.digits(rng, 9)}, of {texts.person(rng)}, {texts.mail(rng)}."


def report(result: Result, samples: dict[str, list[tuple[float, float]]], asked: int, minutes: float) -> None:
    rows = []
    for role, points in samples.items():
        counted = points[len(points) // 2 :]
        slope, error = slope_of(counted)
        first, last = statistics.mean(mb for _, mb in counted[:5]), statistics.mean(mb for _, mb in counted[-5:])
        rows.append((role, first, last, max(mb for _, mb in points), slope, error))
        if role == "worker":
            bound = max(NOISE_MB_AN_HOUR, 2 * error)
            words = f"slope of a worker's memory over {minutes:g} minutes of full load, MB an hour"
            result.figures["slope"] = Figure(slope, "MB/h", "lower", bound, words)
    result.figures["answered"] = Figure(asked / (minutes * 60), "requests/s", "higher")
    columns = ("process", "MB half way", "MB at the end", "most MB", "slope MB/h", "its error MB/h")
    note = f"{asked:,} requests. Memory is what belongs to the process alone."
    result.tables.append(Table("Memory under load", columns, rows, note))
    worker = samples["worker"]
    shown = worker[:: max(1, len(worker) // SHOWN)]
    result.tables.append(Table("A worker's memory", ("minute", "MB"), [(hours * 60, mb) for hours, mb in shown]))


def slope_of(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope of the line through points, and its standard error."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    line = statistics.linear_regression(xs, ys)
    rest = [y - line.intercept - line.slope * x for x, y in points]
    spread = sum((x - statistics.mean(xs)) ** 2 for x in xs)
    freedom = max(1, len(points) - 2)
    return line.slope, (sum(one * one for one in rest) / freedom / spread) ** 0.5 if spread else 0.0


if __name__ == "__main__":
    main()
