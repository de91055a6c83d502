"""Does memory stay where it is over many different prompts, and the event loop free beside the language model?

`python -m scripts.measuring.plateau [PROMPTS]`, by default 100,000: resident memory after each tenth; then, with
more texts than may wait for the language model, how late the event loop is, and how many texts are refused.
"""

# ruff: noqa: E402  # BLAS reads how many threads it may use when numpy is imported

from llmguard.redaction.workers import bound_blas_threads

bound_blas_threads()

import asyncio
import gc
import os
import random
import sys
import time
from pathlib import Path

from llmguard.domain.errors import Fault
from llmguard.redaction.analyzer import Analyzer
from scripts.measuring.texts import KINDS, text

RULES = Path(__file__).resolve().parents[2] / "redaction"
PROMPTS, TOKENS, ROUNDS = 100_000, 40, 10
BURST, TICK_SECONDS = 1_000, 0.005


def main() -> None:
    prompts = int(sys.argv[1]) if len(sys.argv) > 1 else PROMPTS
    kept = os.environ.get("LLMGUARD_TESTS_COMPILED_RULES")
    analyzer = Analyzer.load(RULES, cache=Path(kept) if kept else None)
    analyzer.warm_up()
    drafts = [text(kind, TOKENS * 5, seed) for kind in KINDS for seed in range(200)]
    for done in range(ROUNDS):
        read_many(analyzer, drafts, range(done * prompts // ROUNDS, (done + 1) * prompts // ROUNDS))
        gc.collect()
        print(f"{(done + 1) * prompts // ROUNDS:>9,} prompts: {resident_mb():.0f} MB", flush=True)
    asyncio.run(flood(analyzer, drafts))
    analyzer.close()


def read_many(analyzer: Analyzer, drafts: list[str], numbers: range) -> None:
    """Read prompts that were never seen: lines of several drafts with new words and numbers in them."""
    standard = analyzer.profiles["standard"]
    for number in numbers:
        rng = random.Random(number)
        lines = [rng.choice(drafts)[:200].rpartition(" ")[0] for _ in range(2)]
        word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=9)).title()
        analyzer.find(f"{number} {word}: " + "\n".join(lines), standard)


async def flood(analyzer: Analyzer, drafts: list[str]) -> None:
    """Ask for more texts at once than may wait, and tell how late the event loop is meanwhile."""
    late: list[float] = []
    ticks = asyncio.create_task(tick(late))
    standard = analyzer.profiles["standard"]
    asked = [analyzer.find_all([f"{number} {drafts[number % len(drafts)]}"], standard) for number in range(BURST)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    ticks.cancel()
    codes = [one.code for one in answers if isinstance(one, Fault)]
    late.sort()
    print(f"{BURST:,} texts at once: {len(answers) - len(codes)} answered, refused: {sorted(set(codes))} {len(codes)}")
    print(
        f"event loop late: median {late[len(late) // 2] * 1e3:.2f} ms, p99 {late[int(len(late) * 0.99)] * 1e3:.2f} ms"
    )


async def tick(late: list[float]) -> None:
    """Note how much later than asked for the event loop comes back."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        late.append(time.perf_counter() - start - TICK_SECONDS)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4_096 / 2**20


if __name__ == "__main__":
    main()
