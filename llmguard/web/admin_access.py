"""`/admin/api/access`: roles for some hours, asked for by one and given by another."""

import asyncio
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request

from llmguard.domain.chat import JsonObject
from llmguard.domain.identity import Role
from llmguard.identity.access import Access, AccessDesk
from llmguard.web.operators import Guard, Visit, read_json


class AccessBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which role, for how long, and why."""

    role: Role
    reason: str
    hours: Annotated[float, msgspec.Meta(gt=0, le=24)] = 2.0


def access_router(guard: Guard, desk: AccessDesk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/admin/api/access")
    clock = guard.services.clock

    @router.get("")
    async def list_access(visit: Annotated[Visit, Depends(guard.require("access.read"))]) -> JsonObject:
        del visit
        now, every = clock.now(), await asyncio.to_thread(desk.all)
        return {"object": "list", "data": [access_json(one, now) for one in every]}

    @router.post("", status_code=201)
    async def ask(request: Request, visit: Annotated[Visit, Depends(guard.require("access.request"))]) -> JsonObject:
        body = await read_json(request, AccessBody)
        lasting = timedelta(hours=body.hours)
        asked = await asyncio.to_thread(desk.request, visit.operator.who, body.role, lasting, body.reason)
        return access_json(asked, clock.now())

    @router.post("/{access_id}/approve")
    async def approve(access_id: str, visit: Annotated[Visit, Depends(guard.require("access.decide"))]) -> JsonObject:
        return access_json(await asyncio.to_thread(desk.approve, access_id, visit.operator.who), clock.now())

    @router.post("/{access_id}/end")
    async def end(access_id: str, visit: Annotated[Visit, Depends(guard.require("access.decide"))]) -> JsonObject:
        return access_json(await asyncio.to_thread(desk.end, access_id, visit.operator.who), clock.now())

    return router


def access_json(access: Access, now: datetime) -> JsonObject:
    """Return a request for a role, with its state."""
    return asdict(access) | {"object": "llmguard.access", "state": access.state_at(now)}
