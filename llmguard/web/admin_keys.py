"""`/admin/api/apps/{app}/keys`: keys of one app; a new one is in the answer once, and never again."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request

from llmguard.catalog.keys import explain_key, key_json, scope_problem
from llmguard.domain.catalog import KeyEnvironment, KeyScope
from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import OperatorRefused
from llmguard.identity.key_store import IssuedKey, KeyStore, RevokedKey, UnknownKey
from llmguard.web.operators import Guard, Visit, read_json

Done = TypeVar("Done")
_Days = Annotated[int, msgspec.Meta(ge=1, le=366)]
_Hours = Annotated[int, msgspec.Meta(ge=0, le=366 * 24)]


class IssueBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a new key is to be; without limits it may do what its app may."""

    ttl_days: _Days = 90
    endpoints: (
        tuple[Literal["chat/completions", "responses", "completions", "embeddings", "me/overage"], ...] | None
    ) = None
    presets: tuple[str, ...] | None = None
    environment: KeyEnvironment = "production"


class RotateBody(msgspec.Struct, forbid_unknown_fields=True):
    """How long the new secret is valid, and the old one beside it."""

    ttl_days: _Days = 90
    overlap_hours: _Hours = 7 * 24


def keys_router(guard: Guard, keys: KeyStore) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/admin/api/apps/{app}/keys")
    clock = guard.services.clock

    @router.get("")
    async def list_keys(app: str, visit: Annotated[Visit, Depends(guard.require("keys.read"))]) -> JsonObject:
        del visit
        now = clock.now()
        return {"object": "list", "data": [key_json(key, now) for key in await asyncio.to_thread(keys.list, app)]}

    @router.post("", status_code=201)
    async def issue(
        app: str, request: Request, visit: Annotated[Visit, Depends(guard.require("keys.issue"))]
    ) -> JsonObject:
        body = await read_json(request, IssueBody)
        scope = KeyScope(body.endpoints, body.presets, body.environment)
        known = guard.app_of(app)
        if (problem := scope_problem(scope, known, guard.services.registry)) is not None:
            raise OperatorRefused("body_refused", problem, "Name presets that the app may use, or leave `presets` out.")
        ttl, who = timedelta(days=body.ttl_days), visit.operator.who
        return issued_json(await asyncio.to_thread(keys.issue, known.name, ttl=ttl, who=who, scope=scope))

    @router.get("/{key_id}")
    async def explain(
        app: str, key_id: str, visit: Annotated[Visit, Depends(guard.require("keys.read"))]
    ) -> JsonObject:
        del visit
        key = await act_on_key(keys, app, key_id, lambda: keys.find(key_id))
        return explain_key(key, guard.services.registry, clock.now())

    @router.post("/{key_id}/rotate")
    async def rotate(
        app: str, key_id: str, request: Request, visit: Annotated[Visit, Depends(guard.require("keys.rotate"))]
    ) -> JsonObject:
        body = await read_json(request, RotateBody)
        overlap, ttl = timedelta(hours=body.overlap_hours), timedelta(days=body.ttl_days)

        def act() -> IssuedKey:
            return keys.rotate(key_id, overlap=overlap, ttl=ttl, who=visit.operator.who)

        return issued_json(await act_on_key(keys, app, key_id, act))

    @router.post("/{key_id}/revoke")
    async def revoke(
        app: str, key_id: str, visit: Annotated[Visit, Depends(guard.require("keys.revoke"))]
    ) -> JsonObject:
        await act_on_key(keys, app, key_id, lambda: keys.revoke(key_id, who=visit.operator.who))
        return key_json(await asyncio.to_thread(keys.find, key_id), clock.now())

    return router


def issued_json(issued: IssuedKey) -> JsonObject:
    """Return a new key, this once."""
    return {
        "key_id": issued.key_id,
        "object": "llmguard.key",
        "app": issued.app,
        "key": issued.secret_text,
        "created_at": issued.created_at,
        "expires_at": issued.expires_at,
    }


async def act_on_key(keys: KeyStore, app: str, key_id: str, act: Callable[[], Done]) -> Done:
    """Change a key of this app; that of another one is as unknown as one that never was.

    Raises:
        OperatorRefused: not_found; conflict, it is revoked.
    """

    def checked() -> Done:
        if keys.find(key_id).app != app:
            raise UnknownKey(key_id)
        return act()

    try:
        return await asyncio.to_thread(checked)
    except UnknownKey:
        raise OperatorRefused("not_found", "This app has no key of this id.", "List its keys for their ids.") from None
    except RevokedKey:
        raise OperatorRefused("conflict", "This key was revoked, for good.", "Issue a new key for the app.") from None
