"""`llmguard alerts`: what was told to whom, what never arrived, and whether a receiver works."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from llmguard.alerts.event import cloud_event
from llmguard.alerts.sending import Answer, Sender
from llmguard.alerts.store import AlertStore
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_facts, print_rows
from llmguard.cli.registry_file import current_registry
from llmguard.domain.alerts import Webhook
from llmguard.domain.clock import SystemClock
from llmguard.domain.identifiers import new_trace_id
from llmguard.settings import Settings

_LISTED = ("id", "time", "type", "subject", "arrived", "message")
_DEAD = ("id", "webhook", "given_up_at", "attempts", "outcome", "type", "message")
_TESTED = ("webhook", "delivered", "outcome")
_NOT_DELIVERED = 1


@click.group()
def command() -> None:
    """See what was told to whom, and what never arrived."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many, newest first.")
@as_json_option
@place_options
def list_alerts(*, limit: int, as_json: bool, **places: str | None) -> None:
    """List alerts, newest first, with how they fared at each receiver."""
    with _store(settings_from("needed", **places)) as store:
        rows = store.newest(limit)
    for row in rows:
        row["arrived"] = ", ".join(f"{name}: {one['state']}" for name, one in row["deliveries"].items()) or None
    print_rows(rows, _LISTED, as_json=as_json, none="Nothing was told yet.")


@command.command()
@as_json_option
@place_options
def dead(*, as_json: bool, **places: str | None) -> None:
    """List what never arrived, though it was tried to the end."""
    with _store(settings_from("needed", **places)) as store:
        rows = store.dead()
    print_rows(rows, _DEAD, as_json=as_json, none="Everything has arrived, or is still being tried.")


@command.command()
@click.argument("alert_id", metavar="ID", required=False)
@click.option("--all", "every", is_flag=True, help="All that never arrived.")
@as_json_option
@place_options
def retry(*, alert_id: str | None, every: bool, as_json: bool, **places: str | None) -> None:
    """Send ID again, or everything that never arrived; the running gateway does it within a second."""
    if (alert_id is None) != every:
        raise click.UsageError("Name an ID of `llmguard alerts dead`, or give --all.")
    with _store(settings_from("needed", **places)) as store:
        count = store.retry(alert_id)
    if count == 0 and alert_id is not None:
        raise click.UsageError("No dead letter has this id. `llmguard alerts dead` lists them.")
    print_facts({"queued": count}, as_json=as_json)


@command.command()
@click.argument("webhook", required=False)
@as_json_option
@place_options
def test(*, webhook: str | None, as_json: bool, **places: str | None) -> None:
    """Send a test event to WEBHOOK, or to all, at once, and say what came of it; exits 1 if one was not accepted."""
    settings = settings_from("needed", **places)
    webhooks = {one.name: one for one in current_registry(settings).alerts.webhooks}
    if webhook is not None and webhook not in webhooks:
        known = ", ".join(webhooks) or "none; name them under `alerts` in registry.yaml"
        raise click.UsageError(f"There is no webhook {webhook}. Webhooks: {known}.")
    asked = [one for name, one in webhooks.items() if webhook in (None, name)]
    answers = asyncio.run(_send_tests(asked))
    rows = [{"webhook": name, "delivered": one.delivered, "outcome": one.outcome} for name, one in answers.items()]
    print_rows(rows, _TESTED, as_json=as_json, none="registry.yaml names no webhooks under `alerts`.")
    if not all(answer.delivered for answer in answers.values()):
        sys.exit(_NOT_DELIVERED)


async def _send_tests(webhooks: list[Webhook]) -> dict[str, Answer]:
    sender, now = Sender(os.environ), SystemClock().now()
    alert_id = new_trace_id(now)
    message = {"message": "This is a test. Nothing has happened."}
    event = cloud_event(alert_id, now, "com.llmguard.test", "alerts", message)
    answers = await asyncio.gather(*(sender.send(webhook, alert_id, event, now) for webhook in webhooks))
    return {webhook.name: answer for webhook, answer in zip(webhooks, answers, strict=True)}


@contextmanager
def _store(settings: Settings) -> Iterator[AlertStore]:
    store = AlertStore(settings.data / "state.db", SystemClock())
    try:
        yield store
    finally:
        store.close()
