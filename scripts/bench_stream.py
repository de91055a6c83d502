"""Streams of 30 chunks through all nine steps: how many a second, and how much later their first byte comes.

`scripts/bench stream [--quick] [--save]`. The provider sends its chunks at once, and in a second run one each
millisecond, as fast models do. Cores as in `scripts/bench gateway`.
"""

import argparse
import tempfile
from pathlib import Path

from scripts.measuring import prompts
from scripts.measuring.load import Measured
from scripts.measuring.results import Figure, Result, Run, Table
from scripts.measuring.stand import (
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

MANY, CHUNKS = 16, 30
SECONDS, QUICK_SECONDS = 6.0, 1.5
NEW_LETTERS, QUICK_NEW_LETTERS = 300, 60
AIM_STREAMS, AIM_FIRST_BYTE_MS = 1_400, 1.5
COLUMNS = (
    "chunks come",
    "preset",
    "prompts",
    "callers",
    "streams/s",
    "CPU ms",
    "first byte p50 ms",
    "p99 ms",
    "added p50 ms",
)
AT_ONCE, SLOWLY = "at once", "one each ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    seconds, new = (QUICK_SECONDS, QUICK_NEW_LETTERS) if given.quick else (SECONDS, NEW_LETTERS)
    with Run("stream", "scripts/bench stream", save=given.save) as result, tempfile.TemporaryDirectory() as folder:
        rows: list[tuple] = []
        for come, delay_ms in ((AT_ONCE, 0.0), (SLOWLY, 1.0)):
            with (
                Mock(chunks=CHUNKS, chunk_delay_ms=delay_ms) as mock,
                served(Path(folder) / come.replace(" ", "-"), mock.base_url) as gateway,
            ):
                rows += measure(result, gateway, mock, come, seconds, new)
        note = "*Added*: to the first byte of the same stream asked straight of the provider, one caller."
        result.tables.append(Table(f"Streams of {CHUNKS} chunks", COLUMNS, rows, note))


def measure(result: Result, gateway: Served, mock: Mock, come: str, seconds: float, new: int) -> list[tuple]:
    """Return the rows of one way in which chunks come."""
    body = prompts.letter("mock-1", stream=True)
    straight = run_load(a_load(mock.port, "none", [body], callers=1, seconds=seconds / 2))
    require_all_ok(straight, "the provider")
    rows: list[tuple] = [row_of(come, "(straight)", "always the same", 1, straight)]
    for preset in (PATTERNS, NAMES):
        same = [prompts.letter(preset, stream=True)]
        require_all_ok(gateway.ask(gateway.load(same, callers=4, seconds=1))[0], "warming up")
        cases = [("always the same", same, "again", callers) for callers in (1, MANY)]
        if preset == NAMES and come == AT_ONCE:
            letters = [one[:-1] + ', "stream": true}' for one in prompts.new_letters(preset, new, seed=7)]
            cases.append(("never the same", letters, "once", 1))
        for said, bodies, mode, callers in cases:
            wait_until_idle(gateway)
            measured, cpu_ms = gateway.ask(gateway.load(bodies, mode=mode, callers=callers, seconds=seconds))
            require_all_ok(measured, f"{preset}, {callers} callers")
            added = measured.first_byte_p50_ms - straight.first_byte_p50_ms if callers == 1 else None
            rows.append(row_of(come, preset, said, callers, measured, cpu_ms, added))
            is_aim = preset == PATTERNS and come == AT_ONCE
            name = f"chunks {come}, {preset}, {said}, {callers}"
            if added is None:
                aim = AIM_STREAMS if is_aim else None
                words = f"streams of {CHUNKS} chunks, {MANY} callers, patterns only"
                result.figures[f"{name}: streams/s"] = Figure(measured.rps, "streams/s", "higher", aim, words)
            else:
                aim, words = AIM_FIRST_BYTE_MS if is_aim else None, "added to the first byte of a stream, patterns only"
                result.figures[f"{name}: added first byte"] = Figure(added, "ms", "lower", aim, words)
            result.figures[f"{name}: CPU"] = Figure(cpu_ms, "ms", "lower")
    return rows


def row_of(  # noqa: PLR0913, PLR0917 - the columns
    come: str,
    preset: str,
    said: str,
    callers: int,
    measured: Measured,
    cpu_ms: float | None = None,
    added: float | None = None,
) -> tuple:
    first = (measured.first_byte_p50_ms, measured.first_byte_p99_ms)
    return (come, preset, said, callers, measured.rps, cpu_ms, *first, added)


if __name__ == "__main__":
    main()
