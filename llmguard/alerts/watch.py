"""The watch over one data folder: looks at limits, expiry, overage and use, raises alerts, and sends the courier.

One for each data folder runs at a time (a lock elects it); the uniqueness of alerts does not depend on that. It reads,
writes only its own tables, and no request waits for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from llmguard.alerts.app_events import containment_alerts, departure_alerts, renewal_alerts
from llmguard.alerts.delivery import Courier
from llmguard.alerts.event import Alert
from llmguard.alerts.expiry import expiry_alerts
from llmguard.alerts.limits import limit_alerts, watched_scopes
from llmguard.alerts.sending import Sender
from llmguard.alerts.store import AlertStore, Episode
from llmguard.alerts.usage import Compared, compare, last_whole_hour, usage_alerts
from llmguard.domain.alerts import Metric
from llmguard.domain.at_rest import PLAIN, AtRest
from llmguard.domain.catalog import Registry
from llmguard.domain.clock import Clock
from llmguard.quota.gate import OverageEvent, OverageGate
from llmguard.quota.operations import Claim
from llmguard.quota.store import LedgerStore
from llmguard.registry.app_states import AppStateStore, in_force
from llmguard.traces.reader import TraceReader

EPISODE_QUIET: Final = timedelta(hours=24)
TRACES_ARRIVE: Final = timedelta(minutes=5)
_TOLD_LATE: Final = timedelta(days=7)  # overage events of before, when alerts are new here, are no news
_LOOK_ANYWAY_SECONDS: Final = 30.0  # grants end and days change without a write
_EXPIRY_SECONDS: Final = 60.0
_FORGET_SECONDS: Final = 86_400.0
_BUSY_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class Watch:
    """Raises alerts and has them delivered, one round after the other; used by one event loop."""

    def __init__(
        self,
        data: Path,
        registry: Callable[[], Registry],
        sender: Sender,
        clock: Clock,
        *,
        at_rest: AtRest = PLAIN,
    ) -> None:
        """Watch a data folder.

        Raises:
            sqlite3.Error, OSError: `state.db` cannot be opened or written.
        """
        self._registry = registry
        self._clock = clock
        self._store = AlertStore(data / "state.db", clock)
        self._ledger = LedgerStore(data / "state.db", clock, busy_timeout_seconds=_BUSY_SECONDS)
        self._overage = OverageGate(data / "state.db", clock)
        self._states = AppStateStore(data / "state.db")
        self._reader = TraceReader(data, at_rest)
        self._courier = Courier(self._store, sender, clock)
        self._version = -1
        self._looked: dict[str, float] = {}
        self._judged_until = last_whole_hour(clock.now(), TRACES_ARRIVE) - timedelta(hours=1)
        self._digest = ""
        self._judging: asyncio.Task[list[Compared]] | None = None

    def look(self) -> None:
        """Raise what is to be raised now, and start to deliver what is due. What fails is logged and tried again."""
        registry = self._registry()
        is_new = registry.digest != self._digest
        self._digest = registry.digest
        if self._has_changed() or is_new or self._is_time("ledger", _LOOK_ANYWAY_SECONDS):
            self._attempt(lambda: self._raise_all(registry, self._limit_alerts(registry)))
            self._attempt(lambda: self._raise_all(registry, self._overage_alerts(registry)))
            self._attempt(lambda: self._raise_all(registry, self._app_alerts(registry)))
        if is_new or self._is_time("expiry", _EXPIRY_SECONDS):
            today = self._clock.now().date()
            days = registry.alerts.expiry_days
            now_in_force = in_force(registry, self._states.read())
            self._attempt(lambda: self._raise_all(registry, expiry_alerts(now_in_force, days, today)))
            self._attempt(lambda: self._raise_all(registry, departure_alerts(registry)))
        if self._is_time("forget", _FORGET_SECONDS):
            self._attempt(self._store.forget_old)
        self._attempt(lambda: self._judge_use(registry))
        self._attempt(lambda: self._courier.start_due({one.name: one for one in registry.alerts.webhooks}))

    async def finish(self) -> None:
        """Wait until the use of the last hours is read and judged, and what is being delivered is delivered."""
        if self._judging is not None:
            await asyncio.wait([self._judging])
            self.look()
        await self._courier.finish()

    async def close(self) -> None:
        """Break off deliveries (they stay in the queue), and let go of the files."""
        await self._courier.stop()
        if self._judging is not None:
            await asyncio.wait([self._judging])
        self._ledger.close()
        self._store.close()

    def _has_changed(self) -> bool:
        version, self._version = self._version, self._store.version()
        return version != self._version

    def _is_time(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now - self._looked.get(what, -seconds) < seconds:
            return False
        self._looked[what] = now
        return True

    @staticmethod
    def _attempt(step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the border of a background task: it goes on, whatever failed
            _log.warning("alerts: a look failed (%s); it is tried again", type(error).__name__)

    def _limit_alerts(self, registry: Registry) -> Iterable[Alert]:
        watched = {one.scope.id: one for one in watched_scopes(registry)}
        claims = [Claim(scope_id, one.scope.quota) for scope_id, one in watched.items()]
        return limit_alerts(watched, self._ledger.standings(*claims), registry.alerts)

    def _overage_alerts(self, registry: Registry) -> Iterable[Alert]:
        events = self._overage.events(self._clock.now() - _TOLD_LATE)
        return [_overage_alert(event, registry) for event in events]

    def _app_alerts(self, registry: Registry) -> Iterable[Alert]:
        since = self._clock.now() - _TOLD_LATE
        yield from containment_alerts(self._states.containments(since), registry)
        yield from renewal_alerts(self._states.renewals(since), registry)

    def _judge_use(self, registry: Registry) -> None:
        """Once an hour, read what apps did, in a thread; with what was read, raise what is unusual."""
        rule = registry.alerts.anomaly
        if self._judging is None:
            ends_at = last_whole_hour(self._clock.now(), TRACES_ARRIVE)
            if rule.watch and ends_at > self._judged_until:
                self._judged_until = ends_at
                self._judging = asyncio.create_task(asyncio.to_thread(_read_use, self._reader, registry, ends_at))
            return
        if not self._judging.done():
            return
        judging, self._judging = self._judging, None
        for compared in judging.result():
            for metric, alert in usage_alerts(compared, rule):
                self._raise(registry, alert, _episode(compared, metric))

    def _raise_all(self, registry: Registry, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            if not self._store.knows(alert):
                self._raise(registry, alert, None)

    def _raise(self, registry: Registry, alert: Alert, episode: Episode | None) -> None:
        alert_id = self._store.raise_once(alert, registry.alerts.webhooks, episode)
        if alert_id is not None:
            _log.warning("alert %s: %s about %s", alert_id, alert.type, alert.log_subject)


def _read_use(reader: TraceReader, registry: Registry, ends_at: datetime) -> list[Compared]:
    return list(compare(reader, registry.apps, ends_at))


def _episode(compared: Compared, metric: Metric) -> Episode:
    return Episode(compared.app.name, metric, compared.ends_at, EPISODE_QUIET)


def _overage_alert(event: OverageEvent, registry: Registry) -> Alert:
    app = registry.apps.get(event.app)
    facts = event.facts
    message = {
        "requested": f"{event.app} asks for {facts['asked']} more of {facts['limit']}: `llmguard overage list`.",
        "first_approved": f"{event.app}: one approver has agreed to {facts['granted']} more of {facts['limit']}; a "
        "second, different one has to agree, too.",
        "approved": f"{event.app} has {facts['granted']} more of {facts['limit']} until {facts['ends_at']}.",
        "denied": f"{event.app} gets no more of {facts['limit']}; `llmguard overage list` has the reason.",
    }.get(event.type.rpartition(".")[2], "A request for more quota has changed.")
    return Alert(
        key=f"overage|{event.id}",
        type=event.type,
        subject=f"app:{event.app}",
        cost_centers=frozenset() if app is None else frozenset({app.cost_center}),
        data={"message": message, **facts},
        id=event.id,
        moment=event.time,
    )
