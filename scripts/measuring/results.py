"""Results of a measurement: figures with their aims, tables and circumstances; kept as JSON, compared as ratios."""

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "performance"  # the baseline, and what the page shows
RUNS = ROOT / "bench-results"  # every run
PACKAGES = "uvicorn uvloop httptools starlette aiohttp msgspec duckdb spacy presidio-analyzer hyperscan numpy".split()  # noqa: SIM905
BUSY_LOAD = 0.7  # others' share of the cores before a run, from which on figures are not to be trusted
Better = Literal["lower", "higher"]
Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that is compared with the baseline; with an aim, it is met or missed."""

    value: float
    unit: str
    better: Better
    aim: float | None = None
    what: str = ""  # in words, for the table of aims

    @property
    def is_met(self) -> bool:
        """Whether the aim, if there is one, is reached."""
        if self.aim is None:
            return True
        return self.value <= self.aim if self.better == "lower" else self.value >= self.aim


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for the page."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(slots=True)
class Result:
    """What one part found."""

    part: str
    command: str
    figures: dict[str, Figure] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    circumstances: dict[str, Any] = field(default_factory=dict)  # Any: JSON

    def as_json(self) -> str:
        """Return it as JSON, the same for the same result."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Return what was kept."""
        kept = json.loads(text)
        kept["figures"] = {name: Figure(**figure) for name, figure in kept["figures"].items()}
        kept["tables"] = [Table(**table) for table in kept["tables"]]
        return cls(**kept)


class Run:
    """One run of a part: enter it before measuring; what is measured goes into `result`."""

    def __init__(self, part: str, command: str, *, save: bool = False) -> None:
        """Measure a part; with `save` the result becomes the baseline and what the page shows."""
        self.result = Result(part, command)
        self._save = save

    def __enter__(self) -> Result:
        self._begun = time.monotonic()
        busy_before = os.getloadavg()[0]
        self.result.circumstances = circumstances() | {"load_before": round(busy_before, 2)}
        if is_busy(self.result):
            print(f"Others use this machine (load {busy_before:.1f}): milliseconds and rates will be too bad.\n")
        return self.result

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        result = self.result
        result.circumstances["seconds"] = round(time.monotonic() - self._begun)
        baseline = read(result.part)
        show(result, baseline)
        RUNS.mkdir(exist_ok=True)
        path = RUNS / f"{result.part}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
        path.write_text(result.as_json(), encoding="utf-8")
        print(f"\nWritten: {path.relative_to(ROOT)}")
        if self._save:
            KEPT.mkdir(exist_ok=True)
            (KEPT / f"{result.part}.json").write_text(result.as_json(), encoding="utf-8")


def read(part: str) -> Result | None:
    """Return the baseline of a part, if there is one."""
    path = KEPT / f"{part}.json"
    return Result.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def is_busy(result: Result) -> bool:
    """Return whether the machine had other things to do."""
    known = result.circumstances
    return float(known.get("load_before", 0)) > BUSY_LOAD * int(known.get("cores", 1))


def show(result: Result, baseline: Result | None) -> None:
    """Print tables, aims and how they stand to the baseline."""
    for table in result.tables:
        print(f"\n{table.title}\n{as_text(table)}")
    rows = [
        (name, number(figure.value), figure.unit, _aim(figure), ratio(figure, baseline, name))
        for name, figure in result.figures.items()
    ]
    if rows:
        print("\n" + as_text(Table("", ("figure", "value", "unit", "aim", "times the baseline"), rows)))
    if baseline is not None:
        known = baseline.circumstances
        print(f"\nBaseline: {known.get('measured_at')}, commit {known.get('commit')}, {known.get('machine')}")


def ratio(figure: Figure, baseline: Result | None, name: str) -> str:
    """Return a figure over its baseline; one that got more than a tenth worse is marked."""
    before = baseline.figures.get(name) if baseline is not None else None
    if before is None or not before.value:
        return ""
    times = figure.value / before.value
    worse = times > 1.1 if figure.better == "lower" else times < 1 / 1.1  # noqa: PLR2004 - a tenth
    return f"{times:.2f}" + (" worse" if worse else "")


def _aim(figure: Figure) -> str:
    if figure.aim is None:
        return ""
    return f"{'at most' if figure.better == 'lower' else 'at least'} {number(figure.aim)}" + (
        "" if figure.is_met else ": missed"
    )


def as_text(table: Table) -> str:
    """Return a table for a terminal."""
    cells = [list(table.columns), *([number(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)


def number(cell: Cell) -> str:
    """Return a cell as people read it: three digits that mean something."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:  # noqa: PLR2004 - three digits
        return f"{cell:,.0f}"
    return f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.1f}"  # noqa: PLR2004


def circumstances() -> dict[str, Any]:
    """Return when, of what and on what machine something is measured."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _commit() -> str:
    words = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    described = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, text=True)
    return described.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
