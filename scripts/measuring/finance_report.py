"""How long `llmguard finance report` and its siblings take over many traces.

.venv/bin/python -m scripts.measuring.finance_report --rows 1000000
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llmguard.traces.places import Places
from tests.support.many_traces import put_many

COMMANDS = {
    "report --by app": ["report", "--month", "2026-11", "--by", "app"],
    "report --by app --by day": ["report", "--month", "2026-11", "--by", "app", "--by", "day"],
    "export --focus": ["export", "--focus", "--month", "2026-11"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        put_many(Places(Path(folder)), rows)
        print(f"{rows:,} rows made in {time.perf_counter() - started:.1f} s")
        for name, words in COMMANDS.items():
            seconds = [_run(["finance", *words, "--data", folder]) for _ in range(3)]
            print(f"{name}: {min(seconds):.2f} s, of three {[round(second, 2) for second in seconds]}")


def _run(words: list[str]) -> float:
    started = time.perf_counter()
    command = [str(Path(sys.executable).with_name("llmguard")), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
