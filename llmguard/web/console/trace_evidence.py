"""Evidence packs from the page of a trace: of the request, or of its app around that time."""

import asyncio
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import OperatorRefused
from llmguard.evidence.apart import pack_apart
from llmguard.evidence.scope import Scope
from llmguard.evidence.signing import EvidenceError
from llmguard.web.console.desk import Desk
from llmguard.web.console.layout import TRACES, Console
from llmguard.web.console.trace_access import read_trace
from llmguard.web.downloads import stream_file
from llmguard.web.operators import Visit

_SECONDS: Final = 240.0  # browsers and proxies wait for minutes, not longer
_MOMENT: Final = timedelta(microseconds=1)


def evidence_router(console: Console, desk: Desk) -> APIRouter:
    """Return the route."""
    router = APIRouter()
    turn = asyncio.Lock()

    @router.post(f"{TRACES}/{{trace_id}}/evidence")
    async def pack(trace_id: str, visit: Annotated[Visit, Depends(console.guard.require("evidence.pack"))]) -> Response:
        trace = await read_trace(console, visit.permit, trace_id)
        scope = _scope(trace, visit.form.get("span", "trace"))
        if turn.locked():
            raise OperatorRefused("conflict", "Another pack is being made.", "Try again in a minute.")
        async with turn:
            return await _packed(desk, visit, scope, trace_id)

    return router


async def _packed(desk: Desk, visit: Visit, scope: Scope, trace_id: str) -> Response:
    with tempfile.TemporaryDirectory(prefix="llmguard-") as folder:
        path = Path(folder) / "pack.zip"
        try:
            packed = await pack_apart(desk.settings, scope, path, _SECONDS)
        except EvidenceError as error:
            hint = "`llmguard evidence pack` makes it at the machine."
            raise OperatorRefused("conflict", f"The pack cannot be made: {error}.", hint) from None
        await desk.record(
            visit,
            "evidence.packed",
            packed.manifest_sha256,
            scope.app,
            since=scope.since.isoformat(),
            until=scope.until.isoformat(),
            traces=packed.traces,
        )

        def move(target: Path) -> None:
            path.rename(target)

        return await stream_file(move, f"llmguard-evidence-{trace_id}.zip")


def _scope(trace: JsonObject, span: str) -> Scope:
    started_at = datetime.fromisoformat(trace["started_at"])
    if span == "hour" and trace["app"]:
        return Scope(started_at - timedelta(minutes=30), started_at + timedelta(minutes=30), trace["app"])
    if span == "day" and trace["app"]:
        midnight = started_at.replace(hour=0, minute=0, second=0, microsecond=0)
        return Scope(midnight, midnight + timedelta(days=1), trace["app"])
    return Scope(started_at, started_at + _MOMENT, trace["app"])
