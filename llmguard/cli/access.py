"""`llmguard access`: roles for some hours, asked for by one and given by another."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import cast

import click

from llmguard.cli.keys import Duration
from llmguard.cli.options import as_json_option, as_option, place_options, settings_from
from llmguard.cli.output import print_facts, print_rows
from llmguard.domain.clock import SystemClock
from llmguard.domain.identity import ROLES, Role
from llmguard.domain.operators import OperatorRefused
from llmguard.identity.access import Access, AccessDesk

_COLUMNS = ("id", "state", "who", "role", "requested_at", "reason", "decided_by", "ends_at", "ended_by")
_REFUSED = 1


@click.group()
def command() -> None:
    """Ask for a role for some hours, and decide about it."""


@command.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="The role that is needed.")
@click.option("--for", "lasting", type=Duration(), default="2h", show_default=True, help="How long, 24h at most.")
@click.option("--reason", required=True, help="What for, in a sentence; those who decide read it.")
@as_option
@as_json_option
@place_options
def request(*, role: str, lasting: timedelta, reason: str, who: str, as_json: bool, **places: str | None) -> None:
    """Ask for a role; it counts once somebody else has approved it."""
    with _refusals():
        _print(_desk(**places).request(who, cast("Role", role), lasting, reason), as_json=as_json)  # click checked it


@command.command()
@click.argument("access_id", metavar="ID")
@as_option
@as_json_option
@place_options
def approve(*, access_id: str, who: str, as_json: bool, **places: str | None) -> None:
    """Give what ID asks for, from now on; nobody approves their own."""
    with _refusals():
        _print(_desk(**places).approve(access_id, who), as_json=as_json)


@command.command()
@click.argument("access_id", metavar="ID")
@as_option
@as_json_option
@place_options
def end(*, access_id: str, who: str, as_json: bool, **places: str | None) -> None:
    """Refuse ID, or end what it gave, now."""
    with _refusals():
        _print(_desk(**places).end(access_id, who), as_json=as_json)


@command.command("list")
@as_json_option
@place_options
def list_access(*, as_json: bool, **places: str | None) -> None:
    """List who asked for which role, and what became of it."""
    now = SystemClock().now()
    rows = [asdict(one) | {"state": one.state_at(now)} for one in _desk(**places).all()]
    print_rows(rows, _COLUMNS, as_json=as_json, none="Nobody has asked for a role.")


@contextmanager
def _refusals() -> Iterator[None]:
    """End the command with 2 for an id or a value that cannot be, and with 1 where a rule refuses it."""
    try:
        yield
    except OperatorRefused as refused:
        if refused.code in ("not_found", "body_refused"):
            raise click.UsageError(f"{refused.message} {refused.hint}") from None
        click.echo(f"llmguard: {refused.message} {refused.hint}", err=True)
        sys.exit(_REFUSED)


def _desk(**places: str | None) -> AccessDesk:
    return AccessDesk(settings_from("needed", **places).data / "state.db", SystemClock())


def _print(access: Access, *, as_json: bool) -> None:
    print_facts(asdict(access) | {"state": access.state_at(SystemClock().now())}, as_json=as_json)
