"""`llmguard apps`: the app catalog as it is in force, and renewals by owners."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from llmguard.catalog.renewal import Renewals, check_renewer, renewal_json
from llmguard.cli.apps_git import COMMANDS
from llmguard.cli.options import as_json_option, as_option, place_options, settings_from
from llmguard.cli.output import print_facts, print_rows
from llmguard.cli.registry_file import current_registry, known_app
from llmguard.domain.catalog import App, Quota
from llmguard.domain.clock import SystemClock
from llmguard.domain.money import to_usd

_COLUMNS = ("name", "status", "sensitivity", "owner", "cost_center", "expires", "presets")


@click.group()
def command() -> None:
    """Look at the app catalog, renew approvals, and move apps to and from git."""


for one in COMMANDS:
    command.add_command(one)


@command.command("list")
@as_json_option
@place_options
def list_apps(*, as_json: bool, **places: str | None) -> None:
    """List all apps."""
    registry = current_registry(settings_from("optional", **places))
    print_rows(
        [_facts(app) for app in registry.apps.values()], _COLUMNS, as_json=as_json, none="The catalog has no apps."
    )


@command.command()
@click.argument("app")
@as_json_option
@place_options
def show(*, app: str, as_json: bool, **places: str | None) -> None:
    """Show APP as the catalog has it."""
    print_facts(_facts(known_app(current_registry(settings_from("optional", **places)), app)), as_json=as_json)


@command.command()
@click.argument("app")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The new last day; default: as far as owners may go.")
@as_option
@as_json_option
@place_options
def renew(*, app: str, until: datetime | None, who: str, as_json: bool, **places: str | None) -> None:
    """Extend the approval of APP; its owner or backup owner does (--as). Git follows: `llmguard apps drift`."""
    settings = settings_from("needed", **places)
    registry = current_registry(settings)
    known = known_app(registry, app)
    check_renewer(known, who)
    day = None if until is None else until.replace(tzinfo=UTC).date()
    renewal = Renewals(settings.data, SystemClock()).renew(known, registry.renewal, who, day)
    print_facts(renewal_json(renewal), as_json=as_json)
    click.echo(f"In registry.yaml, under apps, {app}, write: expires: {renewal.to_day}", err=True)


def _facts(app: App) -> dict[str, Any]:
    facts = asdict(app) | {"sensitivity": app.sensitivity.label, "quota": _limits(app.quota)}
    facts["shared"] = {scope.id: _limits(scope.quota) for scope in app.shared}
    return facts


def _limits(quota: Quota) -> dict[str, Any]:
    limits: dict[str, Any] = {name: limit for name, limit in asdict(quota).items() if limit is not None}
    if "nano_usd_per_month" in limits:  # as registry.yaml writes it
        limits["usd_per_month"] = to_usd(limits.pop("nano_usd_per_month")).normalize()
    return limits
