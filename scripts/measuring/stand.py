"""The test stand: a gateway on one core, provider mock and callers on the other, and what each of them costs."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from textwrap import dedent
from typing import Self
from urllib.request import urlopen

from scripts.measuring.load import Load, Measured
from scripts.measuring.processes import Process, cpu_seconds, gateway_processes
from tests.support.gateway import Gateway

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llmguard-bench"
PATH = "/v1/chat/completions"
APP = "bench"
PATTERNS, NAMES = "patterns", "names"  # presets: what is hidden by patterns alone, and names as well
_CORES = sorted(os.sched_getaffinity(0))
CALLERS_CORE = _CORES[0]  # and the provider's
GATEWAY_CORE = _CORES[-1]
_PATIENCE_SECONDS = 60
_IDLE_CPU_SECONDS = 0.03  # of half a second


@contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Let what is started meanwhile run on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Mock:
    """The provider mock as a process, while it is entered."""

    def __init__(self, *, chunks: int = 30, delay_ms: float = 0, chunk_delay_ms: float = 0) -> None:
        """Answer like this."""
        options = {"core": CALLERS_CORE, "chunks": chunks, "delay-ms": delay_ms, "chunk-delay-ms": chunk_delay_ms}
        self._options = [f"--{name}={value}" for name, value in options.items()]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "scripts.measuring.provider_mock", *self._options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=_PATIENCE_SECONDS)

    @property
    def base_url(self) -> str:
        """Where the gateway finds it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def count(self) -> int:
        """Return how many requests came."""
        return int(self._get("count"))

    def last(self) -> str:
        """Return the body of the last request."""
        return self._get("last")

    def _get(self, name: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.port}/{name}", timeout=_PATIENCE_SECONDS) as answer:
            return str(answer.read().decode())


class Served:
    """A gateway whose key is issued and whose processes are known."""

    def __init__(self, gateway: Gateway) -> None:
        """Take one that runs."""
        self.key = gateway.issue_key(APP)
        self.port = int(gateway.base_url.rpartition(":")[2].partition("/")[0])
        self.gateway = gateway
        self.parts: list[Process] = gateway_processes(gateway.pid)

    def pids(self, *roles: str) -> list[int]:
        """Return the processes of these roles, or all."""
        return [part.pid for part in self.parts if not roles or part.role in roles]

    def ask(self, load: Load) -> tuple[Measured, float]:
        """Return what came of a load, and the ms of the workers' processor time that each request cost."""
        before = cpu_seconds(self.pids("worker"))
        measured = run_load(load)
        spent = cpu_seconds(self.pids("worker")) - before
        return measured, spent * 1000 / max(1, sum(measured.statuses.values()))

    def load(self, bodies: Sequence[str], **how: object) -> Load:
        """Return a load for this gateway."""
        return a_load(self.port, self.key, bodies, **how)


def a_load(port: int, key: str, bodies: Sequence[str], **how: object) -> Load:
    """Return a load of chat completions."""
    headers = {"authorization": f"Bearer {key}"} | how.pop("headers", {})  # type: ignore[operator] # a dict of strings
    return Load(port, PATH, headers, list(bodies), core=CALLERS_CORE, **how)  # type: ignore[arg-type] # checked there


@contextmanager
def served(
    folder: Path, provider_url: str, *, workers: int = 1, cores: Sequence[int] = (GATEWAY_CORE,), apps: int = 1
) -> Iterator[Served]:
    """Serve a registry with so many apps, all processes on these cores."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        ROOT / "policies", folder / "policies", dirs_exist_ok=True
    )  # rules are looked for beside the registry
    gateway = Gateway(folder, bench_registry(provider_url, apps=apps), workers=workers)
    with on_cores(cores):
        gateway.start()
    try:
        yield Served(gateway)
    finally:
        gateway.stop()


def wait_until_idle(served_one: "Served") -> None:
    """Wait until the ingester has brought in what the last load left, so that it does not take the next one's time."""
    pids = served_one.pids("ingester", "worker")
    before, deadline = cpu_seconds(pids), time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = cpu_seconds(pids)
        if now - before < _IDLE_CPU_SECONDS:
            return
        before = now


def run_load(load: Load) -> Measured:
    """Run a load in a process of its own."""
    command = [sys.executable, "-m", "scripts.measuring.load"]
    done = subprocess.run(
        command,
        input=json.dumps(asdict(load)),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=load.seconds + load.patience_seconds + _PATIENCE_SECONDS,
    )
    return Measured(**json.loads(done.stdout))


def require_all_ok(measured: Measured, what: str) -> Measured:
    """Return what was measured, unless something else than answers came: then the figures mean nothing."""
    if set(measured.statuses) != {"200"} or measured.broken or measured.hanging:
        raise SystemExit(f"{what}: not every request was answered: {asdict(measured)}")
    return measured


def bench_registry(provider_url: str, *, apps: int = 1) -> str:
    """Return a registry with limits of every kind that nobody reaches, and other apps beside the one that asks."""
    head = dedent(f"""
        version: 1
        providers:
          mock: {{kind: openai, base_url: "{provider_url}", api_key_env: PROVIDER_KEY}}
        models:
          mock-1: {{provider: mock, target: mock-1, max_sensitivity: restricted, price: {{input: 0.15, output: 0.60}}}}
        presets:
    """)
    presets = "".join(_preset(name, profile) for name, profile in ((PATTERNS, "minimal"), (NAMES, "standard")))
    return head + presets + "apps:\n" + "".join(_app(name) for name in (APP, *(f"app-{n:05}" for n in range(1, apps))))


def _preset(name: str, profile: str) -> str:
    return (
        f"  - {{name: {name}, version: 1, status: approved, owner: coe@example.com, why: To be measured., "
        f"model: mock-1, redaction: {profile}, "
        "parameters: {temperature: {min: 0, max: 1, default: 0.2}, max_tokens: {max: 300}}}\n"
    )


def _app(name: str) -> str:
    quota = (
        "{requests_per_minute: 100000000, tokens_per_minute: 100000000000, tokens_per_day: 100000000000, "
        "tokens_per_month: 1000000000000, usd_per_month: 100000000}"
    )
    return (
        f"  {name}: {{owner: owner@example.com, backup_owner: other@example.com, team: t, cost_center: '1', "
        "status: approved, ticket: T-1, sensitivity: internal, expires: 2099-12-31, connectors: [], "
        "support: none, runbook: https://wiki.example.com, "
        f"presets: [{PATTERNS}, {NAMES}], quota: {quota}}}\n"
    )
