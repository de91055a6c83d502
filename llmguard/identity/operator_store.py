"""Operators' tokens and sessions at rest in `state.db`: issued, rotated, revoked; opened, looked up, ended.

Of a token or a session's cookie only a keyed digest is stored, as of app keys. Every call reads the file: nobody works
in the console so fast that it would be felt, and whatever was revoked is over with the next click, in every worker.
"""

import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from llmguard.audit.log import append
from llmguard.domain.clock import Clock
from llmguard.domain.identity import ROLES, Role
from llmguard.domain.operators import Operator, OperatorRefused, SignInMethod
from llmguard.domain.secrets import derive_key
from llmguard.domain.state_file import open_state, transaction
from llmguard.identity.key_text import OPERATOR_PREFIX, is_well_formed, key_digest, new_key_id, new_key_text

_PURPOSE: Final = "identity/operator-digest"
_CREATE: Final = (
    """
CREATE TABLE IF NOT EXISTS operator_tokens (
    token_id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL, roles TEXT NOT NULL,
    created_at TEXT NOT NULL, created_by TEXT NOT NULL, expires_at TEXT, revoked_at TEXT, revoked_by TEXT
) WITHOUT ROWID""",
    """
CREATE TABLE IF NOT EXISTS operator_sessions (
    digest BLOB PRIMARY KEY, subject TEXT NOT NULL, name TEXT NOT NULL, email TEXT, groups TEXT NOT NULL,
    token_id TEXT REFERENCES operator_tokens (token_id), opened_at TEXT NOT NULL, seen_at TEXT NOT NULL
) WITHOUT ROWID""",
)
_COLUMNS: Final = "token_id, name, roles, created_at, created_by, expires_at, revoked_at, revoked_by"
_INSERT: Final = """
INSERT INTO operator_tokens (token_id, digest, name, roles, created_at, created_by, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
_TOKENS: Final = f"SELECT {_COLUMNS} FROM operator_tokens ORDER BY created_at, token_id"  # noqa: S608 - a constant
_TOKEN: Final = f"SELECT {_COLUMNS} FROM operator_tokens WHERE token_id = ?"  # noqa: S608 - as above
_BY_DIGEST: Final = f"SELECT {_COLUMNS} FROM operator_tokens WHERE digest = ?"  # noqa: S608 - as above
_NEW_DIGEST: Final = (
    "UPDATE operator_tokens SET digest = ?, created_at = ?, created_by = ?, expires_at = ? WHERE token_id = ?"
)
_REVOKE: Final = "UPDATE operator_tokens SET revoked_at = ?, revoked_by = ? WHERE token_id = ?"
_END_SESSIONS_OF: Final = "DELETE FROM operator_sessions WHERE token_id = ?"
_OPEN: Final = """
INSERT INTO operator_sessions (digest, subject, name, email, groups, token_id, opened_at, seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_SESSION: Final = """
SELECT subject, name, email, groups, token_id, opened_at, seen_at FROM operator_sessions WHERE digest = ?"""
_SEEN: Final = "UPDATE operator_sessions SET seen_at = ? WHERE digest = ?"
_CLOSE: Final = "DELETE FROM operator_sessions WHERE digest = ?"
_CLOSE_OLD: Final = "DELETE FROM operator_sessions WHERE seen_at < ? OR opened_at < ?"
_CLOSE_OF: Final = "DELETE FROM operator_sessions WHERE subject = ?"

IDLE: Final = timedelta(hours=1)
LONGEST: Final = timedelta(hours=12)
_SEEN_EVERY: Final = timedelta(minutes=1)  # else every click would write
_SIGN_IN: Final = "Sign in at /console/sign-in, or send 'Authorization: Bearer op-lg_…'."


class UnknownToken(LookupError):
    """No operator's token has this id."""


@dataclass(frozen=True, slots=True)
class OperatorToken:
    """What a list shows of an operator's token."""

    token_id: str
    name: str
    roles: tuple[Role, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None

    def state_at(self, now: datetime) -> str:
        """Return valid, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"

    def operator(self) -> Operator:
        """Return whoever holds it."""
        email = self.name if "@" in self.name else None
        return Operator(f"token:{self.token_id}", self.name, email, frozenset(self.roles), "token")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token at the only moment its text is known."""

    token: OperatorToken
    secret_text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in, by what their sign-in said; which roles that means now is asked elsewhere.

    Attributes:
        token: the token that they signed in with, if it was one; it is in force.
        groups: what the identity provider said of them.
    """

    subject: str
    name: str
    email: str | None
    groups: tuple[str, ...]
    token: OperatorToken | None

    @property
    def method(self) -> SignInMethod:
        """How they signed in."""
        return "oidc" if self.token is None else "token"


class OperatorStore:
    """The operators of one data folder. Each call opens its own connection and may block for a moment."""

    def __init__(self, path: Path, secret: bytes, clock: Clock, *, create: bool = True) -> None:
        """Open `state.db`; `create` makes the file, with mode 0600, when it is missing.

        Raises:
            sqlite3.Error, OSError: the file cannot be opened or written.
        """
        self._path = path
        self._digest_key = derive_key(secret, _PURPOSE)
        self._clock = clock
        with closing(open_state(path, create=create)) as connection:
            for statement in _CREATE:
                connection.execute(statement)

    def issue(self, name: str, roles: Sequence[Role] = ROLES, *, ttl: timedelta | None = None, who: str) -> IssuedToken:
        """Store a new token and return it; without `ttl` it does not expire by itself."""
        now = self._clock.now()
        token_id = new_key_id()
        text = new_key_text(token_id, OPERATOR_PREFIX)
        expires_at = None if ttl is None else now + ttl
        row = (token_id, self._digest(text), name, json.dumps(roles), _text(now), who, _text(expires_at))
        with self._writing() as connection:
            connection.execute(_INSERT, row)
            facts = {"name": name, "roles": list(roles), "expires_at": _text(expires_at)}
            append(connection, now, who=who, what="operator_token.issued", subject=token_id, facts=facts)
        return IssuedToken(OperatorToken(token_id, name, tuple(roles), now, who, expires_at, None, None), text)

    def tokens(self) -> tuple[OperatorToken, ...]:
        """Return every token, oldest first; those that ended too."""
        with closing(open_state(self._path)) as connection:
            return tuple(_token(row) for row in connection.execute(_TOKENS))

    def rotate(self, token_id: str, *, ttl: timedelta | None = None, who: str) -> IssuedToken:
        """Give a token a new secret; the old one and the sessions opened with it end at once.

        Raises:
            UnknownToken: there is none that is not revoked.
        """
        now = self._clock.now()
        text = new_key_text(token_id, OPERATOR_PREFIX)
        with self._writing() as connection:
            token = self._found(connection, token_id)
            if token.revoked_at is not None:
                raise UnknownToken(token_id)
            connection.execute(
                _NEW_DIGEST, (self._digest(text), _text(now), who, _text(None if ttl is None else now + ttl), token_id)
            )
            connection.execute(_END_SESSIONS_OF, (token_id,))
            append(connection, now, who=who, what="operator_token.rotated", subject=token_id)
            return IssuedToken(self._found(connection, token_id), text)

    def revoke(self, token_id: str, *, who: str) -> None:
        """End a token and the sessions opened with it.

        Raises:
            UnknownToken: there is none.
        """
        with self._writing() as connection:
            if self._found(connection, token_id).revoked_at is None:
                now = self._clock.now()
                connection.execute(_REVOKE, (_text(now), who, token_id))
                connection.execute(_END_SESSIONS_OF, (token_id,))
                append(connection, now, who=who, what="operator_token.revoked", subject=token_id)

    def token_of(self, text: str) -> OperatorToken:
        """Return the token that a text is, if it is in force.

        Raises:
            OperatorRefused: not_signed_in.
        """
        row = None
        if text.startswith(OPERATOR_PREFIX) and is_well_formed(text):
            with closing(open_state(self._path)) as connection:
                row = connection.execute(_BY_DIGEST, (self._digest(text),)).fetchone()
        token = None if row is None else _token(row)
        match token and token.state_at(self._clock.now()):
            case "valid":
                return token  # type: ignore[return-value]  # a state means that there is one
            case "expired" | "revoked" as state:
                hint = "Make a new one at the machine: `llmguard operator token`."
                raise OperatorRefused("not_signed_in", f"This operator's token is {state}.", hint)
            case _:
                hint = "Copy it again, whole, or make a new one at the machine: `llmguard operator token`."
                raise OperatorRefused("not_signed_in", "This operator's token is not known here.", hint)

    def open_session(
        self, operator: Operator, *, token: OperatorToken | None = None, groups: Sequence[str] = ()
    ) -> str:
        """Begin a session and return what its cookie holds; sessions that are over are cleared away."""
        cookie = secrets.token_urlsafe(32)
        now = self._clock.now()
        token_id = None if token is None else token.token_id
        row = (self._digest(cookie), operator.subject, operator.name, operator.email, json.dumps(groups), token_id)
        with self._writing() as connection:
            connection.execute(_CLOSE_OLD, (_text(now - IDLE), _text(now - LONGEST)))
            connection.execute(_OPEN, (*row, _text(now), _text(now)))
            append(connection, now, who=operator.who, what="operator.signed_in", subject=operator.subject)
        return cookie

    def session_of(self, cookie: str, *, is_use: bool = True) -> Session:
        """Return the session of a cookie, if it goes on; that it was used is noted once a minute.

        Raises:
            OperatorRefused: not_signed_in.
        """
        now, digest = self._clock.now(), self._digest(cookie)
        with closing(open_state(self._path)) as connection:
            row = connection.execute(_SESSION, (digest,)).fetchone()
            if row is None:
                raise OperatorRefused("not_signed_in", "You are not signed in, or no longer.", _SIGN_IN)
            subject, name, email, groups, token_id, *times = row
            opened_at, seen_at = map(datetime.fromisoformat, times)
            token = None if token_id is None else self._found(connection, token_id)
            over = now - seen_at >= IDLE or now - opened_at >= LONGEST
            if over or (token is not None and token.state_at(now) != "valid"):
                connection.execute(_CLOSE, (digest,))
                raise OperatorRefused("not_signed_in", "Your session is over.", _SIGN_IN)
            if is_use and now - seen_at >= _SEEN_EVERY:
                connection.execute(_SEEN, (_text(now), digest))
        return Session(subject, name, email, tuple(json.loads(groups)), token)

    def close_session(self, cookie: str) -> None:
        """End one session."""
        with self._writing() as connection:
            connection.execute(_CLOSE, (self._digest(cookie),))

    def close_sessions_of(self, subject: str) -> int:
        """End every session of somebody, and return how many there were."""
        with self._writing() as connection:
            return connection.execute(_CLOSE_OF, (subject,)).rowcount

    def _digest(self, text: str) -> bytes:
        return key_digest(text, self._digest_key)

    def _found(self, connection: sqlite3.Connection, token_id: str) -> OperatorToken:
        row = connection.execute(_TOKEN, (token_id,)).fetchone()
        if row is None:
            raise UnknownToken(token_id)
        return _token(row)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with closing(open_state(self._path)) as connection:
            connection.execute("PRAGMA synchronous = FULL")  # a revocation cannot come undone by a power failure
            with transaction(connection):
                yield connection


def _token(row: tuple[Any, ...]) -> OperatorToken:
    token_id, name, roles, created_at, created_by, expires_at, revoked_at, revoked_by = row
    created, *ends = (
        None if text is None else datetime.fromisoformat(text) for text in (created_at, expires_at, revoked_at)
    )
    if created is None:
        raise AssertionError("a token has a beginning")
    return OperatorToken(token_id, name, tuple(json.loads(roles)), created, created_by, ends[0], ends[1], revoked_by)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat(timespec="microseconds")
