"""A real gateway for journeys: `llmguard serve` as a process of its own, driven over sockets. Stdlib only."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.compiled_rules import lend_rules

ROOT = Path(__file__).resolve().parents[2]
LLMGUARD = ROOT / ".venv" / "bin" / "llmguard"
_START_SECONDS = 300  # patience for a busy machine; nothing waits that long on a quiet one
_STOP_SECONDS = 120
_COMMAND_SECONDS = 180


class Gateway:
    """Serves one registry and one data folder while it is entered."""

    def __init__(
        self,
        folder: Path,
        registry: str,
        *,
        workers: int = 1,
        environ: dict[str, str] | None = None,
        own_rules: bool = False,
    ) -> None:
        """Serve from a folder; with `own_rules` it gets a copy of the redaction rules that a test may change."""
        self.folder = folder
        self.data = folder / "data"
        self.registry = folder / "registry.yaml"
        self.registry.write_text(registry)
        self.redaction = ROOT / "redaction"
        if own_rules:
            self.redaction = Path(shutil.copytree(self.redaction, folder / "redaction"))
        self.log = folder / "gateway.log"
        self._workers = workers
        self._environ = {**os.environ, "PROVIDER_KEY": "sk-upstream-secret", **(environ or {})}
        self._process: subprocess.Popen | None = None
        self.base_url = ""

    def __enter__(self) -> "Gateway":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.stop()

    @property
    def pid(self) -> int:
        """The process that the others belong to."""
        return self._process.pid

    def start(self) -> None:
        """Serve, and return when a request could be answered."""
        lend_rules(self.data)
        command = [LLMGUARD, "serve", "--port", "0", "--workers", str(self._workers), *self.places()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environ, stdout=subprocess.PIPE, stderr=log, cwd=self.folder, start_new_session=True
            )
        self.base_url = self._wait_for_banner(self._process)

    def stop(self) -> int:
        """Stop it as Ctrl-C does, and return its exit code."""
        process, self._process = self._process, None
        process.send_signal(signal.SIGINT)
        code = process.wait(_STOP_SECONDS)
        process.stdout.close()
        return code

    def terminate(self) -> None:
        """Ask it to stop, without waiting."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the whole process group, as a power cut would: nobody can clean up."""
        process, self._process = self._process, None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_STOP_SECONDS)
        process.stdout.close()

    def places(self) -> list[str]:
        """Return the options that name this gateway's files."""
        return [f"--registry={self.registry}", f"--redaction={self.redaction}", f"--data={self.data}"]

    def run(self, *words: str, said: str | None = None) -> subprocess.CompletedProcess:
        """Run an llmguard command on this gateway's files; `said` is what it reads from standard input."""
        return subprocess.run(
            [LLMGUARD, *words, *self.places()],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
            input=said,
        )

    def ask(self, *words: str) -> object:
        """Run a command with --json and return what it printed."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def issue_key(self, app: str, *options: str) -> str:
        """Return a new key of an app, once every worker knows it."""
        key = self.ask("keys", "issue", app, *options)["key"]
        if self._process is not None:
            self.wait_until(lambda: self.get("/v1/me", key)[0] == 200)
            if self._workers > 1:
                time.sleep(0.6)  # the other workers look every quarter of a second
        return key

    def get(self, path: str, key: str | None = None, headers: dict[str, str] | None = None):
        """Return status, headers and body of a GET."""
        return self.send("GET", path, None, key, headers)

    def send(self, method: str, path: str, body: bytes | None, key: str | None = None, headers: dict | None = None):
        """Return status, headers and body of a raw request."""
        given = {"content-type": "application/json"} | (headers or {})
        if key is not None:
            given["authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            self.base_url.removesuffix("/v1") + path, data=body, headers=given, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def traces(self, *words: str) -> list[dict]:
        """Return the newest traces."""
        return self.ask("traces", "list", "--limit", "10000", *words)

    def trace(self, trace_id: str) -> dict:
        """Return one trace."""
        return self.ask("traces", "show", trace_id)

    def standing(self, app: str) -> dict[str, dict]:
        """Return the limits of an app by name."""
        return {row["name"]: row for row in self.ask("quota", "show", app)}

    def every_byte(self) -> bytes:
        """Return all that was written anywhere: data folder and logs."""
        while True:
            files = [path for path in self.data.rglob("*") if path.is_file()]
            try:
                return b"\n".join(path.read_bytes() for path in [*files, self.log])
            except FileNotFoundError:
                continue  # a file went while it runs, and what was in it may now be in one that was read before

    @staticmethod
    def wait_until(condition, seconds: float = 60) -> None:
        """Wait until a condition holds; fail when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)

    def _wait_for_banner(self, process: subprocess.Popen) -> str:
        killer = threading.Timer(_START_SECONDS, process.kill)
        killer.start()
        try:
            for line in process.stdout:
                if found := re.search(rb"base URL\s+(\S+)", line):
                    threading.Thread(target=_read_away, args=(process.stdout,), daemon=True).start()
                    return found[1].decode()
        finally:
            killer.cancel()
        raise AssertionError(f"the gateway did not start:\n{self.log.read_text()[-4000:]}")


def _read_away(pipe) -> None:
    try:
        for _ in pipe:
            pass
    except ValueError:
        pass  # closed
