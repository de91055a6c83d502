"""Tell who calls (step 1): the header's key against all known secrets, in memory.

The hot path is one HMAC, one dictionary look-up and one comparison; it never waits and never reads a file. A watcher
keeps the memory fresh: it asks for the store's revision four times a second and reloads when it differs, so a
revocation holds in every worker within a second. When the store cannot be read for five seconds, nobody is let in: a
revocation could be waiting there.

When keys were used is noted in memory and written every half minute, by the watcher.

After a change of the installation's secret, keys issued before it are known by their digest under a previous one; the
watcher stores the digest under the present one once the key was used, and its owner notices nothing.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from llmguard.domain.catalog import KeyScope
from llmguard.domain.clock import Clock
from llmguard.domain.errors import Fault, Refusal, RefusalCode
from llmguard.identity.app_tokens import TokenMint
from llmguard.identity.key_store import KeyStore, Secret
from llmguard.identity.key_text import PREFIX, is_well_formed, key_digest
from llmguard.identity.scopes import PROVIDER_ORIGIN

_POLL_SECONDS = 0.25
_STALE_AFTER_SECONDS = 5
_WRITE_USE_SECONDS = 30
_NANO = 1_000_000_000
_TOKEN = "eyJ"  # noqa: S105 - how every JSON web token begins: {" in base64
_ASK_FOR_A_KEY = (
    f"Send your app's key as 'Authorization: Bearer {PREFIX}…'. The owner of your app has it, or gets a new one from "
    "whoever runs llmguard (`llmguard keys issue APP`)."
)
# Compared with when no secret has the digest, so that unknown and known keys take the same steps.
_NOBODY = Secret(bytes(32), "", "", None, None, None)

_log = logging.getLogger(__name__)


class Credential(msgspec.Struct, frozen=True):
    """Whose key it was: the app's name, and the key's id for the trace."""

    app: str
    key_id: str
    scope: KeyScope | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All secrets as of one revision, by digest, and when the store last confirmed that revision."""

    revision: int
    by_digest: Mapping[bytes, Secret]
    by_key_id: Mapping[str, tuple[Secret, ...]]
    confirmed_ticks: int


class Keyring:
    """All keys of one worker, in memory."""

    def __init__(
        self,
        store: KeyStore,
        clock: Clock,
        mint: TokenMint | None = None,
        *,
        beside: Sequence[Callable[[], None]] = (),
    ) -> None:
        """Read all keys once.

        Args:
            store: where they are.
            clock: by which they end.
            mint: reads the tokens that stand for a key.
            beside: reads what else decides who is let in, and raises when it cannot: then nobody is, as for keys.

        Raises:
            sqlite3.Error: the store cannot be read.
        """
        self._store = store
        self._mint = mint
        self._beside = beside
        self._digest_keys = (store.digest_key, *store.previous_digest_keys)
        self._to_rekey: dict[bytes, bytes] = {}  # digest under a previous secret -> under the present one
        self._used: dict[str, datetime] = {}  # since they were last written
        self._used_written_ticks = clock.ticks()
        self._clock = clock
        self._snapshot = self._read()

    def authenticate(self, authorization: str | None) -> Credential:
        """Return whose key the `Authorization` header carries.

        Raises:
            Refusal: `invalid_api_key`, `key_expired` or `key_revoked`.
            Fault: `ledger_unavailable`, when the keys in memory can no longer be trusted.
        """
        self._check_freshness()
        key_text = _bearer(authorization)
        if key_text.startswith(_TOKEN):
            return self._of_token(key_text)
        secret = self._find(key_text)
        if secret is None:
            raise _unknown(key_text)
        now = self._clock.now()
        refuse_what_ended(secret, now)
        self._used[secret.key_id] = now
        if len(self._digest_keys) > 1 and secret.digest != (present := key_digest(key_text, self._digest_keys[0])):
            self._to_rekey[secret.digest] = present
        return Credential(secret.app, secret.key_id, secret.scope)

    def _of_token(self, text: str) -> Credential:
        """Return whose token it is, if the key that it came from is still in force."""
        if self._mint is None:
            raise _invalid("Tokens are not known here.")
        token, now = self._mint.read(text), self._clock.now()
        if not token.origin.startswith(PROVIDER_ORIGIN):
            secrets = self._snapshot.by_key_id.get(token.origin, ())
            if not secrets:
                raise _invalid("The key that this token came from is not known here.")
            if not any(is_in_force(secret, now) for secret in secrets):
                refuse_what_ended(secrets[-1], now)
            self._used[token.origin] = now
        return Credential(token.app, token.origin, token.scope)

    def look_up(self, key_text: str) -> Secret | None:
        """Return what is known of a whole key, also of one that ended; None if it was not issued here.

        Raises:
            Fault: `ledger_unavailable`, when the keys in memory can no longer be trusted.
        """
        self._check_freshness()
        return self._find(key_text)

    def _find(self, key_text: str) -> Secret | None:
        for digest_key in self._digest_keys:
            found = self._known(key_digest(key_text, digest_key))
            if found is not None:
                return found
        return None

    def check(self) -> None:
        """Do nothing while the keys in memory can be trusted.

        Raises:
            Fault: `ledger_unavailable`, when nobody is let in.
        """
        self._check_freshness()

    def refresh(self) -> None:
        """Confirm that the keys in memory are those of the store, and read them again if they are not.

        Raises:
            sqlite3.Error: the store cannot be read; the keys in memory stay, until they are too old.
        """
        if self._to_rekey:
            digests = dict(self._to_rekey)
            self._store.rekey(digests)
            for old in digests:
                self._to_rekey.pop(old, None)
        if (self._clock.ticks() - self._used_written_ticks) / _NANO >= _WRITE_USE_SECONDS:
            self._write_use_or_warn()
        before = self._clock.ticks()  # confirmed as of the start of the reading, not of its end
        for refresh in self._beside:
            refresh()
        current = self._snapshot
        if self._store.revision() == current.revision:
            self._snapshot = replace(current, confirmed_ticks=before)
        else:
            self._snapshot = self._read()

    async def watch(self, stop: asyncio.Event) -> None:
        """Keep the keys fresh until `stop` is set; never raises because of the store.

        The reading runs on a thread of its own: a poll costs 0.2 ms, but a slow disk must not hold up the event loop.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="keyring") as thread:
            while not stop.is_set():
                await loop.run_in_executor(thread, self._refresh_or_warn)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _POLL_SECONDS)
            await loop.run_in_executor(thread, self._write_use_or_warn)

    def _known(self, digest: bytes) -> Secret | None:
        secret = self._snapshot.by_digest.get(digest, _NOBODY)
        # The look-up leaks nothing that helps: nobody can aim at a digest without the installation secret. The
        # comparison in constant time is what the decision rests on.
        return secret if hmac.compare_digest(secret.digest, digest) else None

    def _read(self) -> _Snapshot:
        before = self._clock.ticks()
        revision, secrets = self._store.secrets()
        by_key_id: dict[str, tuple[Secret, ...]] = {}
        for secret in secrets:
            by_key_id[secret.key_id] = (*by_key_id.get(secret.key_id, ()), secret)
        return _Snapshot(revision, {secret.digest: secret for secret in secrets}, by_key_id, before)

    def _write_use_or_warn(self) -> None:
        """Write when keys were used; what cannot be written now waits for the next time."""
        used, self._used = self._used, {}
        self._used_written_ticks = self._clock.ticks()
        try:
            if used:
                self._store.note_use(dict(used))
        except Exception as error:  # noqa: BLE001 - border: nobody is refused because this is not known
            self._used = {**used, **self._used}
            _log.warning("When keys were last used cannot be written: %s", type(error).__name__)

    def _refresh_or_warn(self) -> None:
        try:
            self.refresh()
        except Exception as error:  # noqa: BLE001 - border: a background task goes on; stale keys fail closed
            _log.warning("The keys cannot be read from the data folder: %s", type(error).__name__)

    def _check_freshness(self) -> None:
        age_seconds = (self._clock.ticks() - self._snapshot.confirmed_ticks) / _NANO
        if age_seconds > _STALE_AFTER_SECONDS:
            raise Fault(
                "ledger_unavailable",
                f"Keys cannot be checked: they could not be read for {age_seconds:.0f} seconds.",
                hint="Try again shortly. If it lasts, tell whoever runs llmguard: state.db in the data folder is "
                "missing, locked or damaged.",
                retry_after_seconds=1,
            )


def is_in_force(secret: Secret, now: datetime) -> bool:
    """Whether a secret is accepted now."""
    ended = (secret.retires_at, secret.expires_at)
    return secret.revoked_at is None and all(end is None or now < end for end in ended)


def _bearer(authorization: str | None) -> str:
    """Return the key of the header, or what looks like a token."""
    given = (authorization or "").strip()
    if not given:
        raise _invalid("This request carries no API key.")
    scheme, _, key_text = given.partition(" ")
    key_text = key_text.strip()
    if scheme.lower() != "bearer" or not key_text:
        raise _invalid("The Authorization header does not have the form 'Bearer KEY'.")
    if key_text.startswith(_TOKEN):
        return key_text
    if not key_text.startswith(PREFIX):
        raise _invalid(f"This is no key of llmguard: those start with {PREFIX}.")
    return key_text


def _unknown(key_text: str) -> Refusal:
    if not is_well_formed(key_text):
        return _invalid("This API key was mistyped or cut: its checksum does not match.")
    return _invalid("This API key is not known here.")


def refuse_what_ended(secret: Secret, now: datetime) -> None:
    """Do nothing for a secret that is in force.

    Raises:
        Refusal: `key_revoked` or `key_expired`, with the date.
    """
    if secret.revoked_at is not None:
        raise _ended("key_revoked", f"Key {secret.key_id} was revoked on {_date(secret.revoked_at)}.")
    if secret.retires_at is not None and secret.retires_at <= now:
        raise _ended(
            "key_expired",
            f"This secret of key {secret.key_id} was replaced by rotation and ended on {_date(secret.retires_at)}. "
            "The key lives on with its newer secret.",
        )
    if secret.expires_at is not None and secret.expires_at <= now:
        raise _ended("key_expired", f"Key {secret.key_id} expired on {_date(secret.expires_at)}.")


def _invalid(message: str) -> Refusal:
    return Refusal("invalid_api_key", message, hint=_ASK_FOR_A_KEY)


def _ended(code: RefusalCode, message: str) -> Refusal:
    return Refusal(code, message, hint=_ASK_FOR_A_KEY)


def _date(instant: datetime) -> str:
    return f"{instant.day} {instant:%B %Y %H:%M} UTC"
