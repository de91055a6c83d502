"""Requests for more quota on the page of spend: who asks for what and why, and the forms to decide."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from llmguard.catalog.overage import overage_for_approvers
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import Refusal
from llmguard.domain.operators import Operator, OperatorRefused
from llmguard.identity.roles import permit, reach_of
from llmguard.quota.overage import Overage, check_approver, parse_amount
from llmguard.web.admin_overage import covers_request, decided
from llmguard.web.console.layout import SPEND, Console, is_part, may
from llmguard.web.console.quota_words import LIMIT_WORDS, limit_row, written
from llmguard.web.operators import Visit
from llmguard.web.pages import PAGE_HEADERS

_MOST_DECIDED: Final = 10
_WAITING: Final = frozenset({"open", "awaiting_second"})
_USUAL_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Requests:
    """What somebody may see of requests for more quota.

    Attributes:
        waiting: to be decided, oldest first; `may_not` says why this operator may not, or is empty.
        decided: the last ones, newest first.
        first: the first day on which a grant may end; `last` is the last one, `usual` what is proposed.
    """

    waiting: list[JsonObject]
    decided: list[JsonObject]
    first: date
    usual: date
    last: date


async def requests_for(console: Console, operator: Operator) -> Requests | None:
    """Return the requests that somebody may see; None: none at all."""
    if reach_of(operator.roles, "overage.read") is None:
        return None
    requests = await asyncio.to_thread(_requests, console, operator)
    for one in requests.waiting:
        one["standing"] = await _standing(console, operator, one)
    return requests


async def _standing(console: Console, operator: Operator, one: JsonObject) -> JsonObject | None:
    """Return how the limit stands that more is asked of; None where that may not be seen, or there is no such limit."""
    app = console.guard.services.registry.apps.get(one["app"])
    if app is None or not may(operator, "quota.read", app):
        return None
    standings = await console.guard.services.ledger.standings(app)
    return next(
        (limit_row(it, app) for it in standings if it.scope == one["scope"] and it.name == one["limit"]),
        None,
    )


def _requests(console: Console, operator: Operator) -> Requests:
    services = console.guard.services
    now, seen = services.clock.now(), permit(operator, "overage.read")
    every = [one for one in services.overage.all() if covers_request(console.guard, seen, one)]
    waiting = [
        _in_words(one, now) | {"may_not": _may_not(console, operator, one)} for one in every if one.state in _WAITING
    ]
    decided_ones = [_in_words(one, now) for one in every if one.state not in _WAITING]
    today, longest = now.date(), services.registry.overage.longest_days
    usual, last = (today + timedelta(days=min(days, longest - 1)) for days in (_USUAL_DAYS, longest - 1))
    return Requests(waiting, decided_ones[: -_MOST_DECIDED - 1 : -1], today, usual, last)


def _in_words(one: Overage, now: datetime) -> JsonObject:
    granted = "" if one.granted is None else written(one.limit, one.granted)
    words = {"amount_words": written(one.limit, one.amount), "granted_words": granted}
    return overage_for_approvers(one, now) | words


def _may_not(console: Console, operator: Operator, one: Overage) -> str:
    """Return why somebody may not decide about a request; nothing if they may."""
    reach = reach_of(operator.roles, "overage.decide")
    if reach is None:
        return "Your roles let you see it, and not decide."
    try:
        check_approver(console.guard.services.registry, one, operator.who)
    except Refusal as refusal:
        return f"{refusal.message} {refusal.hint or ''}".strip()
    return ""


def overage_page_router(console: Console) -> APIRouter:
    """Return the routes of the forms."""
    router = APIRouter()
    guard, gate = console.guard, console.guard.services.overage
    may_decide = guard.require("overage.decide")

    @router.post(f"{SPEND}/overage/{{overage_id}}/approve")
    async def approve(overage_id: str, request: Request, visit: Annotated[Visit, Depends(may_decide)]) -> Response:
        def act(asked: Overage) -> Overage:
            is_second = asked.state == "awaiting_second"
            amount = None if is_second else parse_amount(asked.limit, visit.form.get("amount", "").strip())
            ends_at = None if is_second else _end_of_day(visit.form.get("until", ""))
            return gate.approve(guard.services.registry, asked.id, visit.operator.who, amount=amount, ends_at=ends_at)

        return await _answer(console, request, visit, overage_id, act)

    @router.post(f"{SPEND}/overage/{{overage_id}}/deny")
    async def deny(overage_id: str, request: Request, visit: Annotated[Visit, Depends(may_decide)]) -> Response:
        def act(asked: Overage) -> Overage:
            reason = visit.form.get("reason", "")
            return gate.deny(guard.services.registry, asked.id, visit.operator.who, reason)

        return await _answer(console, request, visit, overage_id, act)

    return router


async def _answer(
    console: Console, request: Request, visit: Visit, overage_id: str, act: Callable[[Overage], Overage]
) -> Response:
    after = await decided(console.guard, visit.permit, overage_id, act)
    if not is_part(request):
        return RedirectResponse(f"{SPEND}#asked", 303, headers=PAGE_HEADERS)
    requests = await requests_for(console, visit.operator)
    return console.part(visit, "spend_requests.html", requests=requests, limit_words=LIMIT_WORDS, done=after)


def _end_of_day(text: str) -> datetime:
    """Return the last second of a day.

    Raises:
        OperatorRefused: body_refused; it is none.
    """
    try:
        return datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
    except ValueError:
        raise OperatorRefused("body_refused", "The end is no day.", "Give it as in 2026-12-31.") from None
