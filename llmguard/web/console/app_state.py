"""What the page of an app does at once, whatever git says: stop it, let it in again, extend its approval."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, BackgroundTasks, Depends
from starlette.requests import Request
from starlette.responses import Response

from llmguard.domain.operators import OperatorRefused
from llmguard.web.console.layout import Answering, Console
from llmguard.web.operators import Visit

_PART: Final = "app_health.html"
_PATIENCE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.05


def app_state_router(console: Console, answer: Answering) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/console/apps/{app}")
    guard, containments = console.guard, console.containments

    @router.post("/contain")
    async def contain(
        app: str,
        request: Request,
        later: BackgroundTasks,
        visit: Annotated[Visit, Depends(guard.require("apps.contain"))],
    ) -> Response:
        reason = visit.form.get("reason", "")
        done = await asyncio.to_thread(containments.contain, guard.app_of(app), visit.operator.who, reason)
        if done.is_new:
            later.add_task(containments.keep_evidence, done.containment)  # in a thread: it reads the traces
        await _until(lambda: guard.app_of(app).contained_at is not None)
        response: Response = await answer(request, visit, guard.app_of(app), _PART, said="It is stopped.")
        response.background = later  # FastAPI leaves a response of ours alone
        return response

    @router.post("/lift")
    async def lift(
        app: str, request: Request, visit: Annotated[Visit, Depends(guard.require("apps.lift"))]
    ) -> Response:
        reason = visit.form.get("reason", "")
        await asyncio.to_thread(containments.lift, guard.app_of(app), visit.operator.who, reason)
        await _until(lambda: guard.app_of(app).contained_at is None)
        said = "It is let in again. Its keys stay revoked: issue new ones."
        return await answer(request, visit, guard.app_of(app), _PART, said=said)

    @router.post("/renew")
    async def renew(
        app: str, request: Request, visit: Annotated[Visit, Depends(guard.require("apps.renew"))]
    ) -> Response:
        policy, until = guard.services.registry.renewal, _day(visit.form.get("until", ""))
        renewed = await asyncio.to_thread(console.renewals.renew, guard.app_of(app), policy, visit.operator.who, until)
        await _until(lambda: guard.app_of(app).expires == renewed.to_day)
        git = f"Git still says {renewed.from_day}: the CoE brings it there."
        said = f"It is approved until {renewed.to_day:%-d %b %Y}. {git}"
        return await answer(request, visit, guard.app_of(app), _PART, said=said)

    return router


async def _until(is_so: Callable[[], bool]) -> None:
    """Wait until this worker knows of a change; workers look four times a second. If it takes longer, show what is."""
    for _ in range(round(_PATIENCE_SECONDS / _LOOK_SECONDS)):
        if is_so():
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _day(text: str) -> date | None:
    """Return the day of a form; None where it was left empty.

    Raises:
        OperatorRefused: body_refused; it is none.
    """
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise OperatorRefused(
            "body_refused", "This is no day.", "Write it as in 2027-03-31, or leave it empty."
        ) from None
