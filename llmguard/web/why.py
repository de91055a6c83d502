"""`GET /why/{trace_id}`: what happened to a request and what would pass, readable without a login.

It holds the outcome and its reasons only: no prompt, no answer, no key. A trace id is unguessable enough to be the
ticket (74 random bits), and whoever has it was given it by llmguard.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import GuardError
from llmguard.traces.errors import TraceQueryError, TraceStoreError

_PATIENCE_SECONDS = 10
_AT_ONCE = 4  # anybody may ask, and each answer takes a thread
_SHOWN = ("trace_id", "started_at", "endpoint", "app", "owner", "preset", "preset_version", "status", "code")


class Why:
    """Answers from the trace store; a store that is busy says so."""

    def __init__(self, show: Callable[[str], dict[str, Any] | None]) -> None:
        """Look traces up with `show`, which may block."""
        self._show = show
        self._few = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, request: Request) -> Response:
        """Serve one explanation."""
        try:
            trace_id = str(UUID(request.path_params["trace_id"]))
        except ValueError:
            return JSONResponse({"error": {"message": "There is no trace with this id."}}, status_code=404)
        try:
            async with self._few, asyncio.timeout(_PATIENCE_SECONDS):
                trace = await asyncio.to_thread(self._show, trace_id)
        except (GuardError, TraceStoreError, TraceQueryError, TimeoutError):
            words = "The trace store does not answer now. Try again in a moment."
            return JSONResponse({"error": {"message": words}}, status_code=503, headers={"retry-after": "5"})
        if trace is None:
            return JSONResponse({"error": {"message": "There is no trace with this id."}}, status_code=404)
        return JSONResponse(explain(trace))


def explain(trace: dict[str, Any]) -> JsonObject:
    """Return the part of a trace that explains its outcome."""
    decision = trace.get("decision") or {}
    shown = {name: str(value) if name == "started_at" else value for name, value in trace.items() if name in _SHOWN}
    return {**shown, "reasons": decision.get("reasons") or [], "adjusted": decision.get("adjusted") or []}
