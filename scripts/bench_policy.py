"""What a decision by the rules in policies/ takes: remembered, evaluated, and without rules.

`scripts/bench policy [--quick] [--save]`: on the shipped rules and the example registry, with a chat of 20 messages.
Remembered and without rules include gathering the facts; evaluated includes the way to the engine's process and back.
"""

import argparse
import asyncio
import json
import statistics
import time
from itertools import count
from pathlib import Path

from llmguard.domain.chat import ChatRequest
from llmguard.domain.clock import SystemClock
from llmguard.policy.engine import Engine
from llmguard.policy.evaluator import Embedded
from llmguard.policy.facts import example_document
from llmguard.policy.judge import Policies
from llmguard.policy.rego_files import check_policies
from llmguard.registry.check import check_registry
from scripts.measuring.results import Figure, Run, Table

ROOT = Path(__file__).resolve().parents[1]
ENTITIES = {"PERSON": 2, "EMAIL_ADDRESS": 1}
TIMES, QUICK_TIMES = 20_000, 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    times = QUICK_TIMES if given.quick else TIMES
    with Run("policy", "scripts/bench policy" + (" --quick" if given.quick else ""), save=given.save) as result:
        rows = asyncio.run(measure(times))
        rows.append({"case": "the engine alone", **figures(engine_alone(times // 20))})
        note = "The two shipped rules, a chat of 20 messages; facts gathered included."
        table = [(row["case"], row["p50_us"], row["p99_us"]) for row in rows]
        result.tables.append(Table("", ("case", "p50 us", "p99 us"), table, note))
        result.figures = {row["case"]: Figure(row["p50_us"], "us", "lower") for row in rows}


async def measure(times: int) -> list[dict]:
    checked = check_registry(ROOT / "registry.yaml", profiles={"standard", "strict", "minimal"}, accepted={})
    registry = checked.registry
    app, preset = registry.apps["expense-triage"], registry.presets["summarise"][-1]
    messages = [{"role": "user", "content": "Please sum this up. " * 20} for _ in range(20)]
    request = ChatRequest("/v1/chat/completions", "summarise", messages, {})
    policies = Policies(SystemClock())
    new = count(1)

    async def once(*, is_new: bool) -> int:
        entities = ENTITIES | ({f"KIND_{next(new)}": 1} if is_new else {})
        began = time.perf_counter_ns()
        judgement = await policies.judge(registry, app, preset, request, entities)
        took = time.perf_counter_ns() - began
        assert not judgement.verdict.objections
        return took

    rows = [{"case": "without rules", **figures([await once(is_new=False) for _ in range(times)])}]
    rules = check_policies(ROOT / "policies").rules
    embedded = Embedded(rules.files)
    await embedded.start()
    policies.use(rules, embedded)
    await once(is_new=False)
    rows.append({"case": "remembered facts", **figures([await once(is_new=False) for _ in range(times)])})
    rows.append({"case": "new facts, evaluated", **figures([await once(is_new=True) for _ in range(times // 20)])})
    await policies.close()
    return rows


def engine_alone(times: int) -> list[int]:
    engine, document = Engine(check_policies(ROOT / "policies").rules.files), json.dumps(example_document())
    took = []
    for _ in range(times):
        began = time.perf_counter_ns()
        engine.decisions(document)
        took.append(time.perf_counter_ns() - began)
    return took


def figures(took: list[int]) -> dict[str, float]:
    return {
        "p50_us": statistics.median(took) / 1000,
        "p99_us": statistics.quantiles(took, n=100)[98] / 1000,
        "times": len(took),
    }


if __name__ == "__main__":
    main()
