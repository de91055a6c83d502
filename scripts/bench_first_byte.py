"""How much later the first byte of a stream comes through llmguard than straight from the provider, on any core.

`scripts/bench first_byte [--rounds N] [--save]`.

Both ways in turn, in one run, over kept connections, with prompts that are never the same (findings are cached by
text). The provider is the tests' own server, which answers at once; redaction is the default profile.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from scripts.measuring.results import Figure, Run, Table
from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry
from tests.support.provider_server import ProviderServer

WARM_UP, QUICK_ROUNDS = 5, 8
TEXT = (
    "Anna Schmidt of the Bremen office wrote on 3 March that invoice {number} was paid twice, once by card and once by "
    "transfer. She asks to have 48.90 EUR sent back, and an answer to anna.schmidt{number}@example.com before Friday. "
    "Please sum up what she wants, whom to ask for it, and which of our rules applies to refunds of small amounts. "
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--save", action="store_true")
    given = parser.parse_args()
    rounds = QUICK_ROUNDS if given.quick else given.rounds
    with (
        Run("first_byte", "scripts/bench first_byte", save=given.save) as result,
        tempfile.TemporaryDirectory() as folder,
        ProviderServer() as provider,
        Gateway(Path(folder), a_registry(provider.base_url)) as gateway,
    ):
        ways = {
            "direct": Way(provider.base_url, "none", "remote-1"),
            "through llmguard": Way(gateway.base_url, gateway.issue_key("helpdesk"), "chat"),
        }
        for number in range(-WARM_UP, rounds):
            for way in ways.values():
                way.ask(TEXT.format(number=10_000 + number) * 4)
        medians = {name: statistics.median(way.milliseconds[WARM_UP:]) for name, way in ways.items()}
        rows = [(name, median, min(ways[name].milliseconds)) for name, median in medians.items()]
        note = (
            f"Until the first byte of a stream; {rounds} in turn, prompts of about 240 words that are never repeated."
        )
        result.tables.append(Table("", ("way", "median ms", "best ms"), rows, note))
        added = medians["through llmguard"] - medians["direct"]
        result.figures["added"] = Figure(added, "ms", "lower")


class Way:
    """One way to the model, over one connection."""

    def __init__(self, base_url: str, key: str, model: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=60)
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._model = model
        self.milliseconds: list[float] = []

    def ask(self, prompt: str) -> None:
        """Stream one answer, and note when its first byte came."""
        asked = {"model": self._model, "stream": True, "messages": [{"role": "user", "content": prompt}]}
        body = json.dumps(asked)
        started = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", body, self._headers)
        answer = self._connection.getresponse()
        first = answer.read(1)
        self.milliseconds.append((time.perf_counter() - started) * 1000)
        rest = answer.read()
        if answer.status != http.client.OK or not (first + rest).startswith(b"data: "):
            raise SystemExit(f"no stream came: {answer.status} {(first + rest)[:300]!r}")


if __name__ == "__main__":
    main()
