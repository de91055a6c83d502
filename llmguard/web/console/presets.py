"""`/console/presets`: presets with their versions; what each allows and why, who uses it, how two of them differ."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from llmguard.catalog.presets import differences, recent_use, settings_of, users_of
from llmguard.domain.catalog import Preset
from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import Operator, OperatorRefused
from llmguard.identity.roles import reach_of
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.console.layout import PRESETS, Console, may
from llmguard.web.operators import Visit

_LEVELS: Final = {"draft": "", "approved": "fine", "deprecated": "care", "retired": "wrong"}
_MOST_USERS: Final = 50


def presets_router(console: Console) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    require = console.guard.require("presets.read")

    @router.get(PRESETS)
    async def index(visit: Annotated[Visit, Depends(require)]) -> Response:
        presets = sorted(console.guard.services.registry.presets.items())
        rows = [{"name": name, "newest": _newest(versions), "versions": versions} for name, versions in presets]
        return console.page(visit, "presets.html", "Presets", PRESETS, rows=rows, levels=_LEVELS)

    @router.get(PRESETS + "/{preset}")
    async def show(
        preset: str,
        visit: Annotated[Visit, Depends(require)],
        before: Annotated[int | None, Query(ge=0)] = None,
        after: Annotated[int | None, Query(ge=0)] = None,
    ) -> Response:
        versions = console.guard.services.registry.presets.get(preset)
        if not versions:
            raise OperatorRefused("not_found", "There is no preset of this name.", "The page Presets lists them all.")
        use = await asyncio.to_thread(_use, console, visit.operator, preset)
        return console.page(
            visit,
            "preset.html",
            preset,
            PRESETS,
            name=preset,
            versions=[_version(console, visit.operator, one) for one in reversed(versions)],
            levels=_LEVELS,
            compared=_compared(versions, before, after),
            use=use,
        )

    return router


def _newest(versions: tuple[Preset, ...]) -> Preset:
    """Return the version that a name means to most apps: the newest approved one, else the newest."""
    return next((one for one in reversed(versions) if one.status == "approved"), versions[-1])


def _version(console: Console, operator: Operator, preset: Preset) -> JsonObject:
    services = console.guard.services
    users = users_of(services.registry, preset, services.clock.now().date())
    seen = [app.name for app in users if may(operator, "apps.read", app)]
    return {"preset": preset, "settings": settings_of(preset), "users": seen, "hidden_users": len(users) - len(seen)}


def _compared(versions: tuple[Preset, ...], before: int | None, after: int | None) -> JsonObject | None:
    """Return how two versions differ; the last two, unless others are asked for. None where there is one only."""
    if len(versions) < 2:  # noqa: PLR2004 - a difference takes two
        return None
    by_number = {one.version: one for one in versions}
    old, new = by_number.get(before or -1, versions[-2]), by_number.get(after or -1, versions[-1])
    return {"before": old, "after": new, "differences": differences(old, new)}


def _use(console: Console, operator: Operator, name: str) -> list[JsonObject] | None:
    """Return who asked for it lately, of the apps whose traces the operator may see; None if that cannot be read."""
    services = console.guard.services
    reach = reach_of(operator.roles, "traces.read")
    if reach is None:
        return []
    try:
        rows = recent_use(console.select, name, services.clock.now())
    except (TraceStoreError, TraceQueryError):
        return None
    apps = services.registry.apps
    seen = [row for row in rows if reach == "all" or (row["app"] in apps and operator.owns(apps[row["app"]]))]
    return [row | {"is_known": row["app"] in apps} for row in seen[:_MOST_USERS]]
