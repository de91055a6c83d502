"""`/admin/api/overage`: requests for more quota, as those see them who decide; who may, registry.yaml says."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request

from llmguard.catalog.overage import overage_for_approvers
from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import OperatorRefused
from llmguard.identity.roles import Permit
from llmguard.quota.gate import UnknownOverage
from llmguard.quota.overage import Overage, parse_amount
from llmguard.web.operators import Guard, Visit, read_json


class ApproveBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is granted, and until when (an instant with its zone)."""

    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    amount: int | float | str | None = None


class DenyBody(msgspec.Struct, forbid_unknown_fields=True):
    """Why not, for those who asked."""

    reason: str


def overage_router(guard: Guard) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/admin/api/overage")
    services, gate = guard.services, guard.services.overage

    @router.get("")
    async def list_requests(visit: Annotated[Visit, Depends(guard.require("overage.read"))]) -> JsonObject:
        now, every = services.clock.now(), await asyncio.to_thread(gate.all)
        seen = [overage_for_approvers(one, now) for one in every if covers_request(guard, visit.permit, one)]
        return {"object": "list", "data": seen}

    @router.post("/{overage_id}/approve")
    async def approve(
        overage_id: str, request: Request, visit: Annotated[Visit, Depends(guard.require("overage.decide"))]
    ) -> JsonObject:
        body = await read_json(request, ApproveBody)

        def decide(asked: Overage) -> Overage:
            amount = None if body.amount is None else parse_amount(asked.limit, body.amount)
            return gate.approve(services.registry, asked.id, visit.operator.who, amount=amount, ends_at=body.until)

        return await decided(guard, visit.permit, overage_id, decide)

    @router.post("/{overage_id}/deny")
    async def deny(
        overage_id: str, request: Request, visit: Annotated[Visit, Depends(guard.require("overage.decide"))]
    ) -> JsonObject:
        body = await read_json(request, DenyBody)

        def decide(asked: Overage) -> Overage:
            return gate.deny(services.registry, asked.id, visit.operator.who, body.reason)

        return await decided(guard, visit.permit, overage_id, decide)

    return router


async def decided(guard: Guard, permit: Permit, overage_id: str, decide: Callable[[Overage], Overage]) -> JsonObject:
    """Decide about a request of an app that the operator covers; any other is as unknown as one that never was."""

    def act() -> Overage:
        asked = next((one for one in guard.services.overage.all() if one.id == overage_id), None)
        if asked is None or not covers_request(guard, permit, asked):
            raise UnknownOverage
        return decide(asked)

    try:
        after = await asyncio.to_thread(act)
    except UnknownOverage:
        hint = "GET /admin/api/overage lists those that you may see."
        raise OperatorRefused("not_found", "There is no such request for more quota.", hint) from None
    return overage_for_approvers(after, guard.services.clock.now())


def covers_request(guard: Guard, permit: Permit, one: Overage) -> bool:
    """Whether an operator may see, or decide about, a request: that is up to its app."""
    app = guard.services.registry.apps.get(one.app)
    return permit.reach == "all" or (app is not None and permit.covers(app))
