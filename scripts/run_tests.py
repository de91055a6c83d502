"""Run every test: parts in the project's environment, journeys with the current OpenAI client in its own.

With arguments, they go to pytest in the project's environment and nothing else runs.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / ".venv" / "bin"
CLIENT = ROOT / ".venv-client" / "bin"
PARTS = ["tests/unit", "tests/contract", "tests/architecture"]
JOURNEYS = ["-c", "tests/journeys/pytest.ini", "--rootdir", ".", "tests/journeys"]
TWO_AT_ONCE = ["-n", "2", "--dist", "loadfile"]  # the tests of a file share servers, analyzers and language models


def main() -> int:
    if sys.argv[1:]:
        return run([PROJECT / "python", "-m", "pytest", *sys.argv[1:]])[0]
    # journeys start servers from the project's environment: coverage follows them through this variable
    environ = {
        **os.environ,
        "COVERAGE_FILE": str(ROOT / ".coverage"),
        "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"),
    }
    # where bytecode is not kept, each of the hundreds of processes compiles its libraries anew: 4 s of CPU a command
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    run([PROJECT / "coverage", "erase"], environ)
    outcomes = [
        run([PROJECT / "python", "-m", "pytest", *TWO_AT_ONCE, "--cov", "--cov-report=", *PARTS], environ),
        run([CLIENT / "python", "-m", "pytest", *TWO_AT_ONCE, *JOURNEYS], environ),
    ]
    run([PROJECT / "coverage", "combine", "--append", "--quiet"], environ)
    covered, _ = run([PROJECT / "coverage", "report"], environ)
    passed, failed = (sum(counts[index] for _, counts in outcomes) for index in (0, 1))
    print(f"{passed} passed, {failed} failed", flush=True)
    return next((code for code, _ in outcomes if code), 0) or covered


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
