"""Sign in at the company's identity provider: the authorization code flow with PKCE, state and nonce.

The browser is sent there with a state that it also gets as a cookie; whoever comes back with a code must bring both,
once. What the provider says of somebody is kept with the session; which roles that means is looked up at each request.

Source: OpenID Connect Core 1.0, section 3.1; RFC 7636 (PKCE); RFC 9207 (issuer in the answer); RFC 9700, section 2.1.
"""

import asyncio
import base64
import hmac
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import aiohttp
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from llmguard.domain.identity import OperatorPolicy
from llmguard.domain.operators import Operator, OperatorRefused
from llmguard.identity.openid import Expected, OpenIdProviders, TokenRefusedError, fetch_json, is_safe, open_session
from llmguard.identity.sign_ins import LIFE, SignIns
from llmguard.web.forms import Turns, client_of
from llmguard.web.operators import Guard, oidc_subject
from llmguard.web.pages import PAGE_HEADERS
from llmguard.web.sign_in import entered, page_after

BEGIN: Final = "/console/sign-in/openid"
CALLBACK: Final = "/console/sign-in/callback"
_COOKIE: Final = "llmguard_sign_in"
_LONGEST: Final = 4096
_ERROR: Final = re.compile(r"[a-z_]{1,60}")
_AGAIN: Final = "Begin again at /console/sign-in."
_log = logging.getLogger(__name__)


class OpenIdSignIn:
    """The way in through the company's identity provider. Open to everybody; the provider says who it is."""

    def __init__(
        self, guard: Guard, openid: OpenIdProviders, sign_ins: SignIns, variable: Callable[[str], str | None]
    ) -> None:
        """Let people in; `variable` returns an environment variable, for the client's secret."""
        self._guard = guard
        self._openid = openid
        self._sign_ins = sign_ins
        self._variable = variable
        self._turns = Turns(guard.services.clock)

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route(BEGIN, self.begin, methods=["GET"])
        router.add_api_route(CALLBACK, self.come_back, methods=["GET"])
        return router

    async def begin(self, request: Request) -> Response:
        """Send the browser to the identity provider."""
        policy = self._policy()
        if not self._turns.take(client_of(request)):
            raise OperatorRefused("form_refused", "Somebody tried very often in the last minute.", "Wait a minute.")
        metadata = await self._metadata(policy)
        page = page_after(request.query_params.get("next", ""))
        state = await asyncio.to_thread(self._sign_ins.begin, page)
        question = {
            "response_type": "code",
            "client_id": policy.client_id,
            "redirect_uri": _callback(request, policy),
            "scope": " ".join(policy.scopes),
            "state": state,
            "nonce": self._sign_ins.nonce(state),
            "code_challenge": self._sign_ins.challenge(state),
            "code_challenge_method": "S256",
        }
        there = str(metadata.get("authorization_endpoint", ""))
        if not is_safe(there):
            raise OperatorRefused(
                "provider_away", "The identity provider does not say where to sign in.", "Ask the CoE."
            )
        address = f"{there}{'&' if '?' in there else '?'}{urlencode(question)}"
        response = RedirectResponse(address, 303, headers=PAGE_HEADERS)
        _keep_state(request, response, state)
        return response

    async def come_back(self, request: Request) -> Response:
        """Let somebody in who comes back from the identity provider with a code."""
        policy, given = self._policy(), request.query_params
        state = given.get("state", "")[:_LONGEST]
        if not hmac.compare_digest(state.encode(), request.cookies.get(_COOKIE, "").encode()) or not state:
            raise OperatorRefused("not_signed_in", "This sign-in was not begun in this browser.", _AGAIN)
        page = await asyncio.to_thread(self._sign_ins.finish, state)
        if given.get("iss", policy.issuer) != policy.issuer:
            raise OperatorRefused("not_signed_in", "The answer is from another identity provider.", _AGAIN)
        if "code" not in given:
            said = given.get("error", "")
            why = f" ({said})" if _ERROR.fullmatch(said) else ""
            raise OperatorRefused("not_signed_in", f"The identity provider let nobody in{why}.", _AGAIN)
        claims = await self._claims(request, policy, given["code"][:_LONGEST], state)
        operator, groups = _operator(policy, claims)
        cookie = await asyncio.to_thread(self._guard.store.open_session, operator, groups=groups)
        response = entered(request, cookie, page)
        response.delete_cookie(_COOKIE, path="/console/sign-in")
        return response

    def _policy(self) -> OperatorPolicy:
        policy = self._guard.services.registry.operators
        if policy is None:
            hint = "Sign in with an operator's token, or ask the CoE for `operators` in registry.yaml."
            raise OperatorRefused("not_found", "There is no identity provider to sign in at.", hint)
        return policy

    async def _metadata(self, policy: OperatorPolicy) -> Mapping[str, Any]:  # Any: JSON
        try:
            return await self._openid.metadata(policy.issuer)
        except TokenRefusedError as refused:
            raise OperatorRefused("provider_away", refused.message, "Try again in a moment.") from None

    async def _claims(self, request: Request, policy: OperatorPolicy, code: str, state: str) -> dict[str, Any]:
        """Return what the identity provider says of whoever brought this code."""
        metadata = await self._metadata(policy)
        question = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": _callback(request, policy),
            "client_id": policy.client_id,
            "code_verifier": self._sign_ins.verifier(state),
        }
        secret = self._variable(policy.client_secret_env) if policy.client_secret_env else None
        headers = _client_authentication(policy.client_id, secret) if secret else {}
        try:
            async with open_session() as session:
                answer = await fetch_json(session, "POST", metadata["token_endpoint"], data=question, headers=headers)
                claims = await self._openid.claims(str(answer.get("id_token", "")), _expected(policy))
                _check_own(policy, claims, self._sign_ins.nonce(state))
                return await _with_userinfo(session, policy, metadata, answer, claims)
        except TokenRefusedError as refused:
            raise OperatorRefused("not_signed_in", f"{refused.message} ({refused.flaw})", _AGAIN) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("a sign-in could not be finished: %s", type(error).__name__)
            words = "The identity provider did not take the code: it was used before, or is too old."
            raise OperatorRefused("not_signed_in", words, _AGAIN) from None


def _client_authentication(client_id: str, secret: str) -> dict[str, str]:
    """Return the header of `client_secret_basic` (RFC 6749, section 2.3.1: both parts in form encoding)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _expected(policy: OperatorPolicy) -> Expected:
    return Expected(policy.issuer, policy.client_id, policy.algorithms)


def _check_own(policy: OperatorPolicy, claims: Mapping[str, Any], nonce: str) -> None:
    """Refuse a token that was made for another sign-in, or for another client as well."""
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise TokenRefusedError("claim_missing", "The token is not of this sign-in.")
    if claims.get("azp", policy.client_id) != policy.client_id:
        raise TokenRefusedError("wrong_audience", "The token was made for another client.")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise TokenRefusedError("claim_missing", "The token does not say who it is about.")


async def _with_userinfo(
    session: aiohttp.ClientSession,
    policy: OperatorPolicy,
    metadata: Mapping[str, Any],
    answer: Mapping[str, Any],
    claims: dict[str, Any],
) -> dict[str, Any]:
    """Return the claims, with those that some providers tell only when they are asked for them."""
    missing = policy.email_claim not in claims or policy.groups_claim not in claims
    if not missing or "userinfo_endpoint" not in metadata or "access_token" not in answer:
        return claims
    headers = {"authorization": f"Bearer {answer['access_token']}"}
    told = await fetch_json(session, "GET", metadata["userinfo_endpoint"], headers=headers)
    if told.get("sub") != claims["sub"]:  # OpenID Connect Core 1.0, section 5.3.2
        raise TokenRefusedError("claim_missing", "The identity provider tells of somebody else.")
    return told | claims


def _operator(policy: OperatorPolicy, claims: Mapping[str, Any]) -> tuple[Operator, tuple[str, ...]]:
    """Return who it is, and their groups.

    Raises:
        OperatorRefused: role_missing; the CoE gave them none.
    """
    email = claims.get(policy.email_claim)
    if not isinstance(email, str) or not (policy.unverified_email or claims.get("email_verified") is True):
        email = None
    given = claims.get(policy.groups_claim)
    groups = tuple(group for group in given if isinstance(group, str)) if isinstance(given, list) else ()
    name = str(claims.get("name") or email or claims["sub"])[:200]
    roles = policy.roles_of(email, groups)
    if not roles:
        raise OperatorRefused(
            "role_missing",
            "You are known, and have no role here.",
            "Ask the CoE: `operators.roles` in registry.yaml names who is what, by group or by verified address.",
        )
    return Operator(oidc_subject(policy, claims["sub"]), name, email, roles, "oidc"), groups


def _callback(request: Request, policy: OperatorPolicy) -> str:
    base = policy.console_url or f"{request.url.scheme}://{request.url.netloc}"
    return f"{base.rstrip('/')}{CALLBACK}"


def _keep_state(request: Request, response: Response, state: str) -> None:
    response.set_cookie(
        _COOKIE,
        state,
        max_age=int(LIFE.total_seconds()),
        path="/console/sign-in",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
