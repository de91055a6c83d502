"""More than a worker can answer: what is answered, what is refused, how long the longest wait is, and what hangs.

`scripts/bench overload [--quick] [--save]`. First the peak, with as many callers as are answered fastest; then more
callers than slots, who try again at once; then requests that come on time, at twice the peak, whether or not others
are answered.
"""

import argparse
import tempfile
from pathlib import Path

from scripts.measuring import prompts
from scripts.measuring.load import Load, Measured
from scripts.measuring.results import Figure, Result, Run, Table
from scripts.measuring.stand import NAMES, PATTERNS, Mock, Served, require_all_ok, served, wait_until_idle

PEAK_CALLERS = 64
CROWDS = (1_000, 3_000)
SECONDS, QUICK_SECONDS = 8.0, 4.0
AIM_GOODPUT, AIM_WAIT_SECONDS = 0.9, 5.0
NEW_LETTERS, QUICK_NEW_LETTERS = 6_000, 1_500
OVERLOADED = "overloaded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    seconds, new = (QUICK_SECONDS, QUICK_NEW_LETTERS) if given.quick else (SECONDS, NEW_LETTERS)
    with Run("overload", "scripts/bench overload", save=given.save) as result, tempfile.TemporaryDirectory() as folder:
        with Mock() as mock, served(Path(folder), mock.base_url) as gateway:
            rows = [*patterns(result, gateway, seconds), *names(result, gateway, seconds, new)]
        columns = (
            "preset",
            "load",
            "answered/s",
            "of the peak",
            "refused/s",
            "longest answered s",
            "longest of all s",
            "hanging",
            "broken",
        )
        note = "All refusals are 503 `overloaded` with `retry-after`, or the run fails. Callers obey nothing."
        result.tables.append(Table("Overload", columns, rows, note))


def patterns(result: Result, gateway: Served, seconds: float) -> list[tuple]:
    """Return the rows of cheap requests: always the same prompt, patterns only."""
    body = [prompts.letter(PATTERNS)]
    gateway.ask(gateway.load(body, callers=1, seconds=0.5))
    peak, _ = gateway.ask(gateway.load(body, callers=PEAK_CALLERS, seconds=seconds))
    require_all_ok(peak, "the peak")
    rows = [row(PATTERNS, f"peak: {PEAK_CALLERS} callers", peak, peak)]
    for callers in CROWDS:
        load = gateway.load(body, callers=callers, seconds=seconds)
        rows.append(beyond(result, gateway, f"{callers:,} callers", load, peak))
    rate = 2 * peak.rps
    load = gateway.load(body, rate=rate, seconds=seconds)
    rows.append(beyond(result, gateway, f"twice the peak: {rate:,.0f}/s", load, peak, name="twice the peak"))
    return rows


def names(result: Result, gateway: Served, seconds: float, new: int) -> list[tuple]:
    """Return the rows of dear requests: prompts that were never seen, with names."""
    letters = prompts.new_letters(NAMES, new, seed=77)
    few, many = letters[: new // 3], letters[new // 3 :]
    peak, _ = gateway.ask(gateway.load(few, mode="once", callers=PEAK_CALLERS, seconds=seconds))
    require_all_ok(peak, "the peak with names")
    load = gateway.load(many, mode="once", callers=CROWDS[0], seconds=seconds)
    return [
        row(NAMES, f"peak: {PEAK_CALLERS} callers, new prompts", peak, peak),
        beyond(result, gateway, f"{CROWDS[0]:,} callers, new prompts", load, peak, preset=NAMES),
    ]


def beyond(  # noqa: PLR0913 - what a row depends on
    result: Result,
    gateway: Served,
    words: str,
    load: Load,
    peak: Measured,
    *,
    name: str | None = None,
    preset: str = PATTERNS,
) -> tuple:
    wait_until_idle(gateway)
    measured, _ = gateway.ask(load)
    others = {code: count for code, count in measured.codes.items() if code != OVERLOADED}
    refused = measured.codes.get(OVERLOADED, 0)
    if others or measured.refusals_with_retry_after != refused:
        answered = f"{measured.codes}, {measured.refusals_with_retry_after} of them with retry-after"
        raise SystemExit(f"{words}: not all that was refused was refused for overload: {answered}")
    name = f"{preset}, {name or words}"
    longest = measured.longest_any_ms / 1000
    said = f"answered, {name}"
    is_aim = preset == PATTERNS
    result.figures[f"{name}: goodput"] = Figure(
        measured.rps / peak.rps, "of the peak", "higher", AIM_GOODPUT, f"{said}: share of the peak"
    )
    aim = AIM_WAIT_SECONDS if is_aim else None
    result.figures[f"{name}: longest wait"] = Figure(longest, "s", "lower", aim, f"longest wait, {name}")
    result.figures[f"{name}: hanging"] = Figure(measured.hanging, "requests", "lower", 0, f"hanging, {name}")
    return row(preset, words, measured, peak)


def row(preset: str, words: str, measured: Measured, peak: Measured) -> tuple:
    refused = measured.codes.get(OVERLOADED, 0) / max(measured.seconds, 0.001)
    waits = (measured.longest_ms / 1000, measured.longest_any_ms / 1000)
    share = measured.rps / peak.rps if peak.rps else None
    return (preset, words, measured.rps, share, refused, *waits, measured.hanging, measured.broken)


if __name__ == "__main__":
    main()
