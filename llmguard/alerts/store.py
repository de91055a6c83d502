"""Alerts and their deliveries at rest in `state.db`: what was told, to whom it still has to be, and what never arrived.

Recording an alert and queueing it for its receivers is one transaction, and the key of an alert is unique: of many
processes that see the same, one raises it. A delivery leaves the queue when it was accepted, or after the last try.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from llmguard.alerts.event import Alert, cloud_event
from llmguard.domain.alerts import Webhook
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.state_file import open_state, transaction
from llmguard.quota.windows import to_datetime, to_instant

DeliveryState = Literal["waiting", "delivered", "dead"]

_CREATE = (
    """
CREATE TABLE IF NOT EXISTS alerts (
    key TEXT PRIMARY KEY, id TEXT NOT NULL, time INTEGER NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL, event TEXT
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS alerts_by_time ON alerts (time)",
    """
CREATE TABLE IF NOT EXISTS alert_deliveries (
    alert_id TEXT NOT NULL, webhook TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL, queued_at INTEGER NOT NULL, event TEXT NOT NULL, outcome TEXT,
    PRIMARY KEY (alert_id, webhook)
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS alert_deliveries_by_next ON alert_deliveries (state, next_at)",
    """
CREATE TABLE IF NOT EXISTS alert_episodes (
    app TEXT NOT NULL, metric TEXT NOT NULL, last_seen INTEGER NOT NULL, PRIMARY KEY (app, metric)
) WITHOUT ROWID""",
)
_RECORD = """
INSERT INTO alerts (key, id, time, type, subject, event) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"""
_QUEUE = """
INSERT INTO alert_deliveries (alert_id, webhook, state, attempts, next_at, queued_at, event)
VALUES (?, ?, 'waiting', 0, ?, ?, ?) ON CONFLICT DO NOTHING"""
_KNOWN = "SELECT 1 FROM alerts WHERE key = ?"
_DUE = """
SELECT alert_id, webhook, attempts, event FROM alert_deliveries
WHERE state = 'waiting' AND next_at <= ? ORDER BY next_at, alert_id LIMIT 500"""
_MARK = """
UPDATE alert_deliveries SET state = ?, attempts = ?, next_at = ?, outcome = ?
WHERE alert_id = ? AND webhook = ? AND state = 'waiting'"""
_RETRY = """
UPDATE alert_deliveries SET state = 'waiting', attempts = 0, next_at = ?
WHERE state = 'dead' AND (? IS NULL OR alert_id = ?)"""
_LIST = "SELECT id, time, type, subject, event FROM alerts WHERE event IS NOT NULL ORDER BY time DESC, id DESC LIMIT ?"
_DELIVERIES = """
SELECT alert_id, webhook, state, attempts, next_at, outcome FROM alert_deliveries
WHERE alert_id IN (SELECT value FROM json_each(?)) ORDER BY webhook"""
_DEAD = """
SELECT alert_id, webhook, attempts, next_at, outcome, event FROM alert_deliveries
WHERE state = 'dead' ORDER BY next_at DESC, alert_id"""
_EPISODE = "SELECT last_seen FROM alert_episodes WHERE app = ? AND metric = ?"
_SEE_EPISODE = """
INSERT INTO alert_episodes (app, metric, last_seen) VALUES (?, ?, ?)
ON CONFLICT (app, metric) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen)"""
_FORGET = (
    "DELETE FROM alert_deliveries WHERE state = 'delivered' AND queued_at < ?",
    "DELETE FROM alerts WHERE time < ? AND id NOT IN (SELECT alert_id FROM alert_deliveries)",
    "DELETE FROM alert_episodes WHERE last_seen < ?",
)
_KEPT = timedelta(days=400)  # longer than any window, so that nothing is told twice


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one receiver."""

    alert_id: str
    webhook: str
    attempts: int
    event: str


@dataclass(frozen=True, slots=True)
class Episode:
    """An app's metric that is unusual, and the hour in which it was seen so; quiet this long ends it."""

    app: str
    metric: str
    seen_at: datetime
    quiet: timedelta


class AlertStore:
    """The alerts of one data folder, over one connection; used by one thread at a time."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open `state.db`, and create what is missing.

        Raises:
            sqlite3.Error, OSError: it cannot be opened or written.
        """
        self._clock = clock
        self._connection = open_state(path, create=True)
        for statement in _CREATE:
            self._connection.execute(statement)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def version(self) -> int:
        """Return a number that changes whenever another connection has changed anything in `state.db`."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def knows(self, alert: Alert) -> bool:
        """Whether the alert was raised before; cheap, and without a lock."""
        return self._connection.execute(_KNOWN, (alert.key,)).fetchone() is not None

    def raise_once(self, alert: Alert, webhooks: Sequence[Webhook], episode: Episode | None = None) -> str | None:
        """Record an alert and queue it for its receivers; return its id, or None if it was raised before.

        With an `episode`, nothing is raised while the episode goes on, and it is remembered that it does.

        Raises:
            sqlite3.Error: nothing was recorded.
        """
        now = self._clock.now()
        alert_id, instant = alert.id or new_trace_id(now), to_instant(now)
        event = cloud_event(alert_id, alert.moment or now, alert.type, alert.subject, alert.data)
        with transaction(self._connection) as connection:
            if episode is not None and not self._begins(connection, episode):
                return None
            row = (alert.key, alert_id, instant, alert.type, alert.subject, event)
            if connection.execute(_RECORD, row).rowcount == 0:
                return None
            covered = [(key, alert_id, instant, alert.type, alert.subject, None) for key in alert.covers]
            connection.executemany(_RECORD, covered)
            told = [webhook.name for webhook in webhooks if is_told(webhook, alert)]
            connection.executemany(_QUEUE, [(alert_id, name, instant, instant, event) for name in told])
        return alert_id

    def due(self) -> list[Delivery]:
        """Return what should be sent now, longest waiting first."""
        return [Delivery(*row) for row in self._connection.execute(_DUE, (to_instant(self._clock.now()),))]

    def mark(self, delivery: Delivery, state: DeliveryState, outcome: str, wait_seconds: float = 0.0) -> None:
        """Record how a try ended; a `waiting` one is tried again after `wait_seconds`."""
        at = to_instant(self._clock.now() + timedelta(seconds=wait_seconds))
        row = (state, delivery.attempts + 1, at, outcome, delivery.alert_id, delivery.webhook)
        with transaction(self._connection) as connection:
            connection.execute(_MARK, row)

    def retry(self, alert_id: str | None) -> int:
        """Put dead letters back into the queue, of one alert or all; return how many."""
        with transaction(self._connection) as connection:
            return connection.execute(_RETRY, (to_instant(self._clock.now()), alert_id, alert_id)).rowcount

    def newest(self, limit: int) -> list[JsonObject]:
        """Return the newest alerts with how they fared at each receiver."""
        alerts = self._connection.execute(_LIST, (limit,)).fetchall()
        rows: dict[str, JsonObject] = {}
        for alert_id, instant, kind, subject, event in alerts:
            facts: JsonObject = {"id": alert_id, "time": to_datetime(instant), "type": kind, "subject": subject}
            rows[alert_id] = facts | {"message": _message(event), "deliveries": {}, "event": json.loads(event)}
        for alert_id, webhook, *told in self._connection.execute(_DELIVERIES, (json.dumps(list(rows)),)):
            state, attempts, next_at, outcome = told
            next_try = to_datetime(next_at) if state == "waiting" else None
            rows[alert_id]["deliveries"][webhook] = {
                "state": state,
                "attempts": attempts,
                "next_try_at": next_try,
                "outcome": outcome,
            }
        return list(rows.values())

    def dead(self) -> list[JsonObject]:
        """Return what never arrived, newest first."""
        return [
            {
                "id": alert_id,
                "webhook": webhook,
                "attempts": attempts,
                "given_up_at": to_datetime(at),
                "outcome": outcome,
                "type": json.loads(event)["type"],
                "message": _message(event),
            }
            for alert_id, webhook, attempts, at, outcome, event in self._connection.execute(_DEAD)
        ]

    def forget_old(self) -> None:
        """Remove what was told long ago."""
        before = to_instant(self._clock.now() - _KEPT)
        with transaction(self._connection) as connection:
            for statement in _FORGET:
                connection.execute(statement, (before,))

    @staticmethod
    def _begins(connection: sqlite3.Connection, episode: Episode) -> bool:
        row = connection.execute(_EPISODE, (episode.app, episode.metric)).fetchone()
        connection.execute(_SEE_EPISODE, (episode.app, episode.metric, to_instant(episode.seen_at)))
        return row is None or to_datetime(row[0]) < episode.seen_at - episode.quiet


def is_told(webhook: Webhook, alert: Alert) -> bool:
    """Whether a receiver wants alerts of this kind, about somebody whose costs it watches."""
    watches = webhook.cost_centers is None or not alert.cost_centers.isdisjoint(webhook.cost_centers)
    return alert.kind in webhook.kinds and watches


def _message(event: str) -> str:
    return str(json.loads(event)["data"].get("message", ""))
