"""What processes cost: time of the processor and memory, as the kernel counts them. Linux only."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_TICKS = os.sysconf("SC_CLK_TCK")
Role = Literal["parent", "template", "worker", "beside", "ingester", "other"]


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a gateway."""

    pid: int
    role: Role


@dataclass(frozen=True, slots=True)
class Memory:
    """MB of one process: with and without what it shares. `fair` has an equal part of what several have."""

    resident: float
    fair: float
    own: float


def gateway_processes(pid: int) -> list[Process]:
    """Return what `llmguard serve` consists of.

    `template` is the process that the workers are forked from, and what runs beside them: recovery, alerts, retention.
    """
    found = [Process(pid, "parent")]
    for child in children(pid):
        command = command_of(child)
        if "forkserver" in command:
            found += [Process(child, "template"), *(Process(forked, _role_of(forked)) for forked in children(child))]
        else:
            found.append(Process(child, "ingester" if "llmguard.traces.ingest" in command else "other"))
    return found


def _role_of(forked: int) -> Role:
    return "beside" if Path(f"/proc/{forked}/comm").read_text().strip() == "llmguard-beside" else "worker"


def tree(pid: int) -> list[int]:
    """Return a process and all that it started."""
    return [pid, *(one for child in children(pid) for one in tree(child))]


def children(pid: int) -> list[int]:
    """Return what a process started, by any of its threads."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> str:
    """Return the command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that processes have used, those that ended not counted."""
    return sum(_ticks(pid) for pid in pids) / _TICKS


def memory_of(pid: int) -> Memory:
    """Return the memory of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return Memory(kilobytes["Rss"] / 1024, kilobytes["Pss"] / 1024, own / 1024)


def _ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()  # the name may hold anything
    return int(fields[11]) + int(fields[12])
