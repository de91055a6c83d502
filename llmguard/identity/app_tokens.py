"""Short-lived tokens of apps: JWTs that we sign, for a quarter of an hour, bound to one app and to what it may do.

They are signed with ES256; the key is derived from the installation's secret, so every worker has it and no file holds
it. Reading one costs a signature; what was read is remembered by its digest until it ends, so that only the first
request with a token pays for it. Whether the key that a token came from is still in force is asked at every request,
by the keyring.

Source: RFC 7519 (JWT), RFC 7517 (JWK), RFC 7638 (key ids), RFC 9068 for the type at+jwt.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey

from llmguard.domain.catalog import KeyScope
from llmguard.domain.clock import Clock
from llmguard.domain.errors import Refusal, RefusalCode
from llmguard.domain.secrets import derive_key
from llmguard.identity.key_text import new_key_id
from llmguard.identity.scopes import scope_of, stored

ISSUER: Final = "urn:llmguard"
AUDIENCE: Final = "urn:llmguard:v1"
LIFE: Final = timedelta(minutes=15)
_ALGORITHM: Final = "ES256"
_TYPE: Final = "at+jwt"
_MOST_CHARACTERS: Final = 8192
_MOST_REMEMBERED: Final = 10_000
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # FIPS 186-4, D.1.2.3
_NEW_ONE: Final = (
    "Get a new one: POST /auth/token with the app's key, or with a token of the company's identity provider."
)


@dataclass(frozen=True, slots=True)
class AppToken:
    """What one of our tokens says.

    Attributes:
        app: whose it is.
        origin: the id of the key that it came from, or `idp:NAME` of an identity provider.
        scope: what it may do of what its app may.
        expires_at: when it ends.
    """

    app: str
    origin: str
    scope: KeyScope
    expires_at: datetime


class TokenMint:
    """Signs tokens and reads them again."""

    def __init__(self, secrets: Sequence[bytes], clock: Clock) -> None:
        """Sign with the first of the installation's secrets; tokens signed under the others are still read."""
        keys = [_signing_key(secret) for secret in secrets]
        self._key = keys[0]
        self._by_id = {key.thumbprint(): key for key in keys}
        self._clock = clock
        self._remembered: OrderedDict[bytes, AppToken] = OrderedDict()

    def issue(
        self, app: str, origin: str, scope: KeyScope | None, *, until: datetime | None = None
    ) -> tuple[str, AppToken]:
        """Return a new token, for a quarter of an hour, or `until` where that is earlier."""
        now = self._clock.now()
        ends = min(now + LIFE, until or now + LIFE).replace(microsecond=0)
        token = AppToken(app, origin, scope or KeyScope(), ends)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": app,
            "client_id": app,
            "origin": origin,
            "limits": stored(scope),
            "iat": int(now.timestamp()),
            "exp": int(ends.timestamp()),
            "jti": new_key_id(),
        }
        header = {"alg": _ALGORITHM, "typ": _TYPE, "kid": self._key.thumbprint()}
        return jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM]), token

    def read(self, text: str) -> AppToken:
        """Return what a token says, if it is ours and has not ended.

        Raises:
            Refusal: invalid_api_key or key_expired, in words that say nothing of other tokens or keys.
        """
        if len(text) > _MOST_CHARACTERS:
            raise _refused("invalid_api_key", "This is no token of llmguard: it is too long.")
        digest = hashlib.sha256(text.encode()).digest()
        token = self._remembered.get(digest)
        if token is None:
            token = self._verified(text)
            self._remembered[digest] = token
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        if token.expires_at <= self._clock.now():
            self._remembered.pop(digest, None)
            raise _refused("key_expired", f"This token ended at {token.expires_at:%Y-%m-%d %H:%M:%S} UTC.")
        return token

    def jwks(self) -> dict[str, Any]:  # Any: JSON
        """Return the public keys, as `/.well-known/jwks.json` shows them."""
        facts = {"use": "sig", "alg": _ALGORITHM}
        return {"keys": [key.as_dict(private=False) | facts | {"kid": kid} for kid, key in self._by_id.items()]}

    def _verified(self, text: str) -> AppToken:
        try:
            header = jws.extract_compact(text.encode()).headers()
        except (JoseError, ValueError):
            raise _refused("invalid_api_key", "This looks like a token, and cannot be read as one.") from None
        if header.get("alg") != _ALGORITHM:
            raise _refused("invalid_api_key", "This token is not signed the way that llmguard signs.")
        key = self._by_id.get(str(header.get("kid")))
        if key is None:
            raise _refused("invalid_api_key", "This token was signed with a key that is not llmguard's.")
        try:
            claims = jwt.decode(text, key, algorithms=[_ALGORITHM]).claims
        except BadSignatureError:
            raise _refused("invalid_api_key", "The signature of this token is wrong.") from None
        except (JoseError, ValueError):
            raise _refused("invalid_api_key", "This token cannot be read.") from None
        if header.get("typ") != _TYPE or claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
            raise _refused("invalid_api_key", "This token is not for this use.")
        ends = datetime.fromtimestamp(claims["exp"], UTC)
        return AppToken(claims["sub"], claims["origin"], scope_of(claims["limits"]) or KeyScope(), ends)


def _signing_key(secret: bytes) -> ECKey:
    """Return the key of an installation's secret.

    Source: FIPS 186-5, A.2.1: 64 more bits than the order has, so that the remainder has no bias worth naming.
    """
    wide = b"".join(derive_key(secret, f"identity/token-signing/{part}") for part in ("1", "2"))
    private = ec.derive_private_key(int.from_bytes(wide[:40]) % (_P256_ORDER - 1) + 1, ec.SECP256R1())
    return ECKey.import_key(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _refused(code: RefusalCode, message: str) -> Refusal:
    return Refusal(code, message, hint=_NEW_ONE)
