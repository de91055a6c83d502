"""`/console/catalog`: every app, by state, data, owner and end; and what is wrong with registry.yaml as it is now."""

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Depends, Query
from starlette.responses import RedirectResponse, Response

from llmguard.catalog.health import catalog_concerns, worst
from llmguard.domain.catalog import App, AppStatus, Sensitivity
from llmguard.domain.chat import JsonObject
from llmguard.web.console.layout import CATALOG, MY_APPS, Console
from llmguard.web.operators import Visit
from llmguard.web.pages import PAGE_HEADERS

_ENDS: Final = {
    "30": "within 30 days",
    "90": "within 90 days",
    "over": "ended",
    "never": "no end",
    "nobody": "nobody answers for it",
}
_MOST_SHOWN: Final = 200
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty: anything."""

    state: Annotated[str, Query(max_length=_LONGEST)] = ""
    data: Annotated[str, Query(max_length=_LONGEST)] = ""
    owner: Annotated[str, Query(max_length=_LONGEST)] = ""
    ends: Annotated[str, Query(max_length=_LONGEST)] = ""

    def takes(self, app: App, today: date) -> bool:
        """Whether an app is among what is looked for."""
        people = f"{app.name} {app.owner} {app.backup_owner or ''} {app.team or ''} {app.cost_center}".casefold()
        return (
            self.state in ("", app.status)
            and self.data in ("", app.sensitivity.label)
            and self.owner.strip().casefold() in people
            and (not app.has_owner if self.ends == "nobody" else self._ends(app.expires, today))
        )

    def _ends(self, expires: date | None, today: date) -> bool:
        match self.ends:
            case "never":
                return expires is None
            case "over":
                return expires is not None and expires < today
            case "30" | "90":
                return expires is not None and expires <= today + timedelta(days=int(self.ends))
            case _:
                return True


def catalog_router(console: Console) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    require = console.guard.require("apps.read")

    @router.get(CATALOG)
    async def show(visit: Annotated[Visit, Depends(require)], wanted: Annotated[Wanted, Depends()]) -> Response:
        if visit.permit.reach != "all":
            return RedirectResponse(MY_APPS, 303, headers=PAGE_HEADERS)
        today = console.guard.services.clock.now().date()
        apps = sorted(console.guard.services.registry.apps.values(), key=lambda app: app.name)
        found = [app for app in apps if wanted.takes(app, today)]
        return console.page(
            visit,
            "catalog.html",
            "Catalog",
            CATALOG,
            rows=[_row(app, today) for app in found[:_MOST_SHOWN]],
            found=len(found),
            all_apps=len(apps),
            wanted=wanted,
            states=[(state, state) for state in get_args(AppStatus)],
            kinds=[(one.label, one.label) for one in Sensitivity],
            ends=list(_ENDS.items()),
            findings=len(console.findings()),
        )

    @router.get(f"{CATALOG}/findings")
    async def findings(visit: Annotated[Visit, Depends(require)]) -> Response:
        if visit.permit.reach != "all":
            return RedirectResponse(MY_APPS, 303, headers=PAGE_HEADERS)
        registry = console.guard.services.registry
        gaps = await asyncio.to_thread(console.gaps)
        facts = {"findings": console.findings(), "gaps": gaps, "digest": registry.digest}
        return console.page(visit, "findings.html", "Findings of the last load", CATALOG, **facts)

    return router


def _row(app: App, today: date) -> JsonObject:
    concerns = catalog_concerns(app, today)
    return {"app": app, "level": worst(concerns), "days": None if app.expires is None else (app.expires - today).days}
