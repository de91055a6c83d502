"""Measure everything, keep it as the baseline, and write docs/performance.md: half an hour on a quiet machine.

`scripts/bench all [--quick] [--soak-minutes N]`; other gateways apart: `scripts/bench peers --save`. A part that fails
is said at the end, and keeps what it had. `--quick` takes three minutes, keeps nothing and shows that all of it works.
"""

import argparse
import subprocess
import sys
import time

from scripts.measuring import page

SOAK_MINUTES, QUICK_SOAK_MINUTES = 15.0, 0.25
PARTS = ("start", "gateway", "stream", "first_byte", "overload", "growth", "traces", "ledger", "policy", "redaction")
SHORT = {"ledger", "policy"}  # their long form is for whoever works on them


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--soak-minutes", type=float)
    given = parser.parse_args()
    minutes = given.soak_minutes or (QUICK_SOAK_MINUTES if given.quick else SOAK_MINUTES)
    failed = []
    for part in (*PARTS, "soak"):
        options = [f"--minutes={minutes}"] if part == "soak" else []
        options += ["--quick"] if given.quick or part in SHORT else []
        options += [] if given.quick else ["--save"]
        print(f"\n## {part}", flush=True)
        begun = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"scripts.bench_{part}", *options], check=False).returncode:
            failed.append(part)
        print(f"({part}: {time.monotonic() - begun:.0f} s)", flush=True)
    if not given.quick:
        page.write()
    if failed:
        print(f"\nThese failed, and keep what they had: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
