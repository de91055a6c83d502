"""App keys at rest in `state.db`: issued, listed, rotated, revoked.

Of a key's text only a keyed digest is stored (HMAC-SHA256 under a subkey of the installation secret): whoever reads
the file can neither use a key nor test guesses. Knows nothing of the catalog: whether an app exists is asked elsewhere.

A key id is stable; its secrets change. Rotation gives the id a new secret and lets older ones live until the overlap
ends. Every change raises the `revision`, by which running workers notice it.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from llmguard.audit.log import append
from llmguard.domain.catalog import KeyScope
from llmguard.domain.clock import Clock
from llmguard.domain.secrets import derive_key
from llmguard.domain.state_file import add_columns, open_state, transaction
from llmguard.identity.key_text import key_digest, new_key_id, new_key_text
from llmguard.identity.scopes import scope_of, stored

_CREATE_KEYS = """
CREATE TABLE IF NOT EXISTS keys (
    key_id TEXT PRIMARY KEY, app TEXT NOT NULL, created_at TEXT NOT NULL, rotated_at TEXT, revoked_at TEXT
)"""
_CREATE_SECRETS = """
CREATE TABLE IF NOT EXISTS key_secrets (
    digest BLOB PRIMARY KEY, key_id TEXT NOT NULL REFERENCES keys (key_id), created_at TEXT NOT NULL,
    expires_at TEXT, retires_at TEXT
) WITHOUT ROWID"""
_CREATE_REVISION = "CREATE TABLE IF NOT EXISTS key_revision (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER)"
_FIRST_REVISION = "INSERT OR IGNORE INTO key_revision (one, revision) VALUES (1, 0)"
_REVISION = "SELECT revision FROM key_revision"
_RAISE_REVISION = "UPDATE key_revision SET revision = revision + 1"
# NULL in files from before they were kept; `scope` is JSON, and NULL in a key that may do what its app may.
_LATER_COLUMNS = ("issued_by TEXT", "rotated_by TEXT", "revoked_by TEXT", "scope TEXT", "last_used_at TEXT")
_INSERT_KEY = "INSERT INTO keys (key_id, app, created_at, issued_by, scope) VALUES (?, ?, ?, ?, ?)"
_INSERT_SECRET = "INSERT INTO key_secrets (digest, key_id, created_at, expires_at) VALUES (?, ?, ?, ?)"  # noqa: S105 - SQL
_KEY = "SELECT app, created_at, revoked_at FROM keys WHERE key_id = ?"
# ISO 8601 texts of UTC instants with microseconds sort by time, so MIN keeps the earlier end.
_RETIRE_SECRETS = """
UPDATE key_secrets SET retires_at = MIN(COALESCE(retires_at, :retires_at), :retires_at) WHERE key_id = :key_id"""
_ROTATED = "UPDATE keys SET rotated_at = ?, rotated_by = ? WHERE key_id = ?"
_REKEY = "UPDATE OR IGNORE key_secrets SET digest = ? WHERE digest = ?"
_IN_FORCE = "SELECT key_id FROM keys WHERE app = ? AND revoked_at IS NULL ORDER BY key_id"
_REVOKE = "UPDATE keys SET revoked_at = ?, revoked_by = ? WHERE key_id = ?"
_USED = "UPDATE keys SET last_used_at = MAX(COALESCE(last_used_at, ''), ?) WHERE key_id = ?"
_LIST = """
SELECT keys.key_id, app, keys.created_at, rotated_at, revoked_at,
    (SELECT expires_at FROM key_secrets WHERE key_id = keys.key_id AND retires_at IS NULL),
    (SELECT MAX(retires_at) FROM key_secrets WHERE key_id = keys.key_id), issued_by, rotated_by, revoked_by,
    last_used_at, scope
FROM keys WHERE (:app IS NULL OR app = :app) AND (:key_id IS NULL OR keys.key_id = :key_id)
ORDER BY keys.created_at, keys.key_id"""
_SECRETS = """
SELECT digest, key_secrets.key_id, app, expires_at, retires_at, revoked_at, scope
FROM key_secrets JOIN keys ON keys.key_id = key_secrets.key_id"""


_PURPOSE = "identity/key-digest"
UNNAMED = "unnamed"


class UnknownKey(LookupError):
    """No key has this id."""


class RevokedKey(ValueError):
    """The key was revoked, so it cannot be rotated: issue a new one."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key at the only moment its text is known; `secret_text` is for the person who asked, never for a log."""

    key_id: str
    app: str
    secret_text: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Key:
    """What a list shows of a key. `expires_at` is that of the newest secret; `overlap_until` ends the older ones."""

    key_id: str
    app: str
    created_at: datetime
    rotated_at: datetime | None
    revoked_at: datetime | None
    expires_at: datetime | None
    overlap_until: datetime | None
    issued_by: str | None = None  # unknown of keys from before this was kept
    rotated_by: str | None = None
    revoked_by: str | None = None
    last_used_at: datetime | None = None  # to half a minute
    scope: KeyScope | None = None

    def is_unused_since(self, since: datetime) -> bool:
        """Whether nobody has used it from then on; a key that nobody ever used counts from when it was issued."""
        return (self.last_used_at or self.created_at) < since

    def state_at(self, now: datetime) -> str:
        """Return valid, rotating (an older secret still works), expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "rotating" if self.overlap_until is not None and self.overlap_until > now else "valid"


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of a key as workers check it. `retires_at` is set once a newer secret has taken its place."""

    digest: bytes = field(repr=False)
    key_id: str
    app: str
    expires_at: datetime | None
    retires_at: datetime | None
    revoked_at: datetime | None
    scope: KeyScope | None = None


class KeyStore:
    """The keys of one data folder. Each call opens its own connection, so every thread and process may share it.

    Attributes:
        digest_key: the subkey of all new digests; for the keyring of the same process.
        previous_digest_keys: those of the installation's secrets before; digests under them are still known.
    """

    def __init__(
        self, path: Path, secret: bytes, clock: Clock, *, create: bool = True, previous_secrets: Sequence[bytes] = ()
    ) -> None:
        """Open `state.db`.

        Args:
            path: the file.
            secret: of the installation.
            clock: tells when keys were issued and revoked.
            create: make the file, with mode 0600, when it is missing. Whoever only looks must not: an empty file in
                the place of one that was lost would have all quotas start anew.
            previous_secrets: of the installation, whose keys go on working.

        Raises:
            sqlite3.Error, OSError: the file cannot be opened or written.
        """
        self._path = path
        self.digest_key = derive_key(secret, _PURPOSE)
        self.previous_digest_keys = tuple(derive_key(one, _PURPOSE) for one in previous_secrets)
        self._clock = clock
        with closing(open_state(path, create=create)) as connection:
            for statement in (_CREATE_KEYS, _CREATE_SECRETS, _CREATE_REVISION, _FIRST_REVISION):
                connection.execute(statement)
            add_columns(connection, "keys", _LATER_COLUMNS)

    def issue(
        self, app: str, *, ttl: timedelta | None = None, who: str = UNNAMED, scope: KeyScope | None = None
    ) -> IssuedKey:
        """Store a new key for the app and return it; without `ttl` it does not expire by itself.

        Args:
            app: its name.
            ttl: how long the key is valid.
            who: issues it, for the audit log; so in all methods.
            scope: what it may do of what its app may; it stays with the key when that is rotated.

        Raises:
            ValueError: the time to live is not positive.
        """
        now = self._clock.now()
        expires_at = _expiry(now, ttl)
        key_id, limits = new_key_id(), stored(scope)
        with self._writing() as connection:
            connection.execute(_INSERT_KEY, (key_id, app, _text(now), who, limits and json.dumps(limits)))
            secret_text = self._add_secret(connection, key_id, now, expires_at)
            facts = {"expires_at": expires_at and _text(expires_at), "scope": limits}
            append(connection, now, who=who, what="key.issued", subject=key_id, app=app, facts=facts)
        return IssuedKey(key_id, app, secret_text, now, expires_at)

    def list(self, app: str | None = None) -> tuple[Key, ...]:
        """Return all keys, or those of one app, oldest first; revoked and expired ones too."""
        with closing(open_state(self._path)) as connection:
            rows = connection.execute(_LIST, {"app": app, "key_id": None}).fetchall()
        return tuple(_key(row) for row in rows)

    def find(self, key_id: str) -> Key:
        """Return one key.

        Raises:
            UnknownKey: there is no such key.
        """
        with closing(open_state(self._path)) as connection:
            row = connection.execute(_LIST, {"app": None, "key_id": key_id}).fetchone()
        if row is None:
            raise UnknownKey(f"There is no key with the id {key_id}; `llmguard keys list` shows all.")
        return _key(row)

    def rotate(self, key_id: str, *, overlap: timedelta, ttl: timedelta | None = None, who: str = UNNAMED) -> IssuedKey:
        """Give the key a new secret; no older one outlives the overlap, or its own end if that comes first.

        Raises:
            UnknownKey: there is no such key.
            RevokedKey: it was revoked.
            ValueError: the overlap is negative, or the time to live is not positive.
        """
        if overlap < timedelta(0):
            raise ValueError(f"The overlap of two secrets cannot be negative, and {overlap} is.")
        now = self._clock.now()
        expires_at = _expiry(now, ttl)
        with self._writing() as connection:
            app, _, revoked_at = self._find(connection, key_id)
            if revoked_at is not None:
                raise RevokedKey(f"Key {key_id} was revoked and cannot be rotated; issue a new one for {app}.")
            connection.execute(_RETIRE_SECRETS, {"key_id": key_id, "retires_at": _text(now + overlap)})
            connection.execute(_ROTATED, (_text(now), who, key_id))
            secret_text = self._add_secret(connection, key_id, now, expires_at)
            facts = {"expires_at": expires_at and _text(expires_at), "overlap_until": _text(now + overlap)}
            append(connection, now, who=who, what="key.rotated", subject=key_id, app=app, facts=facts)
        return IssuedKey(key_id, app, secret_text, now, expires_at)

    def revoke(self, key_id: str, *, who: str = UNNAMED) -> None:
        """End the key with all its secrets, for good; revoking it again changes nothing.

        Raises:
            UnknownKey: there is no such key.
        """
        with self._writing() as connection:
            app, _, revoked_at = self._find(connection, key_id)
            if revoked_at is None:
                now = self._clock.now()
                connection.execute(_REVOKE, (_text(now), who, key_id))
                append(connection, now, who=who, what="key.revoked", subject=key_id, app=app)

    def rekey(self, digests: Mapping[bytes, bytes]) -> None:
        """Replace digests under a previous installation secret (the keys) by those under the present one (the values).

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        with self._writing() as connection:
            connection.executemany(_REKEY, [(new, old) for old, new in digests.items()])

    def note_use(self, last_used: Mapping[str, datetime]) -> None:
        """Keep when keys were last used, by key id; the later counts. No revision: workers need not read them again.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        rows = [(_text(moment), key_id) for key_id, moment in last_used.items()]
        with closing(open_state(self._path)) as connection, transaction(connection):
            connection.executemany(_USED, rows)

    def revision(self) -> int:
        """Return a number that differs after every change of any key.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        with closing(open_state(self._path)) as connection:
            return _read_revision(connection)

    def secrets(self) -> tuple[int, tuple[Secret, ...]]:
        """Return the revision and, as of it, every secret; those that ended too, to say why they are refused.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        with closing(open_state(self._path)) as connection:
            connection.execute("BEGIN")  # one snapshot for both
            revision = _read_revision(connection)
            rows = connection.execute(_SECRETS).fetchall()
        return revision, tuple(
            Secret(digest, key_id, app, _instant(expires), _instant(retires), _instant(revoked), _scope(scope))
            for digest, key_id, app, expires, retires, revoked, scope in rows
        )

    def _add_secret(
        self, connection: sqlite3.Connection, key_id: str, now: datetime, expires_at: datetime | None
    ) -> str:
        secret_text = new_key_text(key_id)
        expiry = None if expires_at is None else _text(expires_at)
        connection.execute(_INSERT_SECRET, (key_digest(secret_text, self.digest_key), key_id, _text(now), expiry))
        return secret_text

    def _find(self, connection: sqlite3.Connection, key_id: str) -> tuple[str, str, str | None]:
        row: tuple[str, str, str | None] | None = connection.execute(_KEY, (key_id,)).fetchone()
        if row is None:
            raise UnknownKey(f"There is no key with the id {key_id}; `llmguard keys list` shows all.")
        return row

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a write transaction; it raises the revision and commits, or leaves no mark."""
        with closing(open_state(self._path)) as connection:
            # Unlike the ledger's, a key's change must survive a power failure: a revocation cannot come undone.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            yield connection  # an exception closes the connection, which rolls back
            connection.execute(_RAISE_REVISION)
            connection.execute("COMMIT")


def revoke_all(connection: sqlite3.Connection, app: str, now: datetime, *, who: str) -> tuple[str, ...]:
    """End every key of an app, in a transaction that the caller has begun as a writer; return their ids.

    Raises:
        sqlite3.Error: nothing was changed; the caller's transaction must not be committed.
    """
    key_ids = tuple(key_id for (key_id,) in connection.execute(_IN_FORCE, (app,)))
    for key_id in key_ids:
        connection.execute(_REVOKE, (_text(now), who, key_id))
        append(connection, now, who=who, what="key.revoked", subject=key_id, app=app)
    connection.execute(_RAISE_REVISION)
    return key_ids


def _read_revision(connection: sqlite3.Connection) -> int:
    (revision,) = connection.execute(_REVISION).fetchone()
    return int(revision)


def _expiry(now: datetime, ttl: timedelta | None) -> datetime | None:
    if ttl is None:
        return None
    if ttl <= timedelta(0):
        raise ValueError(f"A key's time to live must be positive, and {ttl} is not.")
    return now + ttl


def _key(row: tuple[Any, ...]) -> Key:  # Any: what SQLite holds
    (key_id, app, created_at, rotated_at, revoked_at, expires_at, overlap_until, *people, last_used_at, scope) = row
    issued_by, rotated_by, revoked_by = people
    return Key(
        key_id,
        app,
        datetime.fromisoformat(created_at),
        _instant(rotated_at),
        _instant(revoked_at),
        _instant(expires_at),
        _instant(overlap_until),
        issued_by,
        rotated_by,
        revoked_by,
        _instant(last_used_at),
        _scope(scope),
    )


def _scope(text: str | None) -> KeyScope | None:
    return None if text is None else scope_of(json.loads(text))


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
