"""Run every test: parts in the project's environment, journeys with today's clients in theirs.

`--cover` measures coverage, which takes half as long again. Any other arguments go to pytest in the project's
environment, and nothing else runs.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / ".venv" / "bin"
CLIENT = ROOT / ".venv-client" / "bin"
PARTS = ["tests/unit", "tests/contract", "tests/architecture"]
JOURNEYS = ["-c", "tests/journeys/pytest.ini", "--rootdir", ".", "tests/journeys"]
BEFORE = [
    *JOURNEYS[:-1],
    "-p",
    "no:asyncio",
    "tests/journeys/test_openai_client.py",
]  # with the previous major version of the client
BROWSER = ["tests/browser"]  # in processes of their own: Playwright keeps an event loop running
NODE = ROOT / "tests" / "clients" / "node"
NPM_SECONDS = 300
CHROMIUM_SECONDS = 300
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
COVER = "--cover"
TWO_AT_ONCE = ["-n", "2", "--dist", "loadfile"]  # the tests of a file share servers, analyzers and language models


def main() -> int:
    if sys.argv[1:] == [COVER]:
        return run_all(cover=True)
    if sys.argv[1:]:
        return run([PROJECT / "python", "-m", "pytest", *sys.argv[1:]])[0]
    return run_all(cover=False)


def run_all(*, cover: bool) -> int:
    """Run everything, and return the exit code; with `cover`, less coverage than the floor is a failure as well."""
    with tempfile.TemporaryDirectory(prefix="llmguard-rules-") as rules:
        environ = {**os.environ, "LLMGUARD_TESTS_COMPILED_RULES": rules}
        # without bytecode, each of the hundreds of processes compiles its libraries anew: 4 s of CPU a command
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        if cover:
            # journeys start servers from the project's environment: coverage follows them through this variable
            environ |= {
                "COVERAGE_FILE": str(ROOT / ".coverage"),
                "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"),
            }
            run([PROJECT / "coverage", "erase"], environ)
        outcomes = run_tests(environ, ["--cov", "--cov-report=", "--cov-fail-under=0"] if cover else [])
        covered = 0
        if cover:
            run([PROJECT / "coverage", "combine", "--append", "--quiet"], environ)
            covered, _ = run([PROJECT / "coverage", "report"], environ)
    passed, failed = (sum(counts[index] for _, counts in outcomes) for index in (0, 1))
    print(f"{passed} passed, {failed} failed", flush=True)
    return next((code for code, _ in outcomes if code), 0) or covered


def run_tests(environ: dict[str, str], options: list[str]) -> list[tuple[int, tuple[int, int]]]:
    """Run parts and journeys, and return the outcome of each."""
    installing, installing_browser = install_node_clients(), install_chromium()
    parts = run([PROJECT / "python", "-m", "pytest", *TWO_AT_ONCE, *options, *PARTS], environ)
    wait_for_node_clients(installing)
    journeys = run([CLIENT / "python", "-m", "pytest", *TWO_AT_ONCE, *JOURNEYS], environ)
    before = run([PROJECT / "python", "-m", "pytest", *BEFORE], environ)
    wait_for_chromium(installing_browser)
    pages = run([PROJECT / "python", "-m", "pytest", *TWO_AT_ONCE, *options, *BROWSER], environ)
    return [parts, journeys, before, pages]


def install_node_clients() -> subprocess.Popen | None:
    """Begin to install the Node clients by their lock file, unless they are there; their tests are skipped without."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("The clients for Node are not tested: node and npm are not installed.", flush=True)
        return None
    lock, installed = NODE / "package-lock.json", NODE / "node_modules" / ".package-lock.json"
    if installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return None
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    return subprocess.Popen(command, cwd=NODE)


def install_chromium() -> subprocess.Popen | None:
    """Begin to install Chromium where that takes no more than asking Debian; the tests of pages are skipped without."""
    if any(map(shutil.which, CHROMIUM_NAMES)):
        return None
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print("The console's pages are not tested: install Chromium (Debian: apt-get install chromium).", flush=True)
        return None
    command = "apt-get update -qq && apt-get install -qq --no-install-recommends chromium"
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.Popen(["/bin/sh", "-c", command], env=environ, stdout=subprocess.DEVNULL)


def wait_for_chromium(installing: subprocess.Popen | None) -> None:
    """Wait until it is installed; say so when it cannot be."""
    if not is_installed(installing, CHROMIUM_SECONDS):
        print("The console's pages are not tested: apt-get could not install chromium.", flush=True)


def wait_for_node_clients(installing: subprocess.Popen | None) -> None:
    """Wait until they are installed; say so when they cannot be."""
    if not is_installed(installing, NPM_SECONDS):
        shutil.rmtree(NODE / "node_modules", ignore_errors=True)
        print("The clients for Node are not tested: npm could not install them. Is its registry reachable?", flush=True)


def is_installed(installing: subprocess.Popen | None, seconds: float) -> bool:
    """Wait for an installation, if there is one, and return whether it ended well in time."""
    if installing is None:
        return True
    try:
        return installing.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        installing.kill()
        return False


def run(command: list, environ: dict[str, str] | None = None) -> tuple[int, tuple[int, int]]:
    """Run a command, show what it prints, and return its exit code with the tests it says passed and failed."""
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        last = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line if " in " in line else last
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", last)}
    code = process.returncode
    return code, (counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0))


if __name__ == "__main__":
    sys.exit(main())
