"""`GET /why/{trace_id}`: what happened to a request and what would pass, as JSON or as a page, without a login.

It holds the outcome and its reasons only: no prompt, no answer, no key. A trace id is unguessable enough to be the
ticket (74 random bits), and whoever has it was given it by llmguard.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from llmguard.catalog.why import explain
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import GuardError
from llmguard.gateway.services import Services
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.pages import PAGE_HEADERS, load_page

_PATIENCE_SECONDS = 10
_AT_ONCE = 4  # anybody may ask, and each answer takes a thread
_UNKNOWN: Final = (
    "There is no trace with this id. Copy it again from the error, or wait a moment if it is new. Of a flood of "
    "refusals (no valid key, or more to do than llmguard can) not all are traced."
)
_BUSY: Final = "The trace store does not answer now. Try again in a moment."


class Why:
    """Answers from the trace store and the registry in force; a store that is busy says so."""

    def __init__(self, services: Services, show: Callable[[str], dict[str, Any] | None]) -> None:
        """Look traces up with `show`, which may block."""
        self._services = services
        self._show = show
        self._few = asyncio.Semaphore(_AT_ONCE)
        self._page = load_page("why.html")

    async def __call__(self, request: Request) -> Response:
        """Serve one explanation."""
        try:
            trace_id = str(UUID(request.path_params["trace_id"]))
        except ValueError:
            return self._problem(request, _UNKNOWN, 404)
        try:
            async with self._few, asyncio.timeout(_PATIENCE_SECONDS):
                trace = await asyncio.to_thread(self._show, trace_id)
        except (GuardError, TraceStoreError, TraceQueryError, TimeoutError):
            return self._problem(request, _BUSY, 503)
        if trace is None:
            return self._problem(request, _UNKNOWN, 404)
        services = self._services
        address = f"{request.url.scheme}://{request.url.netloc}/why/{trace_id}"
        why = explain(trace, services.registry, today=services.clock.now().date(), address=address)
        if not wants_page(request):
            return JSONResponse(why, headers={"vary": "Accept"})
        return self._render(why, None, 200)

    def _problem(self, request: Request, words: str, status: int) -> Response:
        response: Response
        if wants_page(request):
            response = self._render(None, words, status)
        else:
            response = JSONResponse({"error": {"message": words}}, status_code=status, headers={"vary": "Accept"})
        if status == 503:  # noqa: PLR2004 - as HTTP has it
            response.headers["retry-after"] = "5"
        return response

    def _render(self, why: JsonObject | None, problem: str | None, status: int) -> HTMLResponse:
        patch = json.dumps(why["change"], indent=2) if why and why["change"] else None
        page = self._page.render(why=why, problem=problem, patch=patch)
        return HTMLResponse(page, status_code=status, headers=PAGE_HEADERS | {"vary": "Accept"})


def wants_page(request: Request) -> bool:
    """Whether the client prefers HTML, as browsers do; programs that name no type get JSON.

    Source: RFC 9110, 12.5.1: the highest weight wins; at equal weights we give JSON to whoever names it.
    """
    weights: dict[str, float] = {}
    for part in request.headers.get("accept", "").lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            weights[kind] = float(weight)
        except ValueError:
            weights[kind] = 0.0
    return weights.get("text/html", 0.0) > weights.get("application/json", 0.0)
