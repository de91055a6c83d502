"""Identity providers of the company: their discovery documents and keys, fetched and kept; their tokens, checked.

A token is believed when its algorithm is one that registry.yaml allows (never none, never a shared secret), its key is
one that the issuer publishes, the signature holds, and issuer, audience and times are right. Keys are kept for an hour;
a token with an unknown key id has them fetched again, at most once a minute, so that nobody can make llmguard flood a
provider. Documents are fetched over https, or from this machine, without following redirects.

Source: OpenID Connect Discovery 1.0, section 4; OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725 (JWT practices).
"""

import asyncio
import json
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, RSAKey
from joserfc.jwt import JWTClaimsRegistry

from llmguard.domain.clock import Clock

_log = logging.getLogger(__name__)
TokenFlaw = Literal[
    "malformed",
    "algorithm_not_allowed",
    "unknown_key_id",
    "bad_signature",
    "wrong_issuer",
    "wrong_audience",
    "expired",
    "not_yet_valid",
    "claim_missing",
    "provider_unreachable",
]
_KEYS_LIVE_NS: Final = 3600 * 10**9
_KEYS_DIE_NS: Final = 24 * 3600 * 10**9  # a provider may be away for so long, and no longer
_REFRESH_NS: Final = 60 * 10**9
_FIRST_PAUSE_NS: Final = 5 * 10**9  # while nothing was ever fetched
_SKEW_SECONDS: Final = 60
_MOST_BYTES: Final = 512 * 1024
_MOST_CHARACTERS: Final = 16_384
_PATIENCE: Final = aiohttp.ClientTimeout(total=10, connect=5)
_NOT_YET: Final = frozenset({"nbf", "iat"})


class TokenRefusedError(Exception):
    """A token of an identity provider is not believed; the words hold nothing of it, and nothing of its keys."""

    def __init__(self, flaw: TokenFlaw, message: str) -> None:
        super().__init__(message)
        self.flaw = flaw
        self.message = message


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say of itself."""

    issuer: str
    audience: str
    algorithms: Collection[str]


@dataclass(slots=True)
class _Provider:
    """What is known of one issuer."""

    metadata: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    keys: list[Key] = field(default_factory=list)
    fetched_ticks: int | None = None
    tried_ticks: int | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class OpenIdProviders:
    """The identity providers of one worker."""

    def __init__(self, clock: Clock) -> None:
        """Know nobody yet; documents are fetched when they are needed."""
        self._clock = clock
        self._providers: dict[str, _Provider] = {}

    async def claims(self, token: str, expected: Expected) -> dict[str, Any]:  # Any: JSON
        """Return the claims of a token that is believed.

        Raises:
            TokenRefusedError: it is not, and why.
        """
        if len(token) > _MOST_CHARACTERS:
            raise TokenRefusedError("malformed", "The token is too long.")
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError):
            raise TokenRefusedError("malformed", "This is no JSON web token.") from None
        algorithm = str(header.get("alg"))
        if algorithm not in expected.algorithms:
            raise TokenRefusedError("algorithm_not_allowed", "The token is signed in a way that is not allowed.")
        key = await self._key(expected.issuer, header.get("kid"), algorithm)
        try:
            claims = jwt.decode(token, key, algorithms=[algorithm]).claims
        except BadSignatureError:
            raise TokenRefusedError("bad_signature", "The signature of the token is wrong.") from None
        except (JoseError, ValueError):
            raise TokenRefusedError("malformed", "The token cannot be read.") from None
        self._check(claims, expected)
        return claims

    async def metadata(self, issuer: str) -> Mapping[str, Any]:  # Any: JSON
        """Return the discovery document of an issuer.

        Raises:
            TokenRefusedError: provider_unreachable.
        """
        provider = self._provider(issuer)
        if not self._is_fresh(provider):
            await self._refresh(issuer, provider)
        return provider.metadata

    def _provider(self, issuer: str) -> _Provider:
        return self._providers.setdefault(issuer, _Provider())

    def _is_fresh(self, provider: _Provider) -> bool:
        return provider.fetched_ticks is not None and self._clock.ticks() - provider.fetched_ticks < _KEYS_LIVE_NS

    async def _key(self, issuer: str, key_id: object, algorithm: str) -> Key:
        provider = self._provider(issuer)
        if not self._is_fresh(provider):
            await self._refresh(issuer, provider)
        key = _find(provider.keys, key_id, algorithm)
        if key is None:
            await self._refresh(issuer, provider)
            key = _find(provider.keys, key_id, algorithm)
        if key is None:
            raise TokenRefusedError("unknown_key_id", "The token's key is not one that its issuer publishes.")
        return key

    async def _refresh(self, issuer: str, provider: _Provider) -> None:
        """Fetch documents again, at most once a minute whatever asks; keys that are there stay if that fails."""
        async with provider.lock:
            now = self._clock.ticks()
            pause = _REFRESH_NS if provider.fetched_ticks is not None else _FIRST_PAUSE_NS
            if provider.tried_ticks is None or now - provider.tried_ticks >= pause:
                provider.tried_ticks = now
                try:
                    provider.metadata, provider.keys = await _fetch(issuer)
                    provider.fetched_ticks = now
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
                    _log.warning("an identity provider cannot be used: %s", type(error).__name__)
            if provider.fetched_ticks is None or now - provider.fetched_ticks >= _KEYS_DIE_NS:
                raise TokenRefusedError(
                    "provider_unreachable", "The identity provider does not answer, or its documents cannot be used."
                )

    def _check(self, claims: dict[str, Any], expected: Expected) -> None:  # Any: JSON
        """Refuse what the claims say of issuer, audience and time."""
        registry = JWTClaimsRegistry(
            now=int(self._clock.now().timestamp()),
            leeway=_SKEW_SECONDS,
            iss={"essential": True, "value": expected.issuer},
            aud={"essential": True, "value": expected.audience},
            exp={"essential": True},
        )
        try:
            registry.validate(claims)
        except ExpiredTokenError:
            raise TokenRefusedError("expired", "The token has expired.") from None
        except ClaimError as error:
            raise _claim_refused(error.claim, claims) from None
        except (JoseError, TypeError, ValueError):
            raise TokenRefusedError("malformed", "The claims of the token cannot be read.") from None


def is_safe(url: str) -> bool:
    """Whether what is fetched there cannot be changed on its way."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"})


async def fetch_json(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> dict[str, Any]:
    """Return the JSON object that a provider answers.

    Raises:
        ValueError: the address is not safe, or the answer is no JSON object, too long, or no success.
        aiohttp.ClientError, TimeoutError: it did not answer.
    """
    if not is_safe(url):
        raise ValueError("an identity provider is asked over https only")
    async with session.request(method, url, allow_redirects=False, **options) as answer:
        content = await answer.content.read(_MOST_BYTES + 1)
        while len(content) <= _MOST_BYTES and not answer.content.at_eof():
            content += await answer.content.read(_MOST_BYTES + 1 - len(content))
        if answer.status != 200 or len(content) > _MOST_BYTES:  # noqa: PLR2004 - as HTTP has it
            raise ValueError(f"it answered {answer.status}")
    value = json.loads(content)
    if not isinstance(value, dict):
        raise TypeError("it answered no object")
    return value


def open_session() -> aiohttp.ClientSession:
    """Return a session for a provider: patient for seconds, and without the cookies of an earlier one."""
    return aiohttp.ClientSession(timeout=_PATIENCE, cookie_jar=aiohttp.DummyCookieJar())


async def _fetch(issuer: str) -> tuple[dict[str, Any], list[Key]]:
    async with open_session() as session:
        metadata = await fetch_json(session, "GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if metadata["issuer"] != issuer:
            raise ValueError("the discovery document is of another issuer")
        published = await fetch_json(session, "GET", metadata["jwks_uri"])
    return metadata, _signing_keys(published["keys"])


def _signing_keys(published: list[dict[str, Any]]) -> list[Key]:
    """Return the keys that sign; what is of a kind that nobody here knows, or broken, is left out."""
    keys: list[Key] = []
    for one in published:
        if one.get("kty") in {"RSA", "EC"} and one.get("use", "sig") == "sig":
            with suppress(JoseError, ValueError, TypeError):
                keys.append(JWKRegistry.import_key(one))
    return keys


def _find(keys: list[Key], key_id: object, algorithm: str) -> Key | None:
    """Return the key of a token; one that names none is believed only where there is just one it can be."""
    kind: type[Key] = ECKey if algorithm.startswith("ES") else RSAKey
    fitting = [key for key in keys if isinstance(key, kind) and key.get("alg") in (None, algorithm)]
    if key_id is None:
        return fitting[0] if len(fitting) == 1 else None
    return next((key for key in fitting if key.get("kid") == key_id), None)


def _claim_refused(claim: str, claims: Mapping[str, Any]) -> TokenRefusedError:
    match claim:
        case _ if claim not in claims:
            return TokenRefusedError("claim_missing", f"The token has no claim {claim}.")
        case "iss":
            return TokenRefusedError("wrong_issuer", "The token is from another issuer.")
        case "aud":
            return TokenRefusedError("wrong_audience", "The token is for another audience.")
        case _ if claim in _NOT_YET:
            return TokenRefusedError("not_yet_valid", "The token is not valid yet; look at the clocks.")
    return TokenRefusedError("malformed", f"The claim {claim} of the token cannot be read.")
