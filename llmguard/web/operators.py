"""Who is at the admin API and the console, and whether they may: the one dependency of all their routes.

A route names its action with `Depends(guard.require("keys.issue"))` and gets a `Visit`. A program sends
`Authorization: Bearer op-lg_…`; a browser has a session, and what it sends that changes something needs the session's
form token too (`csrf` in a form, `x-csrf-token` in a header), from a page of ours.
"""

import asyncio
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from llmguard.domain.catalog import App
from llmguard.domain.errors import GuardError
from llmguard.domain.identity import OperatorPolicy
from llmguard.domain.operators import Operator, OperatorRefused
from llmguard.gateway.services import Services
from llmguard.identity.access import AccessDesk
from llmguard.identity.operator_store import OperatorStore
from llmguard.identity.roles import Action, Permit, permit
from llmguard.web.connection import HungUpError, read_body
from llmguard.web.forms import from_this_page, read_form
from llmguard.web.pages import PAGE_HEADERS, load_page

_log = logging.getLogger(__name__)
Body = TypeVar("Body", bound=msgspec.Struct)
SIGN_IN: Final = "/console/sign-in"
CONSOLE: Final = "/console/"
_SAFE: Final = frozenset({"GET", "HEAD"})
_COOKIE: Final = "llmguard_session"
_OUTLIVES_BROWSER: Final = None  # the cookie ends with the browser; the session by itself, on the server
_HINT: Final = (
    "Sign in at /console/sign-in, or send 'Authorization: Bearer op-lg_…'; `llmguard operator token` makes one."
)
_YOUR_APPS: Final = "Look it up among your apps: /console/apps, or GET /admin/api/apps for programs."
_STALE: Final = OperatorRefused(
    "form_refused",
    "This was not sent by a page of yours, or that page is too old.",
    "Load the page again and repeat it.",
)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is signed in and may do what it is for.

    Attributes:
        permit: who, in which action, and for which apps.
        csrf: what the forms of a page carry in their field `csrf`; empty for programs, which need none.
        form: the fields of a form that was sent.
    """

    permit: Permit
    csrf: str = field(default="", repr=False)
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def operator(self) -> Operator:
        """Who it is."""
        return self.permit.operator


class Guard:
    """Knows operators by their token or their session."""

    def __init__(self, services: Services, store: OperatorStore, desk: AccessDesk) -> None:
        """Work with these operators, the roles that they were given for hours, and the registry of these services."""
        self.services = services
        self.store = store
        self._desk = desk

    def require(self, action: Action) -> "Require":
        """Return the dependency of a route that does this."""
        return Require(self, action)

    def app_of(self, name: str) -> App:
        """Return an app of the catalog.

        Raises:
            OperatorRefused: not_found.
        """
        app = self.services.registry.apps.get(name)
        if app is None:
            raise OperatorRefused("not_found", "There is no app of this name.", _YOUR_APPS)
        return app

    async def visitor(self, request: Request) -> tuple[Operator, str]:
        """Return who asks, and the form token of their session if it is one.

        Raises:
            OperatorRefused: not_signed_in.
        """
        authorization = request.headers.get("authorization")
        if authorization is not None:
            scheme, _, text = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise OperatorRefused(
                    "not_signed_in", "The Authorization header does not have the form 'Bearer TOKEN'.", _HINT
                )
            return await asyncio.to_thread(self._by_token, text.strip()), ""
        cookie = cookie_of(request)
        if cookie is None:
            raise OperatorRefused("not_signed_in", "You are not signed in.", _HINT)
        is_use = "x-llmguard-refresh" not in request.headers  # a page that updates itself keeps no session open
        return await asyncio.to_thread(self._by_session, cookie, is_use=is_use), csrf_of(cookie)

    def _by_token(self, text: str) -> Operator:
        return self._with_given_roles(self.store.token_of(text).operator())

    def _by_session(self, cookie: str, *, is_use: bool) -> Operator:
        """Return whose session it is, with the roles that registry.yaml gives them now."""
        session = self.store.session_of(cookie, is_use=is_use)
        if session.token is not None:
            return self._with_given_roles(session.token.operator())
        policy = self.services.registry.operators
        if policy is None or not session.subject.startswith(oidc_subject(policy, "")):
            raise OperatorRefused("not_signed_in", "Your session is over.", _HINT)
        roles = policy.roles_of(session.email, session.groups)
        return self._with_given_roles(Operator(session.subject, session.name, session.email, roles, "oidc"))

    def _with_given_roles(self, operator: Operator) -> Operator:
        given = self._desk.roles_of(operator.who)
        return replace(operator, roles=operator.roles | given) if given else operator


@dataclass(frozen=True, slots=True)
class Require:
    """FastAPI's dependency: whoever asks, if their roles have the action, for the app that the path names."""

    guard: Guard
    action: Action

    async def __call__(self, request: Request, response: Response) -> Visit:
        """Return the visit.

        Raises:
            OperatorRefused: not_signed_in, role_missing, form_refused or not_found.
        """
        response.headers["cache-control"] = "no-store"  # of what FastAPI answers; pages bring their own headers
        operator, csrf = await self.guard.visitor(request)
        form = await _sent_form(request, csrf) if request.method not in _SAFE else {}
        granted = permit(operator, self.action)
        if (name := request.path_params.get("app")) is not None:
            _check_app(self.guard, granted, name)
        return Visit(granted, csrf, form)


def _check_app(guard: Guard, granted: Permit, name: str) -> None:
    """Refuse an app that is not covered; whoever may see only their own does not learn which others there are."""
    app = guard.services.registry.apps.get(name)
    if app is None and granted.reach == "all":
        guard.app_of(name)
    if app is None or not granted.covers(app):
        raise OperatorRefused(
            "role_missing",
            "You own no app of this name, and your roles reach no further.",
            _YOUR_APPS,
        )


async def _sent_form(request: Request, csrf: str) -> dict[str, str]:
    """Return the fields of a form, if it comes from a page of this session, or from a program with a token."""
    form = (await read_form(request) if _is_form(request) else {}) or {}
    if not csrf:
        return form
    given = form.pop("csrf", None) or request.headers.get("x-csrf-token", "")
    if not from_this_page(request) or not hmac.compare_digest(given.encode(), csrf.encode()):
        raise _STALE
    return form


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def oidc_subject(policy: OperatorPolicy, sub: str) -> str:
    """Return who somebody is for good: a subject means something at its issuer alone."""
    return f"oidc:{policy.issuer}|{sub}"


def csrf_of(cookie: str) -> str:
    """Return the form token of a session: only who has the cookie can make it, and pages of others can read neither."""
    return hmac.digest(cookie.encode(), b"llmguard/form", "sha256").hex()


def cookie_of(request: Request) -> str | None:
    """Return what the session's cookie holds."""
    return request.cookies.get(_cookie_name(request))


def set_cookie(request: Request, response: Response, cookie: str) -> None:
    """Give a browser its session: for this host alone, out of reach of scripts, and never with requests of other sites.

    Lax and not Strict: after a sign-in at the company's identity provider, the browser comes back from another site.
    """
    response.set_cookie(
        _cookie_name(request),
        cookie,
        max_age=_OUTLIVES_BROWSER,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def drop_cookie(request: Request, response: Response) -> None:
    """Take a browser's session from it."""
    response.delete_cookie(
        _cookie_name(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )


def _cookie_name(request: Request) -> str:
    # Browsers take `__Host-` only from https, with Secure and for the whole host: no other site can set it.
    return f"__Host-{_COOKIE}" if request.url.scheme == "https" else _COOKIE


async def read_json(request: Request, kind: type[Body]) -> Body:
    """Return the body of a request to the admin API; an empty one is all defaults.

    Raises:
        OperatorRefused: body_refused; it is none. The words of the parser may quote it, so they are not passed on.
    """
    try:
        if _is_form(request):  # read already, and waited for in vain
            raise msgspec.DecodeError
        return msgspec.json.decode(await read_body(dict(request.scope["headers"]), request.receive) or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, HungUpError):
        fields = ", ".join(kind.__struct_fields__)
        raise OperatorRefused(
            "body_refused", "The body is not what this takes.", f"Send JSON with: {fields}."
        ) from None


class Refusals:
    """What operators see of a refusal: JSON from the admin API, a page in the console, or the way to sign in."""

    def __init__(self) -> None:
        self._page = load_page("refused.html")
        self._part = load_page("console/refused_part.html")

    async def operator(self, request: Request, error: Exception) -> Response:
        """Answer for somebody who may not."""
        if not isinstance(error, OperatorRefused):
            raise error
        is_page = _wants_page(request) and not request.url.path.startswith(SIGN_IN)
        if error.code == "not_signed_in" and is_page and (request.method in _SAFE or _is_part(request)):
            return _lead_to_sign_in(request)
        headers = {"www-authenticate": "Bearer"} if error.code == "not_signed_in" else {}
        return self._answer(request, error.status, error.code, error.message, error.hint, headers)

    async def rule(self, request: Request, error: Exception) -> Response:
        """Answer for a rule that refuses."""
        if not isinstance(error, GuardError):
            raise error
        return self._answer(request, error.status, error.code, error.message, error.hint or "", {})

    async def store(self, request: Request, error: Exception) -> Response:
        """Answer when state.db cannot be read or written."""
        _log.error("operators cannot be looked up: %s", type(error).__name__)
        words = "Nothing was changed: state.db is locked, full or damaged."
        hint = "Try again shortly. If it lasts, tell whoever runs llmguard."
        return self._answer(request, 503, "ledger_unavailable", words, hint, {"retry-after": "1"})

    async def parameters(self, request: Request, error: Exception) -> Response:
        """Answer for a query that cannot be; what was sent is not repeated."""
        if not isinstance(error, RequestValidationError):
            raise error
        names = ", ".join(sorted({str(one["loc"][-1]) for one in error.errors() if one["type"] != "extra_forbidden"}))
        words = f"These parameters of the address cannot be: {names}."
        return self._answer(request, 400, "body_refused", words, "Correct them, or leave them out.", {})

    def _answer(
        self, request: Request, status: int, code: str, message: str, hint: str, headers: dict[str, str]
    ) -> Response:
        if _wants_page(request):
            facts = {"code": code, "message": message, "hint": hint}
            if _is_part(request):
                headers = headers | {"hx-retarget": "#problem", "hx-reswap": "innerHTML"}
            page = (self._part if _is_part(request) else self._page).render(facts)
            return HTMLResponse(page, status, headers=PAGE_HEADERS | headers)
        body = {"error": {"message": message, "code": code, "hint": hint}}
        return JSONResponse(body, status, headers={"cache-control": "no-store"} | headers)


def _wants_page(request: Request) -> bool:
    return request.url.path.startswith(CONSOLE)


def _is_part(request: Request) -> bool:
    """Whether htmx asks, for a part of a page that is there already."""
    return request.headers.get("hx-request") == "true"


def _lead_to_sign_in(request: Request) -> Response:
    """Lead to the sign-in, and from there back to the page that is open."""
    if not _is_part(request):
        return RedirectResponse(f"{SIGN_IN}?{urlencode({'next': request.url.path})}", 303, headers=PAGE_HEADERS)
    page = urlsplit(request.headers.get("hx-current-url", "")).path or CONSOLE
    return Response(status_code=401, headers=PAGE_HEADERS | {"hx-redirect": f"{SIGN_IN}?{urlencode({'next': page})}"})
