"""Write docs/performance.md anew from docs/performance/: `scripts/bench page`."""

from scripts.measuring.page import PAGE, write
from scripts.measuring.results import ROOT

if __name__ == "__main__":
    write()
    print(f"Written: {PAGE.relative_to(ROOT)}")
