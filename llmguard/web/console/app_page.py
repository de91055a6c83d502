"""`/console/apps/{app}`: one app: health, approval, quota, cost, refusals, keys, more quota, the first request."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from llmguard.catalog.connectors.contract import Contract
from llmguard.catalog.first_request import Tool, first_requests
from llmguard.catalog.health import catalog_concerns, key_concerns, quota_concerns, use_concerns, worst
from llmguard.catalog.latest import Refused, last_day, latest_refusals
from llmguard.catalog.registry_change import renewal, state_changes
from llmguard.domain.catalog import App, Preset
from llmguard.domain.chat import JsonObject
from llmguard.domain.operators import Operator
from llmguard.finance.app_month import AppMonth
from llmguard.identity.key_store import Key
from llmguard.identity.roles import reach_of
from llmguard.registry.resolve import usable_presets
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.console.app_keys import app_keys_router, keys_facts
from llmguard.web.console.app_overage import app_overage_router, overage_facts
from llmguard.web.console.app_state import app_state_router
from llmguard.web.console.charts import Chart, bar_chart
from llmguard.web.console.layout import CATALOG, MY_APPS, Console, is_part, may, together
from llmguard.web.console.quota_words import limit_row
from llmguard.web.figures import figure, short, usd
from llmguard.web.operators import Visit

_TREND_DAYS: Final = 28
_PARTS: Final = {"app_keys.html": keys_facts, "app_health.html": keys_facts, "app_overage.html": overage_facts}


@dataclass(frozen=True, slots=True)
class _Seen:
    """What traces say of an app; None of all where they cannot be read, or may not be seen."""

    month: AppMonth | None = None
    refusals: list[Refused] | None = None


def app_routers(console: Console) -> list[APIRouter]:
    """Return the routes: the page, and the forms on it."""

    async def answer(request: Request, visit: Visit, app: App, part: str, **said: Any) -> Response:  # Any: facts
        """Answer a form: to htmx with the part that has changed, else with the whole page."""
        if is_part(request):
            facts = await asyncio.to_thread(_PARTS[part], console, visit, app)
            if "keys" in facts:
                facts |= await _health_facts(console, visit, app, facts["keys"])
            return console.part(visit, part, app=app, **{**facts, **said})
        facts = await app_facts(console, visit, app, request)
        return console.page(visit, "app.html", app.name, facts.pop("menu_entry"), **{**facts, **said})

    return [
        _page_router(console),
        app_keys_router(console, answer),
        app_overage_router(console, answer),
        app_state_router(console, answer),
    ]


def _page_router(console: Console) -> APIRouter:
    router = APIRouter()

    @router.get("/console/apps/{app}")
    async def show(
        app: str,
        request: Request,
        visit: Annotated[Visit, Depends(console.guard.require("apps.read"))],
        preset: str = "",
    ) -> Response:
        facts = await app_facts(console, visit, console.guard.app_of(app), request, wanted=preset)
        return console.page(visit, "app.html", app, facts.pop("menu_entry"), **facts)

    return router


async def app_facts(console: Console, visit: Visit, app: App, request: Request, *, wanted: str = "") -> JsonObject:
    """Return what the page of an app shows, as far as the operator may see it."""
    services, operator = console.guard.services, visit.operator
    now = services.clock.now()
    allowed = _allowed(operator, app)
    seen, keys, overage = await together(
        lambda: _seen(console, app, allowed),
        lambda: keys_facts(console, visit, app),
        lambda: overage_facts(console, visit, app),
    )
    presets = usable_presets(services.registry, app, today=now.date())
    return {
        "app": app,
        "menu_entry": MY_APPS if operator.owns(app) else CATALOG,
        "allowed": allowed,
        "month": seen.month,
        "charts": _charts(seen.month, allowed),
        "refusals": seen.refusals,
        "presets": presets,
        "tools": _tools(app, presets, wanted, request),
        "wanted": wanted,
        **await _health_facts(console, visit, app, keys["keys"]),
        **keys,
        **overage,
        "is_part": False,
    }


async def _health_facts(console: Console, visit: Visit, app: App, keys: Sequence[Key]) -> JsonObject:
    """Return how an app is, and what mends it, for whoever may see that; with the limits that it goes by."""
    services, operator = console.guard.services, visit.operator
    now, allowed = services.clock.now(), _allowed(operator, app)
    standings = await services.ledger.standings(app) if allowed["quota"] else ()
    concerns = [*catalog_concerns(app, now.date()), *quota_concerns(standings)]
    if allowed["keys"]:
        concerns += key_concerns(keys, now)
    if allowed["traces"]:
        with suppress(TraceStoreError, TraceQueryError):
            concerns += use_concerns(await asyncio.to_thread(last_day, console.select, app.name, now))
    return {
        "now": now,
        "concerns": concerns,
        "level": worst(concerns),
        "limits": [limit_row(standing, app) for standing in standings],
        "renewal": renewal(app, now.date()),
        "changes": state_changes(app),
        "sees_catalog": reach_of(operator.roles, "apps.read") == "all",
        "furthest": now.date() + timedelta(days=services.registry.renewal.longest_days),
        "may_renew": may(operator, "apps.renew", app) and app.status == "approved" and app.expires is not None,
        "may_contain": may(operator, "apps.contain", app) and app.contained_at is None,
        "may_lift": may(operator, "apps.lift", app) and app.contained_at is not None,
        "is_part": True,
        "other": "",  # which section comes along with the one that was asked for
        "said": "",
    }


def _allowed(operator: Operator, app: App) -> dict[str, bool]:
    return {
        "quota": may(operator, "quota.read", app),
        "costs": may(operator, "costs.read", app),
        "traces": may(operator, "traces.read", app),
        "keys": may(operator, "keys.read", app),
    }


def _seen(console: Console, app: App, allowed: dict[str, bool]) -> _Seen:
    services = console.guard.services
    now, select = services.clock.now(), console.select
    try:
        month = console.months.look(app.name, now) if allowed["costs"] or allowed["traces"] else None
        if not allowed["traces"]:
            return _Seen(month)
        return _Seen(month, latest_refusals(select, services.registry, app.name, now))
    except (TraceStoreError, TraceQueryError):
        return _Seen()


def _charts(month: AppMonth | None, allowed: dict[str, bool]) -> dict[str, Chart]:
    if month is None:
        return {}
    days = month.days[-_TREND_DAYS:]
    charts = {
        "requests": bar_chart(
            "Requests a day",
            ((f"{day.day:%a %-d %b}", day.requests, day.refusals + day.faults) for day in days),
            when="Day (UTC)",
            words=("requests", "refused or failed"),
            write=figure,
        ),
        "tokens": bar_chart(
            "Tokens a day",
            ((f"{day.day:%a %-d %b}", day.tokens, 0) for day in days),
            when="Day (UTC)",
            words=("tokens", ""),
            write=short,
        ),
    }
    if allowed["costs"]:
        charts["costs"] = bar_chart(
            "Cost a day",
            ((f"{day.day:%a %-d %b}", float(day.cost_usd), 0) for day in days),
            when="Day (UTC)",
            words=("USD", ""),
            write=lambda amount: usd(str(amount)),
        )
    return charts


def _tools(app: App, presets: tuple[Preset, ...], wanted: str, request: Request) -> list[Tool]:
    preset = next((one for one in presets if one.name == wanted), presets[0] if presets else None)
    if preset is None:
        return []
    base_url = f"{request.url.scheme}://{request.url.netloc}/v1"
    named = preset.name if preset.name in app.presets else preset.id
    return first_requests(Contract(app, preset, named, base_url))
