"""`/console/traces`: search with every filter in the address, and the newest traces as they come in."""

import asyncio
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import RedirectResponse, Response

from llmguard.domain.chat import JsonObject
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.traces.filters import TraceFilters
from llmguard.traces.rows import Rows
from llmguard.web.console.layout import TRACES, Console, apps_covered
from llmguard.web.console.trace_search import SPANS, Asked, Search, read_search
from llmguard.web.operators import Visit
from llmguard.web.pages import PAGE_HEADERS

if TYPE_CHECKING:  # it loads DuckDB, which the first page that shows figures does
    from llmguard.traces.reader import TraceReader
    from llmguard.traces.slices import Found

_MOST_ROWS: Final = 50
_SECONDS: Final = 0.04  # for one part of a search: a page is there in a tenth of a second
_NEWEST: Final = "SELECT coalesce(max(seq), 0) AS seq FROM traces"
_TRACE_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_CONTENT: Final = 204


def traces_router(console: Console) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    require = console.guard.require("traces.read")

    @router.get(TRACES)
    async def show(
        visit: Annotated[Visit, Depends(require)],
        asked: Annotated[Asked, Query()],
        live: Literal["on", "off"] = "off",
    ) -> Response:
        if _TRACE_ID.fullmatch(asked.text.lower()):
            return RedirectResponse(f"{TRACES}/{asked.text.lower()}", 303, headers=PAGE_HEADERS)
        search = _search(console, visit, asked)
        facts = await asyncio.to_thread(_facts, console, search, is_live=live == "on")
        facts |= {"search": search, "live": live, "spans": SPANS, "choices": _choices(console, visit)}
        return console.page(visit, "traces.html", "Traces", TRACES, **facts)

    @router.get(f"{TRACES}/further")
    async def further(
        visit: Annotated[Visit, Depends(require)],
        asked: Annotated[Asked, Query()],
        room: Annotated[int, Query(ge=1, le=_MOST_ROWS)],
        hours: Annotated[float, Query(gt=0)] = 1,
    ) -> Response:
        search = _search(console, visit, asked)
        facts = await asyncio.to_thread(_facts, console, search, room=room, hours=hours)
        return console.part(visit, "trace_further.html", search=search, **facts)

    @router.get(f"{TRACES}/tail")
    async def tail(
        visit: Annotated[Visit, Depends(require)], asked: Annotated[Asked, Query()], after: Annotated[int, Query(ge=0)]
    ) -> Response:
        search = _search(console, visit, asked)
        try:
            rows = await asyncio.to_thread(_newer, console, search, after)
        except (TraceStoreError, TraceQueryError):
            rows = []
        if not rows:
            return Response(status_code=_NO_CONTENT, headers=PAGE_HEADERS)
        newest = max(row["seq"] for row in rows)
        facts = {"rows": rows[:_MOST_ROWS], "more": len(rows) > _MOST_ROWS, "after": newest, "search": search}
        return console.part(visit, "trace_tail.html", **facts)

    return router


def _search(console: Console, visit: Visit, asked: Asked) -> Search:
    return read_search(asked, console.guard.services.clock.now(), apps_covered(console, visit.permit))


def _facts(
    console: Console, search: Search, *, room: int = _MOST_ROWS, hours: float = 1, is_live: bool = False
) -> JsonObject:
    """Return what is found first, for as many rows as there is room.

    `further` is the address to look on from, where texts take longer than a page may; `older` the one of the next page;
    `total` is not counted where that would mean reading texts twice.
    """
    nothing: JsonObject = {
        "rows": [],
        "total": None,
        "older": None,
        "further": None,
        "after": 0,
        "failed": False,
        "room": room,
    }
    if search.problems:
        return nothing
    try:
        reader = console.open_traces()
        newest = reader.query(_NEWEST)[0]["seq"] if is_live else 0
        found = _newest(console, reader, search, room + 1, hours)
        rows, reached = found["rows"], found["reached"]
        is_whole = len(rows) <= room and reached is None
        total = len(rows) if is_whole else None if "text" in search.filters else reader.count(**search.filters)
    except (TraceStoreError, TraceQueryError):
        return nothing | {"failed": True}
    since, shown = str(search.filters["since"]), rows[:room]
    return nothing | {
        "rows": shown,
        "total": total,
        "older": None
        if len(rows) <= room
        else search.address(since=since, until=_just_after(rows[room]["started_at"])),
        "further": None if reached is None else search.address(since=since, until=reached),
        "reached": None if reached is None else datetime.fromisoformat(reached),
        "room": max(1, room - len(shown)),
        "hours": found["hours"],
        "after": max([newest, *(row["seq"] for row in rows)]),
    }


def _newest(console: Console, reader: "TraceReader", search: Search, most: int, hours: float) -> "Found":
    """Return the newest rows; of texts, which have no index, as far back as a page has time."""
    if "text" not in search.filters:
        return {"rows": reader.list(limit=most, **search.filters), "reached": None, "hours": hours}
    before = search.before or console.guard.services.clock.now()
    return reader.search(limit=most, before=before, seconds=_SECONDS, hours=hours, **search.filters)


def _newer(console: Console, search: Search, after: int) -> Rows:
    if search.problems:
        return []
    filters: TraceFilters = {**search.filters, "after_seq": after}
    return console.open_traces().list(limit=_MOST_ROWS + 1, **filters)


def _just_after(started_at: str) -> str:
    """Return the microsecond after an instant: the next page begins with the trace of that instant."""
    head, fraction = started_at.removesuffix("Z").split(".")
    micros = int(fraction) + 1
    return f"{head}.{micros:06d}+00:00" if micros < 10**6 else f"{head}.999999+00:00"


def _choices(console: Console, visit: Visit) -> JsonObject:
    """Return what the fields of the form propose."""
    registry = console.guard.services.registry
    apps = apps_covered(console, visit.permit)
    return {
        "app": sorted(registry.apps) if apps is None else list(apps),
        "preset": [preset.id for versions in registry.presets.values() for preset in versions],
        "model": list(registry.models),
    }
