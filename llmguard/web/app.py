"""The ASGI application: data plane, probes, explanations, admin API and console, on one FastAPI app."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.routing import Route
from starlette.types import ASGIApp

from llmguard.domain.errors import GuardError
from llmguard.domain.operators import OperatorRefused
from llmguard.gateway.services import Services
from llmguard.identity.app_tokens import TokenMint
from llmguard.identity.openid import OpenIdProviders
from llmguard.web.admin import OperatorParts, operator_routers
from llmguard.web.completions import COMPLETIONS, CompletionExchange
from llmguard.web.connection import CROWD
from llmguard.web.cors import Preflight
from llmguard.web.crowd import Crowd
from llmguard.web.data_plane import Application, Governed, Listing, NotFound, no_such_method, no_such_path
from llmguard.web.doctor import DoctorPage
from llmguard.web.embeddings import EMBEDDINGS, EmbeddingExchange
from llmguard.web.exchange import OpenExchange
from llmguard.web.listings import ShowModel, list_models, show_standing
from llmguard.web.openapi import Describe
from llmguard.web.operators import Refusals
from llmguard.web.overage import PATH as OVERAGE
from llmguard.web.overage import RequestOverage, list_overage
from llmguard.web.probes import Probes
from llmguard.web.response_ids import ResponseIds
from llmguard.web.responses_answer import ResponsesExchange
from llmguard.web.responses_request import RESPONSES
from llmguard.web.slots import Slots
from llmguard.web.static_files import serve_static
from llmguard.web.token import JWKS, TOKEN, TokenExchange
from llmguard.web.why import Why
from llmguard.web.wire import CHAT_COMPLETIONS, ChatExchange

_EXCHANGES: dict[str, OpenExchange] = {
    CHAT_COMPLETIONS: ChatExchange,
    RESPONSES: ResponsesExchange,
    COMPLETIONS: CompletionExchange,
    EMBEDDINGS: EmbeddingExchange,
}


@dataclass(frozen=True, slots=True)
class Site:
    """What the web layer is made of; `wiring.py` fills it.

    Attributes:
        services: what the pipeline works with.
        probes: health, readiness and metrics.
        show_trace: returns a trace by id; may block.
        running: starts the services when entered and stops them when left.
        response_ids: seals the ids of responses that providers keep.
        parts: what the console and the admin API work with.
        mint: signs and reads tokens of apps.
        openid: the company's identity providers.
        is_set: whether a variable with a provider's key is set.
        slots: how many requests are answered at once.
    """

    services: Services
    probes: Probes
    show_trace: Callable[[str], dict[str, Any] | None]
    running: Callable[[], AbstractAsyncContextManager[None]]
    response_ids: ResponseIds
    parts: OperatorParts
    mint: TokenMint
    openid: OpenIdProviders
    is_set: Callable[[str], bool] = bool  # any name is: for sites without providers
    slots: Slots = field(default_factory=Slots)


def build_app(site: Site) -> Application:
    """Return the application. `/v1` is plain ASGI endpoints: FastAPI's body models cost more than a step."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Crowd]]:
        del app
        async with site.running():
            yield {CROWD: Crowd(site.slots, services.recorder, governed)}

    app = FastAPI(title="llmguard", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    services, probes = site.services, site.probes
    for router in operator_routers(services, site.parts, site.openid):
        app.router.routes += router.routes
    refusals = Refusals()
    app.add_exception_handler(OperatorRefused, refusals.operator)
    app.add_exception_handler(GuardError, refusals.rule)
    app.add_exception_handler(sqlite3.Error, refusals.store)
    app.add_exception_handler(RequestValidationError, refusals.parameters)
    governed = {
        path: Governed(services, path, exchange, site.response_ids, site.slots) for path, exchange in _EXCHANGES.items()
    }
    app.router.routes += [
        *(route for path, endpoint in governed.items() for route in _data_plane(services, path, POST=endpoint)),
        *_data_plane(services, "/v1/models", GET=Listing(services, "/v1/models", list_models)),
        *_data_plane(services, "/v1/models/{model:path}", GET=ShowModel(services)),
        *_data_plane(services, "/v1/me", GET=Listing(services, "/v1/me", show_standing)),
        *_data_plane(services, OVERAGE, GET=Listing(services, OVERAGE, list_overage), POST=RequestOverage(services)),
        Route("/healthz", probes.alive, methods=["GET"]),
        Route("/readyz", probes.ready, methods=["GET"]),
        Route("/metrics", probes.scrape, methods=["GET"]),
        *_tokens(site),
        Route("/openapi.json", Describe().__call__, methods=["GET"]),
        Route("/why/{trace_id}", Why(services, site.show_trace).__call__, methods=["GET"]),
        *_doctor(site),
        Route("/static/{name}", serve_static, methods=["GET"]),
        Route("/{path:path}", NotFound(services, no_such_path)),
    ]
    return Application(app, governed)


def _tokens(site: Site) -> list[Route]:
    exchange = TokenExchange(site.services, site.mint, site.openid)
    return [Route(TOKEN, exchange.exchange, methods=["POST"]), Route(JWKS, exchange.keys, methods=["GET"])]


def _doctor(site: Site) -> list[Route]:
    page = DoctorPage(site.services, site.show_trace, site.is_set)
    return [
        Route("/doctor", page.show, methods=["GET"]),
        Route("/doctor", page.answer, methods=["POST"]),
    ]


def _data_plane(services: Services, path: str, **endpoints: ASGIApp) -> list[Route]:
    """Return the routes of a path: its methods, CORS preflight, and a refusal in OpenAI's shape for all others."""
    allowed = ", ".join(sorted({*endpoints, "OPTIONS"} | ({"HEAD"} if "GET" in endpoints else set())))
    return [
        route
        for spelled in (path, f"{path}/")  # clients that join a base URL and a path by hand
        for route in (
            *(Route(spelled, endpoint, methods=[method]) for method, endpoint in endpoints.items()),
            Route(spelled, Preflight(services), methods=["OPTIONS"]),
            Route(spelled, NotFound(services, no_such_method, allowed=allowed)),
        )
    ]
