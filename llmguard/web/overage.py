"""`/v1/me/overage`: an app that is out of quota asks for more, and sees what became of it.

Reasons are hidden by the redaction rules before they are kept, and shown to approvers alone.
"""

import asyncio

import msgspec
from starlette.types import Receive, Scope, Send

from llmguard.catalog.overage import overage_json
from llmguard.domain.catalog import App, Caller, ScopeKind
from llmguard.domain.chat import JsonObject
from llmguard.domain.quota import LimitName
from llmguard.gateway.recorder import Record
from llmguard.gateway.services import Services
from llmguard.quota.overage import LONGEST_REASON, Ask, check_text, invalid, parse_amount
from llmguard.registry.resolve import usable_presets
from llmguard.web.connection import HungUpError, read_body
from llmguard.web.data_plane import Listing

PATH = "/v1/me/overage"
_USUAL_PROFILE = "standard"
_HINT = (
    'Send {"limit": "tokens_per_month", "amount": 100000, "reason": "why"}; optional: "scope": "app", "owner" or '
    '"cost_center". GET /v1/me lists the limits.'
)


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    limit: LimitName
    amount: int | float | str
    reason: str
    scope: ScopeKind = "app"


async def list_overage(services: Services, record: Record, caller: Caller) -> JsonObject:
    """Return what this app has asked for, newest last, as `GET /v1/me/overage` shows it."""
    del record
    every = await asyncio.to_thread(services.overage.all)
    now = services.clock.now()
    return {"object": "list", "data": [overage_json(one, now) for one in every if one.app == caller.app.name]}


class RequestOverage:
    """`POST /v1/me/overage`: 202 with the id and state of the request."""

    def __init__(self, services: Services) -> None:
        """Answer with these services."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the body is not read before the key is known."""

        async def ask(services: Services, record: Record, caller: Caller) -> JsonObject:
            del record
            body = await _read(scope, receive)
            check_text(body.reason, "reason")
            amount = parse_amount(body.limit, body.amount)
            reason = await hide_personal_data(services, caller.app, body.reason)
            wanted = Ask(caller.app, body.scope, body.limit, amount, reason, caller.app.owner, caller.key_id)
            return overage_json(await asyncio.to_thread(services.overage.request, wanted), services.clock.now())

        await Listing(self._services, PATH, ask, status=202)(scope, receive, send)


async def _read(scope: Scope, receive: Receive) -> _Body:
    try:
        return msgspec.json.decode(await read_body(dict(scope["headers"]), receive), type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, HungUpError):  # their words may quote the body
        raise invalid("The body is not a request for more quota.", _HINT) from None


async def hide_personal_data(services: Services, app: App, reason: str) -> str:
    """Return a reason for more quota as it is kept: what the redaction rules find in it is hidden."""
    presets = usable_presets(services.registry, app, today=services.clock.now().date())
    profile = presets[0].redaction if presets else _USUAL_PROFILE
    hidden = await services.redactor.redact_text(reason, app=app.name, profile=profile)
    return hidden[:LONGEST_REASON]  # placeholders may be longer than what they stand for
