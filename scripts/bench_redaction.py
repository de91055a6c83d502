"""Redaction against stock Presidio with the same language model, in one run on one core; ratios matter, not seconds.

Times are those of the processor, all threads together, so that a busy neighbour on the machine does not count; only the
cold start is by the clock on the wall.
Every text is new to both sides unless the row says otherwise.
"""

# ruff: noqa: E402  # BLAS reads how many threads it may use when numpy is imported

from llmguard.redaction.workers import bound_blas_threads

bound_blas_threads()  # before anything imports numpy, as the server does

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from llmguard.redaction.analyzer import Analyzer
from scripts.measuring.results import Figure, Result, Run, Table
from scripts.measuring.stock_presidio import an_analyzer
from scripts.measuring.texts import KINDS, text

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "redaction"
TEXTS_BY_TOKENS = {50: 15, 200: 9, 1_000: 5, 5_000: 3}  # how many new texts a row's median is over
QUICK_TEXTS = {50: 9, 200: 5, 1_000: 3}
PROMPT_TOKENS, PROMPTS, QUICK_PROMPTS = 1_000, 100, 40
CHAT_TURNS, MESSAGE_TOKENS = 20, 80
AIM_STANDARD, AIM_MINIMAL, AIM_MINIMAL_PROSE, AIM_CHAT = 5, 10, 100, 35
AIM_PROMPT_MS, AIM_COLD_SECONDS = 20, 1.5
# the time until a server could take its first request; imports count
COLD_START = """
import time; start = time.perf_counter()
from pathlib import Path
from llmguard.redaction.workers import bound_blas_threads; bound_blas_threads()
from llmguard.redaction.analyzer import Analyzer
analyzer = Analyzer.load(Path({rules!r}){options})
analyzer.warm_up()
print(time.perf_counter() - start)
"""
_seeds = count()


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one kind of text; ratios are stock's time over ours."""

    kind: str
    tokens: int
    stock_ms: float
    standard_ms: float
    minimal_ms: float

    @property
    def standard_ratio(self) -> float:
        """How many times faster the profile `standard` is than stock."""
        return self.stock_ms / self.standard_ms

    @property
    def minimal_ratio(self) -> float:
        """The same for `minimal`, which has patterns alone."""
        return self.stock_ms / self.minimal_ms


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="fewer and shorter texts: under a minute")
    options.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core to stay on")
    options.add_argument("--no-stock", action="store_true", help="only our own times: for whoever makes them faster")
    options.add_argument("--save", action="store_true", help="keep the result for docs/performance.md")
    chosen = options.parse_args()
    if chosen.no_stock:
        show(*measure(chosen))
        return
    with Run("redaction", "scripts/bench redaction" + (" --quick" if chosen.quick else ""), save=chosen.save) as result:
        report(result, *measure(chosen))


def measure(chosen: argparse.Namespace) -> tuple[list[Row], dict]:
    """Return the rows and what else was found."""
    os.sched_setaffinity(0, {chosen.core})
    cold = None if chosen.no_stock else measure_cold_start(rounds=1 if chosen.quick else 3)
    analyzer = Analyzer.load(RULES)
    analyzer.warm_up()
    stock = (lambda _: None) if chosen.no_stock else stock_presidio()
    warm(analyzer, stock)
    gc.collect()
    gc.freeze()  # models and rules are never garbage: spares both sides the search for it
    rows = [
        measure_row(kind, tokens, texts, analyzer, stock)
        for kind in KINDS
        for tokens, texts in (QUICK_TEXTS if chosen.quick else TEXTS_BY_TOKENS).items()
    ]
    figures = {
        "prompt": measure_prompts(analyzer, QUICK_PROMPTS if chosen.quick else PROMPTS),
        "chat": None if chosen.no_stock else measure_chat(analyzer, stock, rounds=1 if chosen.quick else 3),
        "cold_start_seconds": cold,
    }
    return rows, figures


def report(result: Result, rows: Sequence[Row], figures: dict) -> None:
    """Put what was found into the result."""
    columns = (
        "text",
        "tokens",
        "stock ms",
        "standard ms",
        "minimal ms",
        "standard, times faster",
        "minimal, times faster",
    )
    table = [
        (row.kind, row.tokens, row.stock_ms, row.standard_ms, row.minimal_ms, row.standard_ratio, row.minimal_ratio)
        for row in rows
    ]
    note = "Processor time, medians, one thread for BLAS. Every text is new to both sides."
    result.tables.append(Table("", columns, table, note))
    for row in rows:
        aim = AIM_MINIMAL_PROSE if row.kind == "prose" else AIM_MINIMAL
        for name, ratio, least in (("standard", row.standard_ratio, AIM_STANDARD), ("minimal", row.minimal_ratio, aim)):
            words = f"times faster than stock Presidio: {name}, {row.kind}, {row.tokens} tokens"
            result.figures[f"{name}, {row.kind}, {row.tokens}"] = Figure(ratio, "times", "higher", least, words)
    prompt, chat, cold = figures["prompt"], figures["chat"], figures["cold_start_seconds"]
    more = [
        (f"a prompt of {prompt['tokens']} tokens that was never seen, p50", f"{prompt['p50_ms']:.1f} ms"),
        ("the same, p99", f"{prompt['p99_ms']:.1f} ms"),
        (f"a chat of {chat['turns']} messages that resends its history", f"{chat['ratio']:.0f} times faster"),
        ("its last turn", f"{chat['last_turn_ratio']:.0f} times faster"),
        ("start with compiled rules kept", f"{cold['rules_compiled_before']:.1f} s"),
        ("start with nothing kept", f"{cold['nothing_kept']:.1f} s"),
    ]
    result.tables.append(Table("", ("what", "measured"), more))
    words = f"a prompt of {prompt['tokens']} tokens that was never seen, p50 of the processor"
    result.figures["new prompt"] = Figure(prompt["p50_ms"], "ms", "lower", AIM_PROMPT_MS, words)
    result.figures["chat"] = Figure(chat["ratio"], "times", "higher", AIM_CHAT, "times faster than stock: a chat")
    result.figures["start"] = Figure(cold["rules_compiled_before"], "s", "lower")


def stock_presidio() -> Callable[[str], object]:
    """Return the analysis of stock Presidio."""
    analyzer = an_analyzer()
    return lambda one: analyzer.analyze(one, "en")


def warm(analyzer: Analyzer, stock: Callable[[str], object]) -> None:
    """Let both sides see some texts of each kind, as a server that has been up for a minute has."""
    for kind in KINDS:
        for _ in range(6):
            one = text(kind, 500, next(_seeds))
            for profile in analyzer.profiles.values():
                analyzer.find(one, profile)
        stock(one)


def measure_row(kind: str, tokens: int, count: int, analyzer: Analyzer, stock: Callable[[str], object]) -> Row:
    """Measure each side on the same new texts, one side after the other, so that none finds the caches of the other."""
    texts = [text(kind, tokens, next(_seeds)) for _ in range(count)]
    standard, minimal = analyzer.profiles["standard"], analyzer.profiles["minimal"]
    sides = (stock, lambda one: analyzer.find(one, standard), lambda one: analyzer.find(one, minimal))
    medians = [statistics.median([milliseconds(partial(side, one)) for one in texts]) for side in sides]
    return Row(kind, tokens, *medians)


def measure_prompts(analyzer: Analyzer, prompts: int) -> dict[str, float]:
    """Measure new prompts of prose one after the other."""
    standard = analyzer.profiles["standard"]
    texts = [text("prose", PROMPT_TOKENS, next(_seeds)) for _ in range(prompts)]
    times = sorted(milliseconds(partial(analyzer.find, one, standard)) for one in texts)
    return {"tokens": PROMPT_TOKENS, "p50_ms": statistics.median(times), "p99_ms": times[int(len(times) * 0.99)]}


def measure_chat(analyzer: Analyzer, stock: Callable[[str], object], rounds: int) -> dict[str, float]:
    """Measure chats that send their whole history with each turn; ours from a cold cache, as stock."""
    standard = analyzer.profiles["standard"]
    ratios, last = [], []
    for _ in range(rounds):
        messages = [text("prose", MESSAGE_TOKENS, next(_seeds)) for _ in range(CHAT_TURNS)]
        turns = [messages[: turn + 1] for turn in range(CHAT_TURNS)]

        async def ours(turns: Sequence[Sequence[str]] = turns) -> list[float]:
            return [await awaited_milliseconds(analyzer.find_all(turn, standard)) for turn in turns]

        our_times = asyncio.run(ours())
        stock_times = [milliseconds(lambda turn=turn: [stock(one) for one in turn]) for turn in turns]
        ratios.append(sum(stock_times) / sum(our_times))
        last.append(stock_times[-1] / our_times[-1])
    return {"turns": CHAT_TURNS, "ratio": statistics.median(ratios), "last_turn_ratio": statistics.median(last)}


def measure_cold_start(rounds: int) -> dict[str, float]:
    """Measure new processes: the first ever on a machine, and those that find compiled rules."""
    with tempfile.TemporaryDirectory() as folder:
        options = f", cache=Path({folder!r})"
        first = [start_process("") for _ in range(rounds)]
        start_process(options)
        again = [start_process(options) for _ in range(rounds)]
    return {"nothing_kept": statistics.median(first), "rules_compiled_before": statistics.median(again)}


def start_process(options: str) -> float:
    program = COLD_START.format(rules=str(RULES), options=options)
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout)


def milliseconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1_000


async def awaited_milliseconds(work: asyncio.Future | object) -> float:
    start = time.process_time()
    await work
    return (time.process_time() - start) * 1_000


def show(rows: Sequence[Row], figures: dict) -> None:
    print(
        f"{'fresh text':<8}{'tokens':>7}{'stock ms':>10}{'standard':>10}{'minimal':>9}{'standard':>12}{'minimal':>10}"
    )
    for row in rows:
        aim = AIM_MINIMAL_PROSE if row.kind == "prose" else AIM_MINIMAL
        print(
            f"{row.kind:<8}{row.tokens:>9}{row.stock_ms:>10.1f}{row.standard_ms:>10.2f}{row.minimal_ms:>9.2f}"
            f"{against(row.standard_ratio, AIM_STANDARD):>12}{against(row.minimal_ratio, aim):>10}"
        )
    prompt, chat, cold = figures["prompt"], figures["chat"], figures["cold_start_seconds"]
    missed = "" if prompt["p50_ms"] <= AIM_PROMPT_MS else " !"
    times = f"p50 {prompt['p50_ms']:.1f} ms{missed}, p99 {prompt['p99_ms']:.1f} ms"
    print(f"\nfresh prompt of {prompt['tokens']} tokens: {times}")
    if chat:
        total = against(chat["ratio"], AIM_CHAT)
        print(f"chat of {chat['turns']} messages: {total}, last turn {chat['last_turn_ratio']:.0f}x")
    if cold:
        late = "" if cold["rules_compiled_before"] <= AIM_COLD_SECONDS else " !"
        print(
            f"cold start: {cold['rules_compiled_before']:.2f} s{late}; with nothing kept {cold['nothing_kept']:.2f} s"
        )
    print("An aim that is missed is marked !")


def against(ratio: float, aim: float) -> str:
    return f"{ratio:.1f}x" + (" !" if ratio < aim else "  ")


if __name__ == "__main__":
    main()
