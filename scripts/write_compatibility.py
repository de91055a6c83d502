"""Write docs/reference/compatibility.md from what came of the tests of clients.

Runs them, or reads the results of a run: `LLMGUARD_CLIENT_RESULTS=FILE scripts/test`, then `scripts/docs FILE`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from run_tests import BEFORE, CLIENT, JOURNEYS, PROJECT, ROOT, install_node_clients, wait_for_node_clients

sys.path.append(str(ROOT))
from tests.support.compatibility import RESULTS_VARIABLE

DOCUMENT = ROOT / "docs" / "reference" / "compatibility.md"
WORDS = {"passed": "works", "failed": "fails", "skipped": "not tested"}
WORST = ["passed", "skipped", "failed"]
PREAMBLE = """# Compatibility

Clients that are tested against a running llmguard over a socket, on every run of `scripts/test`, with no setting but
the base URL and the key. `scripts/docs` writes this page from the results of those tests (`tests/journeys`); a test
keeps it current.
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(sys.argv[1]) if sys.argv[1:] else run_clients(Path(folder) / "results")
        rows = [json.loads(line) for line in results.read_text().splitlines()]
    if not rows:
        print("The run left no results of clients.", file=sys.stderr)
        return 3
    DOCUMENT.write_text(PREAMBLE + "".join(sections(rows)))
    failed = sorted({f"{row['client']}: {row['feature']}" for row in rows if row["outcome"] != "passed"})
    print(f"{DOCUMENT.relative_to(ROOT)}: {len(rows)} results, {len(failed)} that do not work", *failed, sep="\n  ")
    return 1 if failed else 0


def run_clients(results: Path) -> Path:
    """Run the tests of clients in both environments, and return the file of their results."""
    results.touch()
    wait_for_node_clients(install_node_clients())
    environ = {**os.environ, RESULTS_VARIABLE: str(results)}
    for python, words in ((CLIENT, [*JOURNEYS, "-m", "client"]), (PROJECT, BEFORE)):
        subprocess.run([python / "python", "-m", "pytest", "-q", *words], cwd=ROOT, env=environ, check=False)
    return results


def sections(rows: list[dict]) -> Iterable[str]:
    """Yield a table for each client: its features, and what came of them in each version."""
    for client in dict.fromkeys(row["client"] for row in rows):
        own = [row for row in rows if row["client"] == client]
        versions = sorted({row["version"] for row in own}, key=lambda text: [int(n) for n in text.split(".") if n])
        heads = [version or "result" for version in reversed(versions)]
        yield f"\n## {client}\n\n| feature | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}\n"
        for feature in dict.fromkeys(row["feature"] for row in own):
            cells = [outcome(own, version, feature) for version in reversed(versions)]
            yield f"| {feature} | {' | '.join(cells)} |\n"


def outcome(rows: list[dict], version: str, feature: str) -> str:
    """Return the worst that came of a feature in a version."""
    found = [row["outcome"] for row in rows if (row["version"], row["feature"]) == (version, feature)]
    return WORDS[max(found, key=WORST.index)] if found else WORDS["skipped"]


if __name__ == "__main__":
    sys.exit(main())
