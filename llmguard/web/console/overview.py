"""`/console/`: what happens now, in all apps: requests, refusals, what was hidden, latency, spend; kept up to date."""

import asyncio
from collections.abc import Container
from datetime import date, datetime, timedelta
from functools import partial
from typing import Annotated, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends
from starlette.responses import RedirectResponse, Response

from llmguard.catalog.activity import WINDOWS, Lately, Tally, Window, WindowName
from llmguard.catalog.diagnosis.errors import code_answer
from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import Operator
from llmguard.identity.roles import reach_of
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.console.charts import Chart, bar_chart
from llmguard.web.console.layout import MY_APPS, Console
from llmguard.web.console.quota_words import LIMIT_WORDS
from llmguard.web.figures import count, figure
from llmguard.web.operators import CONSOLE, Visit
from llmguard.web.pages import PAGE_HEADERS

_MOST_ROWS: Final = 8
_SOON: Final = timedelta(days=30)
_OTHER_CODES: Final = {
    "client_disconnected": "The app hung up before the answer was there.",
    "interrupted": "llmguard was stopped in the middle of the request.",
}
_LABELS: Final[dict[WindowName, str]] = {"hour": "%H:%M", "day": "%a %H:%M", "month": "%a %-d %b"}
_WHEN: Final[dict[WindowName, str]] = {"hour": "Minute (UTC)", "day": "Hour (UTC)", "month": "Day (UTC)"}


def overview_router(console: Console) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    require = console.guard.require("console.open")
    console.soon.extend(partial(_count, console, window) for window in WINDOWS.values())

    @router.get(CONSOLE)
    async def show(
        visit: Annotated[Visit, Depends(require)], last: WindowName = "day", live: Literal["on", "off"] = "on"
    ) -> Response:
        operator = visit.operator
        if not _sees_overview(operator):
            return RedirectResponse(MY_APPS, 303, headers=PAGE_HEADERS)
        facts = await asyncio.to_thread(_facts, console, operator, WINDOWS[last])
        waiting = await asyncio.to_thread(_waiting, console, operator)
        return console.page(visit, "overview.html", "Overview", CONSOLE, live=live, waiting=waiting, **facts)

    @router.get("/console/overview/figures")
    async def figures(visit: Annotated[Visit, Depends(require)], last: WindowName = "day") -> Response:
        if not _sees_overview(visit.operator):
            return console.part(visit, "overview_figures.html", live="off", lately=None)
        facts = await asyncio.to_thread(_facts, console, visit.operator, WINDOWS[last])
        return console.part(visit, "overview_figures.html", live="on", **facts)

    return router


def _sees_overview(operator: Operator) -> bool:
    return _reaches(operator, "traces.read") or _reaches(operator, "costs.read")


def _words(code: str) -> str:
    answer = code_answer(code)
    return _OTHER_CODES.get(code, "") if answer is None else answer.problem


def _reaches(operator: Operator, action: Literal["traces.read", "costs.read", "overage.read", "apps.read"]) -> bool:
    return reach_of(operator.roles, action) == "all"


def _facts(console: Console, operator: Operator, window: Window) -> JsonObject:
    frame: JsonObject = {"windows": tuple(WINDOWS.values()), "window": window}
    try:
        lately = console.activity.look(window, console.guard.services.clock.now())
    except (TraceStoreError, TraceQueryError):
        return {**frame, "lately": None}
    total = lately.total
    return {
        **frame,
        "lately": lately,
        "total": total,
        "chart": _requests_chart(lately),
        "codes": [(code, number, _words(code)) for code, number in total.codes.most_common(_MOST_ROWS)],
        "hidden": total.hidden.most_common(_MOST_ROWS),
        "apps": _apps(total, console.guard.services.registry.apps),
        "sees_traces": _reaches(operator, "traces.read"),
        "sees_costs": _reaches(operator, "costs.read"),
    }


def _count(console: Console, window: Window) -> None:
    console.activity.look(window, console.guard.services.clock.now())


def _requests_chart(lately: Lately) -> Chart:
    name = lately.window.name
    points = (
        (f"{start:{_LABELS[name]}}", tally.requests, tally.refusals + tally.faults) for start, tally in lately.slices
    )
    return bar_chart("Requests", points, when=_WHEN[name], words=("requests", "refused or failed"), write=figure)


def _apps(total: Tally, known: Container[str]) -> list[JsonObject]:
    return [
        {
            "name": app,
            "is_known": app in known,
            "requests": requests,
            "refusals": total.app_refusals[app],
            "cost_usd": total.app_costs[app],
        }
        for app, requests in total.app_requests.most_common(_MOST_ROWS)
    ]


def _waiting(console: Console, operator: Operator) -> list[JsonObject]:
    """Return what waits for somebody: findings of the registry, apps that end soon, requests for more quota."""
    services = console.guard.services
    waiting: list[JsonObject] = []
    now = services.clock.now()
    if _reaches(operator, "apps.read"):
        if findings := console.findings():
            words = f"registry.yaml has {count(len(findings), 'mistake')}: the last good one stays in force"
            waiting.append({"words": words, "path": "/console/catalog/findings", "level": "wrong"})
        ending = sum(
            _ends_soon(app.expires, now) for app in services.registry.apps.values() if app.status == "approved"
        )
        if ending:
            words = f"{count(ending, 'app ends', 'apps end')} within 30 days, or ended"
            waiting.append({"words": words, "path": "/console/catalog?ends=30&state=approved", "level": "care"})
        ownerless = sum(not app.has_owner for app in services.registry.apps.values())
        if ownerless:
            words = f"{count(ownerless, 'app has', 'apps have')} nobody who answers for it"
            waiting.append({"words": words, "path": "/console/catalog?ends=nobody", "level": "care"})
    if _reaches(operator, "overage.read"):
        asked = [one for one in services.overage.all() if one.state in ("open", "awaiting_second")]
        waiting += [
            {
                "words": f"{one.app} asks for more: {LIMIT_WORDS[one.limit]}",
                "path": f"{MY_APPS}/{one.app}",
                "level": "care",
            }
            for one in asked[:_MOST_ROWS]
        ]
    return waiting


def _page_of(app: str) -> str:
    return f"{MY_APPS}/{quote(app)}"


def _ends_soon(expires: date | None, now: datetime) -> bool:
    return expires is not None and expires <= (now + _SOON).date()
