"""`/console/apps`: the apps that somebody owns, and how they are."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from llmguard.catalog.health import catalog_concerns, quota_concerns, worst
from llmguard.domain.catalog import App
from llmguard.domain.chat import JsonObject
from llmguard.web.console.layout import MY_APPS, Console, own_apps
from llmguard.web.operators import Visit


def apps_router(console: Console) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.get(MY_APPS)
    async def show(visit: Annotated[Visit, Depends(console.guard.require("apps.read"))]) -> Response:
        apps = own_apps(visit.operator, console.guard.services.registry.apps.values())
        rows = [await _row(console, app) for app in apps]
        return console.page(visit, "apps.html", "My apps", MY_APPS, apps=rows, sees_all=visit.permit.reach == "all")

    return router


async def _row(console: Console, app: App) -> JsonObject:
    services = console.guard.services
    today = services.clock.now().date()
    concerns = [*catalog_concerns(app, today), *quota_concerns(await services.ledger.standings(app))]
    return {"app": app, "level": worst(concerns), "concerns": concerns, "today": today}
