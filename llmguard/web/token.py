"""`POST /auth/token`: an app's key, or a token of the company's identity provider, for a token of a quarter of an hour.

Token exchange as RFC 8693 has it, with OAuth's errors (RFC 6749, section 5.2): a form goes in, JSON comes out. Each
refusal has a code of its own besides, and says nothing of other keys, tokens or apps.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from joserfc import jws
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmguard.domain.catalog import KeyEnvironment, KeyScope
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import Fault, GuardError, Refusal
from llmguard.domain.identity import IdentityProvider
from llmguard.gateway.services import Services
from llmguard.identity.app_tokens import AppToken, TokenMint
from llmguard.identity.key_text import PREFIX
from llmguard.identity.openid import Expected, OpenIdProviders, TokenRefusedError
from llmguard.identity.scopes import ENDPOINTS, PROVIDER_ORIGIN, narrowed
from llmguard.policy.decide import check_app
from llmguard.web.forms import read_form

TOKEN: Final = "/auth/token"  # noqa: S105 - a path
JWKS: Final = "/.well-known/jwks.json"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_TYPES: Final = "urn:ietf:params:oauth:token-type:"
_APP_KEY: Final = "urn:llmguard:params:oauth:token-type:app-key"
_KEY_TYPES: Final = frozenset({_APP_KEY, f"{_TYPES}access_token"})
_JWT_TYPES: Final = frozenset({f"{_TYPES}jwt", f"{_TYPES}id_token", f"{_TYPES}access_token"})
_NO_STORE: Final = {"cache-control": "no-store", "pragma": "no-cache"}
_MOST_CHARACTERS: Final = 16_384
OAuthError = Literal["invalid_request", "unsupported_grant_type", "invalid_scope", "temporarily_unavailable"]


class _ExchangeError(Exception):
    """The exchange is refused, in OAuth's words."""

    def __init__(self, error: OAuthError, code: str, description: str) -> None:
        super().__init__(description)
        self.error: OAuthError = error
        self.code = code
        self.description = description


@dataclass(frozen=True, slots=True)
class _Subject:
    """Who asks: an app, by what, with which limits, and until when that holds."""

    app: str
    origin: str
    scope: KeyScope | None
    until: datetime | None


class TokenExchange:
    """Gives tokens to apps, and the keys that check them to everybody."""

    def __init__(self, services: Services, mint: TokenMint, openid: OpenIdProviders) -> None:
        """Answer with these services."""
        self._services = services
        self._mint = mint
        self._openid = openid

    async def exchange(self, request: Request) -> Response:
        """`POST /auth/token`."""
        try:
            text, token = await self._token(await read_form(request))
        except _ExchangeError as error:
            status = 503 if error.error == "temporarily_unavailable" else 400
            body = {"error": error.error, "error_description": error.description, "code": error.code}
            return JSONResponse(body, status, headers=_NO_STORE)
        seconds = int((token.expires_at - self._services.clock.now()).total_seconds())
        answer: JsonObject = {
            "access_token": text,
            "issued_token_type": f"{_TYPES}access_token",
            "token_type": "Bearer",
            "expires_in": max(seconds, 0),
            "scope": scope_text(token.scope),
        }
        return JSONResponse(answer, headers=_NO_STORE)

    async def keys(self, request: Request) -> Response:
        """`GET /.well-known/jwks.json`."""
        del request
        return JSONResponse(self._mint.jwks(), headers={"cache-control": "max-age=300"})

    async def _token(self, form: Mapping[str, str] | None) -> tuple[str, AppToken]:
        if form is None:
            raise _ExchangeError("invalid_request", "no_form", "Send a form: application/x-www-form-urlencoded.")
        if form.get("grant_type") != _GRANT:
            raise _ExchangeError("unsupported_grant_type", "grant_type", f"The grant_type is {_GRANT}.")
        wanted = _wanted(form.get("scope", ""))
        subject = await self._subject(form.get("subject_token", ""), form.get("subject_token_type", ""))
        self._check_app(subject.app)
        try:
            scope = narrowed(subject.scope, wanted)
        except ValueError as error:
            words = f"More was asked for than the key may do: {error}."
            raise _ExchangeError("invalid_scope", "scope_missing", words) from None
        return self._mint.issue(subject.app, subject.origin, scope, until=subject.until)

    async def _subject(self, token: str, kind: str) -> _Subject:
        if token.startswith(PREFIX):
            if kind not in _KEY_TYPES:
                raise _ExchangeError("invalid_request", "subject_token_type", f"For a key, this is {_APP_KEY}.")
            return self._of_key(token)
        if kind not in _JWT_TYPES:
            raise _ExchangeError("invalid_request", "subject_token_type", f"For a token, this is {_TYPES}jwt.")
        return await self._of_provider(token)

    def _of_key(self, text: str) -> _Subject:
        try:
            credential = self._services.keyring.authenticate(f"Bearer {text}")
            secret = self._services.keyring.look_up(text)
        except Fault as fault:
            raise _ExchangeError("temporarily_unavailable", fault.code, fault.message) from None
        except GuardError as refusal:
            raise _ExchangeError("invalid_request", refusal.code, refusal.message) from None
        ends = [] if secret is None else [end for end in (secret.expires_at, secret.retires_at) if end is not None]
        return _Subject(credential.app, credential.key_id, credential.scope, min(ends, default=None))

    async def _of_provider(self, token: str) -> _Subject:
        provider = self._provider_of(token)
        expected = Expected(provider.issuer, provider.audience, provider.algorithms)
        try:
            claims = await self._openid.claims(token, expected)
        except TokenRefusedError as refused:
            away = refused.flaw == "provider_unreachable"
            error: OAuthError = "temporarily_unavailable" if away else "invalid_request"
            raise _ExchangeError(error, refused.flaw, refused.message) from None
        app = provider.apps.get(str(claims.get(provider.app_claim, "")))
        if app is None:
            words = "registry.yaml names no app for what the token says of itself; ask the CoE."
            raise _ExchangeError("invalid_request", "app_unknown", words)
        return _Subject(app, f"{PROVIDER_ORIGIN}{provider.name}", None, datetime.fromtimestamp(claims["exp"], UTC))

    def _provider_of(self, token: str) -> IdentityProvider:
        """Return the provider whose token this says it is; by issuer, and where several share one, by audience."""
        try:
            claims = _unverified(token)
        except (JoseError, ValueError, TypeError, RecursionError):
            words = "The subject_token is neither a key nor a token."
            raise _ExchangeError("invalid_request", "malformed", words) from None
        providers = self._services.registry.identity_providers.values()
        of_issuer = [provider for provider in providers if provider.issuer == claims.get("iss")]
        if not of_issuer:
            words = "The token is from an issuer that registry.yaml does not name; ask the CoE."
            raise _ExchangeError("invalid_request", "wrong_issuer", words)
        audiences = claims.get("aud")
        named = audiences if isinstance(audiences, list) else [audiences]
        return next((provider for provider in of_issuer if provider.audience in named), of_issuer[0])

    def _check_app(self, name: str) -> None:
        app = self._services.registry.apps.get(name)
        if app is None:
            raise _ExchangeError("invalid_request", "app_not_approved", f"The app {name} is not in the catalog.")
        try:
            check_app(app, today=self._services.clock.now().date(), origin=None)
        except Refusal as refusal:
            raise _ExchangeError("invalid_request", refusal.code, refusal.message) from None


def scope_text(scope: KeyScope) -> str:
    """Return a scope as OAuth writes it: words with spaces between them; none where it limits nothing."""
    words = [f"endpoint:{name}" for name in scope.endpoints or ()]
    words += [f"preset:{name}" for name in scope.presets or ()]
    return " ".join([*words, *(["environment:sandbox"] if scope.environment == "sandbox" else [])])


def _wanted(text: str) -> KeyScope:
    """Return what is asked for; of a kind that is not named, all that the key may."""
    endpoints: list[str] = []
    presets: list[str] = []
    environment: KeyEnvironment = "production"
    for word in text.split():
        kind, _, name = word.partition(":")
        if kind == "endpoint" and name in ENDPOINTS:
            endpoints.append(name)
        elif kind == "preset" and name:
            presets.append(name)
        elif word == "environment:sandbox":
            environment = "sandbox"
        else:
            words = f"A scope is preset:NAME, environment:sandbox, or endpoint: with one of {', '.join(ENDPOINTS)}."
            raise _ExchangeError("invalid_scope", "scope", words)
    return KeyScope(tuple(endpoints) or None, tuple(presets) or None, environment)


def _unverified(token: str) -> JsonObject:
    """Return what a token says before anything of it is believed: only to know whose it claims to be."""
    claims = json.loads(jws.extract_compact(token[:_MOST_CHARACTERS].encode()).payload or b"")
    if not isinstance(claims, dict):
        raise TypeError("claims are an object")
    return claims
