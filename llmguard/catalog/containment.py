"""Stop an app at once, or start it again: keys, state and audit log change together, or nothing does.

Every worker looks for both four times a second. Owner and backup owner are told by the alerts, which read what is
recorded here. Evidence is kept: which traces there are of the app, under which digest the chain of traces ended, and as
long as the containment lasts, retention leaves their texts alone.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llmguard.audit.log import AuditLog, append
from llmguard.domain.catalog import App
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock
from llmguard.domain.errors import Refusal
from llmguard.domain.identifiers import new_trace_id
from llmguard.identity.key_store import revoke_all
from llmguard.registry.app_states import (
    AppStateStore,
    Containment,
    add_containment,
    containment_of,
    lift_containment,
)
from llmguard.traces.errors import TraceQueryError, TraceStoreError

Query = Callable[[str, dict[str, Any]], list[JsonObject]]  # Any: values of SQL
_LONGEST_REASON = 1000
_EVIDENCE = """
SELECT count(*) AS traces, count(*) FILTER (len(map_keys(entities)) > 0) AS with_findings,
    min_by(trace_id, seq)::VARCHAR AS first_trace, max_by(trace_id, seq)::VARCHAR AS last_trace,
    (SELECT max(seq) FROM traces) AS chain_row, (SELECT max_by(digest, seq) FROM traces) AS chain_digest
FROM traces WHERE app = $app
"""


@dataclass(frozen=True, slots=True)
class Contained:
    """What a containment did; `is_new` is false if the app was contained already, and nothing but its keys changed."""

    containment: Containment
    key_ids: tuple[str, ...]
    is_new: bool


class Containments:
    """The containments of one data folder. Every call may block for a moment."""

    def __init__(self, data: Path, clock: Clock, query: Query) -> None:
        """Work on a data folder; `query` returns the rows of one SELECT over its traces.

        Raises:
            sqlite3.Error, OSError: `state.db` cannot be opened or written.
        """
        self._store = AppStateStore(data / "state.db")
        self._audit = AuditLog(data / "state.db", clock)
        self._query = query
        self._clock = clock

    def contain(self, app: App, who: str, reason: str) -> Contained:
        """Stop an app: it is suspended, and all its keys are revoked for good.

        Again is no error: keys that were issued in between are revoked, too.

        Raises:
            Refusal: invalid_request, without a reason.
            sqlite3.Error, OSError: nothing was changed.
        """
        words, now = _checked(reason), self._clock.now()
        with self._store.writing() as connection:
            key_ids = revoke_all(connection, app.name, now, who=who)
            before = containment_of(connection, app.name)
            if before is not None:
                return Contained(before, key_ids, is_new=False)
            one = Containment(new_trace_id(now), app.name, now, who, words, len(key_ids))
            add_containment(connection, one)
            _note(connection, now, who, "app.contained", one, {"revoked_keys": list(key_ids)})
        return Contained(one, key_ids, is_new=True)

    def keep_evidence(self, containment: Containment) -> JsonObject | None:
        """Write into the audit log which traces there are of a contained app; None if that cannot be done now.

        Apart from `contain`, since it may take seconds, and an app is stopped first.
        """
        try:
            [facts] = self._query(_EVIDENCE, {"app": containment.app})
            who, subject = containment.by, containment.id
            self._audit.record(who=who, what="app.evidence_noted", subject=subject, app=containment.app, facts=facts)
        except (TraceStoreError, TraceQueryError, sqlite3.Error, OSError):
            return None
        return facts

    def lift(self, app: App, who: str, reason: str) -> Containment:
        """End the containment of an app, and return it. Its keys stay revoked: it needs new ones.

        Raises:
            Refusal: invalid_request; it is not contained, or there is no reason.
            sqlite3.Error, OSError: nothing was changed.
        """
        words, now = _checked(reason), self._clock.now()
        with self._store.writing() as connection:
            one = containment_of(connection, app.name)
            if one is None:
                message = f"The app {app.name} is not contained."
                raise Refusal("invalid_request", message, hint="`llmguard apps drift` shows which apps are.")
            lift_containment(connection, app.name, now, who=who, reason=words)
            _note(connection, now, who, "app.lifted", one, {})
        return replace(one, lifted_at=now, lifted_by=who, lift_reason=words)


def containment_json(one: Containment) -> JsonObject:
    """Return a containment as operators see it."""
    return {
        "id": one.id,
        "object": "llmguard.containment",
        "app": one.app,
        "contained_at": one.at,
        "contained_by": one.by,
        "reason": one.reason,
        "revoked_keys": one.revoked_keys,
        "lifted_at": one.lifted_at,
        "lifted_by": one.lifted_by,
        "lift_reason": one.lift_reason,
    }


def _note(
    connection: sqlite3.Connection, now: datetime, who: str, what: str, one: Containment, facts: JsonObject
) -> None:
    append(connection, now, who=who, what=what, subject=one.id, app=one.app, facts=facts)


def _checked(reason: str) -> str:
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in reason).split())
    if not words or len(words) > _LONGEST_REASON:
        message = f"Whoever stops or starts an app says why, in up to {_LONGEST_REASON} characters."
        raise Refusal("invalid_request", message, hint="Give a reason; only operators read it.", param="reason")
    return words
