"""`/admin/api/`: what operators do by program, and pages behind the scenes; every route names its action."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query

from llmguard.audit.log import AuditLog, Entry
from llmguard.catalog.containment import Containments
from llmguard.catalog.facts import standing_json
from llmguard.catalog.overage import grant_json
from llmguard.catalog.renewal import Renewals
from llmguard.domain.chat import JsonObject
from llmguard.gateway.services import Services
from llmguard.identity.access import AccessDesk
from llmguard.identity.key_store import KeyStore
from llmguard.identity.openid import OpenIdProviders
from llmguard.identity.operator_store import OperatorStore
from llmguard.identity.roles import MATRIX, reach_of
from llmguard.identity.sign_ins import SignIns
from llmguard.registry.finding import Finding
from llmguard.settings import Settings
from llmguard.web.admin_access import access_router
from llmguard.web.admin_apps import apps_router
from llmguard.web.admin_keys import keys_router
from llmguard.web.admin_overage import overage_router
from llmguard.web.console.desk import Desk
from llmguard.web.console.layout import Console
from llmguard.web.console.routers import console_routers
from llmguard.web.openid_sign_in import OpenIdSignIn
from llmguard.web.operators import Guard, Visit
from llmguard.web.sign_in import SignIn, sign_out_router

if TYPE_CHECKING:  # it loads DuckDB
    from llmguard.traces.reader import TraceReader

ADMIN = "/admin/api"


@dataclass(frozen=True, slots=True)
class OperatorParts:
    """What the routes for operators work with.

    Attributes:
        operators: tokens and sessions.
        desk: roles for some hours.
        keys: of apps, at rest.
        audit: what people did.
        sign_ins: those under way at the identity provider.
        containments: of apps.
        renewals: of apps, by their owners.
        variable: returns an environment variable, for the secret of llmguard's client there.
        open_traces: gives a reader of traces; may block, since the first one loads DuckDB.
        findings: what is wrong with registry.yaml as it is now.
        gaps: what apps lack in it, which is served all the same; may block.
        settings: where the files are.
        environ: whether the keys of providers are set, for live replays.
    """

    operators: OperatorStore
    desk: AccessDesk
    keys: KeyStore
    audit: AuditLog
    sign_ins: SignIns
    containments: Containments
    renewals: Renewals
    variable: Callable[[str], str | None]
    open_traces: Callable[[], "TraceReader"]
    findings: Callable[[], Sequence[Finding]]
    gaps: Callable[[], Sequence[Finding]]
    settings: Settings
    environ: Mapping[str, str]


def operator_routers(services: Services, parts: OperatorParts, openid: OpenIdProviders) -> list[APIRouter]:
    """Return every route for operators: the admin API, the sign-in, and the console."""
    guard = Guard(services, parts.operators, parts.desk)
    return [
        _catalog_router(guard),
        _audit_router(guard, parts.audit),
        access_router(guard, parts.desk),
        apps_router(guard, parts.containments, parts.renewals),
        keys_router(guard, parts.keys),
        overage_router(guard),
        SignIn(guard).router(),
        OpenIdSignIn(guard, openid, parts.sign_ins, parts.variable).router(),
        sign_out_router(guard),
        *console_routers(_console(guard, parts), Desk(parts.settings, parts.audit, parts.environ)),
    ]


def _console(guard: Guard, parts: OperatorParts) -> Console:
    return Console(
        guard,
        parts.keys,
        parts.open_traces,
        parts.findings,
        parts.gaps,
        parts.containments,
        parts.renewals,
    )


def _catalog_router(guard: Guard) -> APIRouter:
    router = APIRouter(prefix=ADMIN)

    @router.get("/me")
    async def me(visit: Annotated[Visit, Depends(guard.require("console.open"))]) -> JsonObject:
        operator = visit.operator
        reaches = {action: reach_of(operator.roles, action) for action in MATRIX}
        return {
            "object": "llmguard.operator",
            "subject": operator.subject,
            "name": operator.name,
            "email": operator.email,
            "roles": sorted(operator.roles),
            "signed_in_by": operator.method,
            "may": {action: reach for action, reach in reaches.items() if reach is not None},
        }

    @router.get("/apps")
    async def apps(visit: Annotated[Visit, Depends(guard.require("apps.read"))]) -> JsonObject:
        catalog = guard.services.registry.apps.values()
        rows = [
            {
                "name": app.name,
                "owner": app.owner,
                "backup_owner": app.backup_owner,
                "team": app.team,
                "cost_center": app.cost_center,
                "status": app.status,
                "sensitivity": app.sensitivity.label,
                "expires": app.expires,
                "last_day": app.last_day,
                "contained_at": app.contained_at,
                "presets": app.presets,
                "ticket": app.ticket,
            }
            for app in catalog
            if visit.permit.covers(app)
        ]
        return {"object": "list", "data": rows}

    @router.get("/apps/{app}/quota")
    async def quota(app: str, visit: Annotated[Visit, Depends(guard.require("quota.read"))]) -> JsonObject:
        del visit
        services, known = guard.services, guard.app_of(app)
        standings = await services.ledger.standings(known)
        grants = await asyncio.to_thread(services.overage.grants, known)
        return {
            "object": "list",
            "data": [standing_json(standing) for standing in standings],
            "grants": [grant_json(grant) for grant in grants],
        }

    return router


def _audit_router(guard: Guard, audit: AuditLog) -> APIRouter:
    router = APIRouter(prefix=ADMIN)

    @router.get("/audit")
    async def entries(
        visit: Annotated[Visit, Depends(guard.require("audit.read"))],
        after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JsonObject:
        del visit

        def read() -> list[Entry]:
            return list(islice(audit.entries(after=after), limit))

        found = await asyncio.to_thread(read)
        rows = [asdict(entry) | {"facts": json.loads(entry.facts)} for entry in found]
        return {"object": "list", "data": rows, "next_after": found[-1].seq if len(found) == limit else None}

    return router
