"""Probes for whoever runs llmguard: alive, ready, counted."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from llmguard.gateway.metrics import CONTENT_TYPE, Metrics


@dataclass(frozen=True, slots=True)
class Probes:
    """What the probes ask.

    Attributes:
        metrics: this worker's counters.
        metrics_folder: where all workers' counters are, if they share them.
        problems: returns why no request could be served now; empty when one could.
    """

    metrics: Metrics
    metrics_folder: str | None
    problems: Callable[[], list[str]]

    async def alive(self, request: Request) -> Response:
        """`GET /healthz`: the process answers."""
        del request
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """`GET /readyz`: 200 when requests can be served, else 503 with the reasons."""
        del request
        problems = self.problems()
        return JSONResponse({"ready": not problems, "problems": problems}, status_code=503 if problems else 200)

    async def scrape(self, request: Request) -> Response:
        """`GET /metrics`: Prometheus text."""
        del request
        return Response(self.metrics.exposition(self.metrics_folder), headers={"content-type": CONTENT_TYPE})
