"""More quota for one app, asked for on its page; who decides, registry.yaml says."""

import asyncio
from typing import Annotated, Final, cast, get_args

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from llmguard.catalog.overage import overage_for_approvers
from llmguard.domain.catalog import App, ScopeKind
from llmguard.domain.chat import JsonObject
from llmguard.domain.quota import LimitName
from llmguard.quota.limits import limits_of
from llmguard.quota.overage import LONGEST_REASON, Ask, check_text, invalid, parse_amount
from llmguard.web.console.layout import Answering, Console, may
from llmguard.web.console.quota_words import LIMIT_WORDS, whose_limit
from llmguard.web.figures import figure, usd
from llmguard.web.operators import Visit
from llmguard.web.overage import hide_personal_data

_MOST_SHOWN: Final = 5
_STATE_WORDS: Final = {
    "open": ("waits for a decision", "care"),
    "awaiting_second": ("waits for a second approval", "care"),
    "approved": ("granted", "fine"),
    "denied": ("denied", "wrong"),
    "ended": ("ended", ""),
}


def app_overage_router(console: Console, answer: Answering) -> APIRouter:
    """Return the route."""
    router = APIRouter()
    guard = console.guard

    @router.post("/console/apps/{app}/overage")
    async def ask(
        app: str, request: Request, visit: Annotated[Visit, Depends(guard.require("overage.request"))]
    ) -> Response:
        known, form = guard.app_of(app), visit.form
        scope, _, limit = form.get("limit", "").partition(" ")
        if scope not in get_args(ScopeKind) or limit not in get_args(LimitName):
            raise invalid("Choose which limit is too small.", "Load the page again and choose one.", "limit")
        name = cast("LimitName", limit)  # checked above
        check_text(form.get("reason", ""), "reason")
        amount = parse_amount(name, form.get("amount", "").strip().replace(",", ""))
        reason = await hide_personal_data(guard.services, known, form["reason"])
        wanted = Ask(known, cast("ScopeKind", scope), name, amount, reason, visit.operator.who)  # checked above
        await asyncio.to_thread(guard.services.overage.request, wanted)
        return await answer(request, visit, known, "app_overage.html", has_asked=True)

    return router


def overage_facts(console: Console, visit: Visit, app: App) -> JsonObject:
    """Return what an app has asked for lately, and which limits it may ask about; blocks."""
    services, operator = console.guard.services, visit.operator
    sees, now = may(operator, "overage.read", app), services.clock.now()
    asked = [one for one in services.overage.all() if one.app == app.name][-_MOST_SHOWN:] if sees else []
    return {
        "sees_overage": sees,
        "may_ask": may(operator, "overage.request", app),
        "asked": [_row(overage_for_approvers(one, now)) for one in reversed(asked)],
        "askable": [
            (f"{scope.kind} {name}", f"{LIMIT_WORDS[name]}{_of(whose_limit(scope.id, app))}")
            for scope in app.scopes
            for name, limit in limits_of(scope.quota)
            if limit is not None
        ],
        "longest_reason": LONGEST_REASON,
        "approvers": ", ".join(services.registry.overage.approvers) or "nobody yet",
        "has_asked": False,
    }


def _of(whose: str) -> str:
    return f" ({whose})" if whose else ""


def _row(shown: JsonObject) -> JsonObject:
    words, level = _STATE_WORDS[shown["state"]]
    amounts = {name: _written(shown[name], shown["limit"]) for name in ("amount", "granted")}
    return {**shown, **amounts, "words": words, "level": level, "limit_words": LIMIT_WORDS[shown["limit"]]}


def _written(amount: str | None, limit: LimitName) -> str:
    """Return an amount as people read it; nothing for none."""
    if amount is None:
        return ""
    return usd(amount) if limit == "usd_per_month" else figure(int(amount))
