"""How quiet the rule for unusual use is on ordinary apps, and what it finds.

.venv/bin/python -m scripts.measuring.anomalies --apps 200 --weeks 12
"""

import argparse
import time
from collections import Counter

from llmguard.domain.alerts import METRICS, AnomalyRule
from tests.support.app_series import CHANGED_AT, CHANGES, Change, episodes, hours_of_an_app

WARM_UP_WEEKS = 4
SIZES = {"large": 4000.0, "medium": 400.0, "small": 20.0}
RULE = AnomalyRule()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=200)
    parser.add_argument("--weeks", type=int, default=12)
    given = parser.parse_args()
    started = time.perf_counter()
    for size, requests in SIZES.items():
        quiet(size, requests, given.apps, given.weeks)
    for size, requests in SIZES.items():
        for name, change in CHANGES.items():
            found(size, name, change, requests, given.apps // 4)
    print(f"{time.perf_counter() - started:.0f} s")


def quiet(size: str, requests: float, apps: int, weeks: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(apps):
        hours = hours_of_an_app(seed, weeks, requests_an_hour=requests)
        counts.update(anomaly.metric for _, anomaly in episodes(hours, RULE, first=WARM_UP_WEEKS * 168))
    app_weeks = apps * (weeks - WARM_UP_WEEKS)
    each = ", ".join(f"{metric} {counts[metric] / app_weeks:.4f}" for metric in METRICS)
    print(f"false episodes per app and week, {size}: {counts.total() / app_weeks:.4f} ({each})")


def found(size: str, name: str, planned: tuple[Change, str, int], requests: float, apps: int) -> None:
    change, metric, within = planned
    delays = []
    for seed in range(1000, 1000 + apps):
        hours = hours_of_an_app(seed, 11, requests_an_hour=requests, change=change)
        first = [end for end, anomaly in episodes(hours, RULE, first=CHANGED_AT + 1) if anomaly.metric == metric]
        if first and first[0] <= CHANGED_AT + within:
            delays.append(first[0] - CHANGED_AT)
    delays.sort()
    median = f", median after {delays[len(delays) // 2]} h" if delays else ""
    print(f"{name}, {size}: found {len(delays)}/{apps}{median}")


if __name__ == "__main__":
    main()
