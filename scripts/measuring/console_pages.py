"""How long each page of the console takes over many traces, and how large it is: a real gateway, asked over a socket.

The processor time of each role is told beside it: pages wait for nothing else, so on a quiet machine that is the time.

.venv/bin/python -m scripts.measuring.console_pages --rows 1000000 [--data FOLDER]
"""

import argparse
import http.client
import statistics
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from llmguard.domain.clock import SystemClock
from llmguard.identity.operator_store import OperatorStore
from llmguard.traces.reader import TraceReader
from llmguard.web.static_files import static_files
from scripts.measuring.processes import cpu_seconds, gateway_processes
from tests.support.console_registry import a_console_registry
from tests.support.gateway import Gateway
from tests.support.month import seed_month

PAGES = (
    "/console/?last=hour",
    "/console/?last=day",
    "/console/?last=month",
    "/console/overview/figures?last=month",
    "/console/apps",
    "/console/apps/ticket-router",
    "/console/apps/expense-triage",
    "/console/catalog",
    "/console/catalog/findings",
    "/console/presets",
    "/console/presets/summarise",
    "/console/spend",
    "/console/spend?by=model",
    "/console/spend?by=day",
    "/console/traces",
    "/console/traces?last=month",
    "/console/traces?last=month&code=provider_error",
    "/console/traces?text=nobody-said-this",
    "/console/traces?text=nobody-said-this&last=week",
    "/console/traces?live=on",
    "/console/redaction",
)
COUNTED_ANEW = ("/console/?", "/console/overview")  # kept for some seconds
DAYS = 35
KEPT_SECONDS = 5.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="a folder to keep, and to use again where it has traces")
    parser.add_argument("--only", default="", help="pages whose address has this in it")
    parser.add_argument("--times", type=int, default=20, help="how often each is asked for, at least 4 times")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        gateway = Gateway(folder, a_console_registry())
        if not gateway.data.exists():
            gateway.data.mkdir(parents=True)
            print(f"{seed_month(gateway.data, datetime.now(UTC), given.rows, days=DAYS):,} traces made", flush=True)
        (gateway.data / "redaction-cache").unlink(missing_ok=True)  # of the last time: lent, and gone
        with gateway:
            secret = (gateway.data / "secret").read_bytes()
            store = OperatorStore(gateway.data / "state.db", secret, SystemClock())
            token = store.issue(
                "measuring@example.com", ("coe", "auditor", "finance", "responder"), who="test"
            ).secret_text
            [trace] = TraceReader(gateway.data).list(limit=1)
            for page in (*PAGES, f"/console/traces/{trace['trace_id']}"):
                if given.only in page:
                    _measure(gateway, page, token, max(4, given.times))
    print(f"style and scripts: {sum(len(file.packed) for file in static_files().values()) / 1000:.1f} kB, packed, once")


def _measure(gateway: Gateway, page: str, token: str, times: int) -> None:
    [(first, size)], first_used = _ask(gateway, page, token, 1, 0)
    wait = KEPT_SECONDS if page.startswith(COUNTED_ANEW) else 0
    answers, used = _ask(gateway, page, token, times // 2 if wait else times, wait)
    taken = sorted(seconds for seconds, _ in answers)
    middle, slow = statistics.median(taken) * 1000, taken[-2] * 1000
    print(
        f"{page:52} first {first * 1000:7.1f} ms (processor {first_used}), then {middle:6.1f} (p95 {slow:6.1f}; "
        f"processor {used}), {size / 1000:.1f} kB",
        flush=True,
    )


def _ask(gateway: Gateway, page: str, token: str, times: int, wait: float) -> tuple[list[tuple[float, int]], str]:
    """Return seconds and size of each answer, and the processor time of one: workers + ingester, in milliseconds."""
    answers, used = [], Counter[str]()
    for _ in range(times):
        time.sleep(wait)
        used.subtract(_used(gateway))
        answers.append(_get(gateway.base_url, page, token))
        used.update(_used(gateway))
    return answers, " + ".join(f"{used[role] * 1000 / times:.0f}" for role in ("worker", "ingester"))


def _used(gateway: Gateway) -> dict[str, float]:
    """Return the processor seconds of workers and of the ingester, which answers what they ask of the traces."""
    processes = gateway_processes(gateway.pid)
    return {role: cpu_seconds(one.pid for one in processes if one.role == role) for role in ("worker", "ingester")}


def _get(base_url: str, page: str, token: str) -> tuple[float, int]:
    connection = http.client.HTTPConnection(base_url.removeprefix("http://").removesuffix("/v1"), timeout=120)
    started = time.perf_counter()
    connection.request("GET", page, headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    content = answer.read()
    seconds = time.perf_counter() - started
    connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise SystemExit(f"{page}: {answer.status}")
    return seconds, len(content)


if __name__ == "__main__":
    main()
