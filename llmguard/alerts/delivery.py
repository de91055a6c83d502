"""The courier: takes events from the queue to their receivers, again and again over hours, until each is accepted.

At least once: a process that dies between an answer and its note of it sends again, under the same `webhook-id`.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Final

from llmguard.alerts.sending import Answer, Sender
from llmguard.alerts.store import AlertStore, Delivery
from llmguard.domain.alerts import Webhook
from llmguard.domain.clock import Clock

MOST_ATTEMPTS: Final = 10
_FIRST_WAIT_SECONDS: Final = 5.0
_FACTOR: Final = 4.0
_LONGEST_WAIT_SECONDS: Final = 6 * 3600.0
_JITTER: Final = 0.3
_IN_A_ROW: Final = 20
_log = logging.getLogger(__name__)


def wait_seconds(attempts: int, luck: float) -> float:
    """Return how long to wait after so many tries: 5 s, 20 s, 80 s, ... up to 6 hours, each up to 30 % off.

    Args:
        attempts: how many tries have failed, from 1.
        luck: from 0 to 1, so that receivers that come back are not met by all senders at once.
    """
    planned = min(_FIRST_WAIT_SECONDS * _FACTOR ** (attempts - 1), _LONGEST_WAIT_SECONDS)
    return planned * (1 + _JITTER * (2 * luck - 1))


class Courier:
    """Delivers what is due; one receiver that hangs does not keep the others waiting."""

    def __init__(self, store: AlertStore, sender: Sender, clock: Clock) -> None:
        """Deliver from a store that is used by this event loop alone."""
        self._store = store
        self._sender = sender
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def start_due(self, webhooks: Mapping[str, Webhook]) -> None:
        """Begin to deliver what is due, to each receiver that is not busy."""
        self._under_way = {name: task for name, task in self._under_way.items() if not task.done()}
        by_webhook: dict[str, list[Delivery]] = {}
        for delivery in self._store.due():
            by_webhook.setdefault(delivery.webhook, []).append(delivery)
        for name, deliveries in by_webhook.items():
            if name not in webhooks:
                for delivery in deliveries:
                    self._give_up(delivery, "registry.yaml names no such webhook any more")
            elif name not in self._under_way:
                rounds = self._deliver(webhooks[name], deliveries[:_IN_A_ROW])
                self._under_way[name] = asyncio.create_task(rounds)

    async def finish(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def stop(self) -> None:
        """Break off what is under way; it stays in the queue."""
        for task in self._under_way.values():
            task.cancel()
        await self.finish()

    async def _deliver(self, webhook: Webhook, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            answer = await self._sender.send(webhook, delivery.alert_id, delivery.event, self._clock.now())
            self._note(delivery, answer)
            if not answer.delivered:
                return  # the others are tried in the next round, so that a dead receiver is not asked for all at once

    def _note(self, delivery: Delivery, answer: Answer) -> None:
        attempt = delivery.attempts + 1
        if answer.delivered:
            self._store.mark(delivery, "delivered", answer.outcome)
            _log.info("alert %s delivered to %s: %s", delivery.alert_id, delivery.webhook, answer.outcome)
        elif answer.gone or attempt >= MOST_ATTEMPTS:
            self._give_up(delivery, answer.outcome)
        else:
            wait = max(wait_seconds(attempt, random.random()), answer.wait_seconds or 0.0)  # noqa: S311 - no secret
            self._store.mark(delivery, "waiting", answer.outcome, wait)
            _log.warning(
                "alert %s not delivered to %s, try %d of %d: %s; again in %.0f s",
                *(delivery.alert_id, delivery.webhook, attempt, MOST_ATTEMPTS, answer.outcome, wait),
            )

    def _give_up(self, delivery: Delivery, outcome: str) -> None:
        self._store.mark(delivery, "dead", outcome)
        _log.error(
            "alert %s given up for %s: %s; `llmguard alerts retry %s` sends it again",
            *(delivery.alert_id, delivery.webhook, outcome, delivery.alert_id),
        )
