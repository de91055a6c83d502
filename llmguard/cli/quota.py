"""`llmguard quota`: where an app stands against its limits."""

import asyncio

import click

from llmguard.catalog.facts import standing_json
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_rows
from llmguard.cli.registry_file import current_registry, known_app
from llmguard.domain.catalog import RESPONDER_PREFIX, App
from llmguard.domain.clock import SystemClock
from llmguard.domain.identifiers import worker_name
from llmguard.domain.quota import Standing
from llmguard.quota.ledger import Ledger
from llmguard.settings import Settings

_COLUMNS = ("scope", "whose", "name", "limit", "granted", "used", "held", "left", "resets_at")


@click.group()
def command() -> None:
    """See where an app stands."""


@command.command()
@click.argument("app")
@as_json_option
@place_options
def show(*, app: str, as_json: bool, **places: str | None) -> None:
    """Show every limit that counts for APP, its owner's and its cost center's too: what is left, and until when.

    The budget of who may replay live is shown by `responder:WHO`.
    """
    settings = settings_from("needed", **places)
    registry = current_registry(settings)
    asked = registry.replay.account(app.removeprefix(RESPONDER_PREFIX)) or known_app(registry, app)
    rows = [standing_json(standing) for standing in asyncio.run(read_standings(settings, asked))]
    print_rows(rows, _COLUMNS, as_json=as_json, none=f"{app} has no limits.")


async def read_standings(settings: Settings, app: App) -> tuple[Standing, ...]:
    """Return how an app stands, from the data folder, while the gateway runs or not."""
    ledger = Ledger(settings.data / "state.db", SystemClock(), worker_name())
    ledger.start()
    try:
        return await ledger.standings(app)
    finally:
        await ledger.close()
