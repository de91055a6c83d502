"""First answers at rest in `state.db`, so that a repeated request gets them whichever worker it reaches.

An answer is what the app got, personal data included, so it is encrypted (AES-256-GCM) under a key that is made of
the installation secret, the caller's idempotency key and its whole request. Of these only keyed digests are stored:
whoever reads the file, or has the secret as well, cannot read an answer without knowing the request that it answers.
"""

import hmac
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from llmguard.domain.clock import Clock
from llmguard.domain.secrets import derive_key
from llmguard.domain.state_file import open_state, transaction

KEPT = timedelta(hours=24)  # as long as Stripe keeps them, whose header this is
_NONCE_BYTES = 12  # Source: NIST SP 800-38D, 5.2.1.1: 96 bits are recommended
_CREATE = """
CREATE TABLE IF NOT EXISTS first_answers (
    name BLOB PRIMARY KEY, request BLOB NOT NULL, worker TEXT NOT NULL, expires_at TEXT NOT NULL, answer BLOB,
    trace BLOB
) WITHOUT ROWID"""
_COLUMNS = "SELECT name FROM pragma_table_info('first_answers')"
_ADD_TRACE = "ALTER TABLE first_answers ADD COLUMN trace BLOB"  # to files of before
_ERASE = "DELETE FROM first_answers WHERE trace = ?"
_CREATE_INDEX = "CREATE INDEX IF NOT EXISTS first_answers_expire ON first_answers (expires_at)"
_FORGET = "DELETE FROM first_answers WHERE expires_at < ?"
_CLAIM = "INSERT OR IGNORE INTO first_answers (name, request, worker, expires_at) VALUES (?, ?, ?, ?)"
_CLAIM_AGAIN = "UPDATE first_answers SET worker = ?, answer = NULL WHERE name = ?"
_FIND = "SELECT request, worker, answer FROM first_answers WHERE name = ?"
_TAKE_OVER = "UPDATE first_answers SET worker = ? WHERE name = ? AND worker = ? AND answer IS NULL"
_KEEP = "UPDATE first_answers SET answer = ?, trace = ? WHERE name = ? AND worker = ? AND answer IS NULL"
_GIVE_UP = "DELETE FROM first_answers WHERE name = ? AND worker = ? AND answer IS NULL"


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it left: its trace, its headers without those of a trace, and its bytes."""

    trace_id: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Named:
    """A request by its digests. `key` encrypts its answer and is never stored."""

    name: bytes
    request: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """Who claimed a name first, whether for the same request, and the answer if there is one yet."""

    same_request: bool
    worker: str
    answer: KeptAnswer | None


class AnswerStore:
    """The table of first answers. Each method is one transaction, takes well under a millisecond, and may block."""

    def __init__(self, path: Path, secret: bytes, clock: Clock) -> None:
        """Use `state.db`; the table is made if it is not there.

        Raises:
            sqlite3.Error, OSError: the file cannot be used.
        """
        self._clock = clock
        self._names = derive_key(secret, "idempotency/names")
        self._answers = derive_key(secret, "idempotency/answers")
        self._lock = threading.Lock()
        self._connection = open_state(path, create=True)
        self._connection.execute(_CREATE)
        self._connection.execute(_CREATE_INDEX)
        with transaction(self._connection) as connection:
            if ("trace",) not in connection.execute(_COLUMNS).fetchall():
                connection.execute(_ADD_TRACE)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def named(self, app: str, key: str, path: str, body: bytes) -> Named:
        """Return the digests of a request of an app under its idempotency key."""
        name = hmac.digest(self._names, f"{app}\0{key}".encode(), "sha256")
        request = hmac.digest(self._names, path.encode() + b"\0" + body, "sha256")
        return Named(name, request, hmac.digest(self._answers, name + request + key.encode() + body, "sha256"))

    def claim(self, named: Named, worker: str) -> Found | None:
        """Claim a name for a worker, or return who has it; None: it is this worker's now.

        Raises:
            sqlite3.Error: the file cannot be used now.
        """
        now = self._clock.now()
        with self._changing() as connection:
            connection.execute(_FORGET, (_text(now),))
            values = (named.name, named.request, worker, _text(now + KEPT))
            if connection.execute(_CLAIM, values).rowcount == 1:
                return None
            request, holder, encrypted = connection.execute(_FIND, (named.name,)).fetchone()
            same = hmac.compare_digest(request, named.request)
            if not same or encrypted is None:
                return Found(same, holder, None)
            answer = _decrypted(named, encrypted)
            if answer is not None:
                return Found(same, holder, answer)
            connection.execute(_CLAIM_AGAIN, (worker, named.name))
        return None

    def take_over(self, named: Named, worker: str, dead: str) -> bool:
        """Return whether the claim of a dead worker is now this one's: of several that try, one gets it."""
        with self._changing() as connection:
            return connection.execute(_TAKE_OVER, (worker, named.name, dead)).rowcount == 1

    def keep(self, named: Named, worker: str, answer: KeptAnswer) -> None:
        """Keep the answer to a claimed request."""
        nonce = os.urandom(_NONCE_BYTES)
        encrypted = nonce + AESGCM(named.key).encrypt(nonce, msgspec.msgpack.encode(answer), named.name)
        with self._changing() as connection:
            connection.execute(_KEEP, (encrypted, self._trace(answer.trace_id), named.name, worker))

    def give_up(self, named: Named, worker: str) -> None:
        """Let go of a claim that no answer came to: the next request is the first again."""
        with self._changing() as connection:
            connection.execute(_GIVE_UP, (named.name, worker))

    def erase(self, trace_ids: Iterable[str]) -> int:
        """Remove the answers of these traces from the file, their bytes too, and return how many there were.

        Whoever repeats one of these requests later is answered anew.

        Raises:
            sqlite3.Error: the file cannot be written now.
        """
        self._connection.execute("PRAGMA secure_delete = ON")
        with self._changing() as connection:
            return sum(connection.execute(_ERASE, (self._trace(one),)).rowcount for one in trace_ids)

    def _trace(self, trace_id: str) -> bytes:
        return hmac.digest(self._names, b"trace\0" + trace_id.encode(), "sha256")

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._connection) as connection:
            yield connection


def _decrypted(named: Named, encrypted: bytes) -> KeptAnswer | None:
    """Return an answer; None if it is damaged."""
    try:
        plain = AESGCM(named.key).decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], named.name)
        return msgspec.msgpack.decode(plain, type=KeptAnswer)
    except (InvalidTag, msgspec.MsgspecError):
        return None


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")
