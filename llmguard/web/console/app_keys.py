"""Keys of one app on its page: issue, rotate, revoke. A new key is shown in the answer to its form, and never again."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from llmguard.catalog.keys import scope_problem
from llmguard.domain.catalog import App, KeyScope
from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import OperatorRefused
from llmguard.identity.key_store import IssuedKey, Key
from llmguard.web.admin_keys import act_on_key
from llmguard.web.console.layout import Answering, Console, may
from llmguard.web.operators import Visit

_DAYS: Final = {"7": 7, "30": 30, "90": 90, "180": 180, "365": 365}
_OVERLAPS: Final = {"0": 0, "24": 24, "168": 168, "720": 720}
_PRESET: Final = "preset:"
_LEVELS: Final = {"valid": "fine", "rotating": "care", "expired": "wrong", "revoked": ""}


def app_keys_router(console: Console, answer: Answering) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/console/apps/{app}/keys")
    guard, keys = console.guard, console.keys

    @router.post("")
    async def issue(
        app: str, request: Request, visit: Annotated[Visit, Depends(guard.require("keys.issue"))]
    ) -> Response:
        known = guard.app_of(app)
        scope = _scope(visit.form, known)
        if (problem := scope_problem(scope, known, guard.services.registry)) is not None:
            raise OperatorRefused("body_refused", problem, "Load the page again: the app's presets have changed.")
        ttl, who = timedelta(days=_choice(visit.form, "ttl_days", _DAYS, "90")), visit.operator.who
        issued = await asyncio.to_thread(keys.issue, known.name, ttl=ttl, who=who, scope=scope)
        return await answer(request, visit, known, "app_keys.html", issued=issued)

    @router.post("/{key_id}/rotate")
    async def rotate(
        app: str, key_id: str, request: Request, visit: Annotated[Visit, Depends(guard.require("keys.rotate"))]
    ) -> Response:
        ttl = timedelta(days=_choice(visit.form, "ttl_days", _DAYS, "90"))
        overlap = timedelta(hours=_choice(visit.form, "overlap_hours", _OVERLAPS, "168"))

        def act() -> IssuedKey:
            return keys.rotate(key_id, overlap=overlap, ttl=ttl, who=visit.operator.who)

        issued = await act_on_key(keys, app, key_id, act)
        return await answer(request, visit, guard.app_of(app), "app_keys.html", issued=issued)

    @router.post("/{key_id}/revoke")
    async def revoke(
        app: str, key_id: str, request: Request, visit: Annotated[Visit, Depends(guard.require("keys.revoke"))]
    ) -> Response:
        await act_on_key(keys, app, key_id, lambda: keys.revoke(key_id, who=visit.operator.who))
        return await answer(request, visit, guard.app_of(app), "app_keys.html", revoked=key_id)

    return router


def keys_facts(console: Console, visit: Visit, app: App) -> JsonObject:
    """Return the keys of an app as far as the operator may see them, and what they may do with them; blocks."""
    operator, now = visit.operator, console.guard.services.clock.now()
    sees = may(operator, "keys.read", app)
    keys = console.keys.list(app.name) if sees else ()
    return {
        "sees_keys": sees,
        "keys": keys,
        "key_rows": sorted((_row(key, key.state_at(now)) for key in keys), key=lambda row: row["state"] == "revoked"),
        "may_issue": may(operator, "keys.issue", app),
        "may_rotate": may(operator, "keys.rotate", app),
        "may_revoke": may(operator, "keys.revoke", app),
        "issued": None,
        "revoked": None,
    }


def _row(key: Key, state: str) -> JsonObject:
    scope = key.scope or KeyScope()
    limits = [] if scope.presets is None else [f"presets: {', '.join(scope.presets)}"]
    limits += [] if scope.endpoints is None else [f"paths: {', '.join(scope.endpoints)}"]
    limits += ["sandbox: only echo models answer"] if scope.environment == "sandbox" else []
    return {
        "key": key,
        "state": state,
        "level": _LEVELS[state],
        "limits": "; ".join(limits) or "all that the app may",
        "lives": state in ("valid", "rotating"),
    }


def _scope(form: Mapping[str, str], app: App) -> KeyScope:
    ticked = tuple(name.removeprefix(_PRESET) for name in form if name.startswith(_PRESET))
    presets = None if not ticked or set(ticked) == set(app.presets) else ticked
    return KeyScope(None, presets, "sandbox" if form.get("environment") == "sandbox" else "production")


def _choice(form: Mapping[str, str], name: str, choices: Mapping[str, int], usual: str) -> int:
    """Return what was chosen of a list.

    Raises:
        OperatorRefused: body_refused; it is not on the list.
    """
    chosen = choices.get(form.get(name, usual))
    if chosen is None:
        raise OperatorRefused("body_refused", "This is not a choice of the form.", "Load the page again and choose.")
    return chosen
