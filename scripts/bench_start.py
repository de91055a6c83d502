"""How long until commands answer and the gateway serves, and what an idle gateway keeps in memory.

`scripts/bench start [--quick] [--save]`. *Rules kept*: the compiled patterns of an earlier start are in the data
folder.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from urllib.request import urlopen

from ruamel.yaml import YAML

from scripts.measuring.processes import gateway_processes, memory_of
from scripts.measuring.results import ROOT, Figure, Result, Run, Table
from scripts.measuring.stand import bench_registry
from tests.support.gateway import LLMGUARD

ROUNDS, QUICK_ROUNDS = 5, 2
HELP_ROUNDS = 9
AIM_HELP_SECONDS, AIM_READY_SECONDS, AIM_NAMES_MB, AIM_PATTERNS_MB = 0.3, 3.0, 200, 90
SETTLE_SECONDS = 3
PATIENCE_SECONDS = 120
PORT = 18_089


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    rounds = QUICK_ROUNDS if given.quick else ROUNDS
    with Run("start", "scripts/bench start", save=given.save) as result, tempfile.TemporaryDirectory() as folder:
        help_seconds = statistics.median(seconds_of_help() for _ in range(HELP_ROUNDS))
        kept, fresh, memory = measure_starts(Path(folder), rounds)
        result.figures = {
            "--help": Figure(help_seconds, "s", "lower", AIM_HELP_SECONDS, "`llmguard --help`"),
            "ready": Figure(kept, "s", "lower", AIM_READY_SECONDS, "`llmguard serve` answers, names on, rules kept"),
            "ready, no rules kept": Figure(fresh, "s", "lower"),
        }
        rows = [
            ("`llmguard --help`", help_seconds),
            ("`llmguard serve` until it is ready, rules kept", kept),
            ("the same, the first start ever on a machine", fresh),
        ]
        result.tables.append(Table("Start", ("what", "seconds"), rows))
        add_memory(result, memory)


def seconds_of_help() -> float:
    begun = time.perf_counter()
    subprocess.run([LLMGUARD, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def measure_starts(folder: Path, rounds: int) -> tuple[float, float, dict[str, list[tuple]]]:
    """Return seconds until ready with and without kept rules, and the memory of each process by profile."""
    memory, fresh, kept = {}, [], []
    patterns = only_patterns(folder / "patterns-redaction")
    for name, redaction in (("names", ROOT / "redaction"), ("patterns only", patterns)):
        place = folder / name.replace(" ", "-")
        profile = "standard" if name == "names" else "minimal"
        place.mkdir()
        registry = bench_registry("http://127.0.0.1:9/v1").replace("redaction: standard", f"redaction: {profile}")
        (place / "registry.yaml").write_text(registry)
        shutil.copytree(ROOT / "policies", place / "policies")
        for number in range(rounds if name == "names" else 1):
            with started(place, redaction) as (pid, seconds):
                (kept if number else fresh).append(seconds) if name == "names" else None
                if number == 0 and name == "names":
                    continue
                time.sleep(SETTLE_SECONDS)
                memory[name] = [(part.role, *astuple(memory_of(part.pid))) for part in gateway_processes(pid)]
    return statistics.median(kept), fresh[0], memory


@contextmanager
def started(folder: Path, redaction: Path) -> Iterator[tuple[int, float]]:
    """Serve, and yield the process and the seconds until it was ready."""
    begun = time.perf_counter()
    places = [f"--registry={folder / 'registry.yaml'}", f"--redaction={redaction}", f"--data={folder / 'data'}"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([LLMGUARD, "serve", "--port", str(PORT), *places], stdout=log, stderr=log)
    try:
        while not is_ready():
            if process.poll() is not None or time.perf_counter() - begun > PATIENCE_SECONDS:
                raise SystemExit(f"it does not start:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)
        yield process.pid, time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def is_ready() -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5) as answer:
            return answer.status == 200  # noqa: PLR2004
    except OSError:
        return False


def only_patterns(folder: Path) -> Path:
    """Return redaction rules without any profile that needs the language model."""
    shutil.copytree(ROOT / "redaction", folder)
    yaml = YAML()
    path = folder / "profiles.yaml"
    document = yaml.load(path)
    for name in [name for name, profile in document["profiles"].items() if profile.get("ner")]:
        del document["profiles"][name]
    yaml.dump(document, path)
    shutil.rmtree(folder / "cases", ignore_errors=True)  # they name the profiles that are gone
    return folder


def add_memory(result: Result, memory: dict[str, list[tuple]]) -> None:
    aims = {"names": AIM_NAMES_MB, "patterns only": AIM_PATTERNS_MB}
    rows = []
    for name, parts in memory.items():
        rows += [(name, *part) for part in parts]
        fair = next(part[2] for part in parts if part[0] == "worker")
        resident = next(part[1] for part in parts if part[0] == "worker")
        words = f"resident memory of an idle worker, {name}"
        result.figures[f"worker, {name}"] = Figure(resident, "MB", "lower", aims[name], words)
        result.figures[f"worker, {name}, its share"] = Figure(fair, "MB", "lower")
        result.figures[f"all processes, {name}"] = Figure(sum(part[2] for part in parts), "MB", "lower")
    note = (
        "*Resident* counts what a worker shares with the template that it was forked from; *fair* shares that out "
        "among those who have it, so that the column adds up; *own* is what ends with the process."
    )
    columns = ("profile", "process", "resident MB", "fair MB", "own MB")
    result.tables.append(Table("Memory, idle, one worker", columns, rows, note))


if __name__ == "__main__":
    main()
