"""`/admin/api/apps/{app}/…`: stop an app at once, start it again, extend its approval."""

import asyncio
from datetime import date
from typing import Annotated

import msgspec
from fastapi import APIRouter, BackgroundTasks, Depends
from starlette.requests import Request

from llmguard.catalog.containment import Containments, containment_json
from llmguard.catalog.renewal import Renewals, renewal_json
from llmguard.domain.chat import JsonObject
from llmguard.web.operators import Guard, Visit, read_json


class ReasonBody(msgspec.Struct, forbid_unknown_fields=True):
    """Why; only operators read it."""

    reason: str = ""


class RenewBody(msgspec.Struct, forbid_unknown_fields=True):
    """The new last day; left out: as far as owners may go."""

    until: date | None = None


def apps_router(guard: Guard, containments: Containments, renewals: Renewals) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/admin/api/apps/{app}")
    services = guard.services

    @router.post("/contain")
    async def contain(
        app: str,
        request: Request,
        later: BackgroundTasks,
        visit: Annotated[Visit, Depends(guard.require("apps.contain"))],
    ) -> JsonObject:
        reason = await _reason(request, visit)
        done = await asyncio.to_thread(containments.contain, guard.app_of(app), visit.operator.who, reason)
        if done.is_new:
            later.add_task(containments.keep_evidence, done.containment)  # in a thread: it reads the traces
        return containment_json(done.containment) | {"key_ids": done.key_ids, "is_new": done.is_new}

    @router.post("/lift")
    async def lift(
        app: str, request: Request, visit: Annotated[Visit, Depends(guard.require("apps.lift"))]
    ) -> JsonObject:
        reason = await _reason(request, visit)
        return containment_json(
            await asyncio.to_thread(containments.lift, guard.app_of(app), visit.operator.who, reason)
        )

    @router.post("/renew")
    async def renew(
        app: str, request: Request, visit: Annotated[Visit, Depends(guard.require("apps.renew"))]
    ) -> JsonObject:
        body = await read_json(request, RenewBody)
        policy = services.registry.renewal
        who = visit.operator.who
        return renewal_json(await asyncio.to_thread(renewals.renew, guard.app_of(app), policy, who, body.until))

    return router


async def _reason(request: Request, visit: Visit) -> str:
    """Return the reason of a form, or of JSON."""
    return visit.form["reason"] if "reason" in visit.form else (await read_json(request, ReasonBody)).reason
