"""Sign-ins at the company's identity provider that are under way: each state counts once, and for ten minutes.

Nonce and PKCE verifier are derived from the state with a key of the installation's secret, so only a digest of the
state is stored, for whichever worker the browser comes back to.

Source: RFC 7636 (PKCE), section 4; OpenID Connect Core 1.0, section 3.1.2.1 (state, nonce).
"""

import base64
import hashlib
import hmac
import secrets
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from llmguard.domain.clock import Clock
from llmguard.domain.operators import OperatorRefused
from llmguard.domain.secrets import derive_key
from llmguard.domain.state_file import open_state, transaction

LIFE: Final = timedelta(minutes=10)
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS operator_sign_ins (
    digest BLOB PRIMARY KEY, page TEXT NOT NULL, begun_at TEXT NOT NULL
) WITHOUT ROWID"""
_BEGIN: Final = "INSERT INTO operator_sign_ins (digest, page, begun_at) VALUES (?, ?, ?)"
_FORGET_OLD: Final = "DELETE FROM operator_sign_ins WHERE begun_at <= ?"
_TAKE: Final = "DELETE FROM operator_sign_ins WHERE digest = ? RETURNING page, begun_at"


class SignIns:
    """The sign-ins of one data folder. Each call opens its own connection and may block for a moment."""

    def __init__(self, path: Path, secret: bytes, clock: Clock) -> None:
        """Use `state.db` at this path."""
        self._path = path
        self._key = derive_key(secret, "identity/sign-in")
        self._clock = clock

    def begin(self, page: str) -> str:
        """Return the state of a new sign-in, after which `page` is shown."""
        state = secrets.token_urlsafe(32)
        now = self._clock.now()
        with closing(open_state(self._path, create=True)) as connection:
            connection.execute(_CREATE)
            with transaction(connection):
                connection.execute(_FORGET_OLD, ((now - LIFE).isoformat(),))
                connection.execute(_BEGIN, (self._derived("digest", state), page, now.isoformat()))
        return state

    def finish(self, state: str) -> str:
        """Return the page to show after a sign-in that comes back now, for the first time.

        Raises:
            OperatorRefused: not_signed_in; it came back before, took too long, or was never begun.
        """
        with closing(open_state(self._path, create=True)) as connection:
            connection.execute(_CREATE)
            row = connection.execute(_TAKE, (self._derived("digest", state),)).fetchone()
        if row is None or datetime.fromisoformat(row[1]) <= self._clock.now() - LIFE:
            raise OperatorRefused(
                "not_signed_in",
                "This sign-in was finished before, or took too long.",
                "Begin again at /console/sign-in.",
            )
        return str(row[0])

    def nonce(self, state: str) -> str:
        """Return what the identity provider puts into the token of this sign-in."""
        return self._derived("nonce", state).hex()

    def verifier(self, state: str) -> str:
        """Return the PKCE code verifier of this sign-in: 43 characters."""
        return _base64(self._derived("verifier", state))

    def challenge(self, state: str) -> str:
        """Return the PKCE code challenge (S256) of this sign-in."""
        return _base64(hashlib.sha256(self.verifier(state).encode()).digest())

    def _derived(self, purpose: str, state: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}/{state}".encode(), "sha256")


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
