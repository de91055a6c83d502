"""`llmguard operator`: tokens with which people sign in to the console, and programs to the admin API."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import cast

import click

from llmguard.cli.keys import Duration
from llmguard.cli.main import fail
from llmguard.cli.options import as_json_option, as_option, local_user, place_options, settings_from
from llmguard.cli.output import print_facts, print_json, print_rows
from llmguard.domain.clock import SystemClock
from llmguard.domain.identity import ROLES, Role
from llmguard.identity.operator_store import IssuedToken, OperatorStore, UnknownToken

_COLUMNS = ("token_id", "name", "state", "roles", "created_at", "created_by", "expires_at", "revoked_at", "revoked_by")
_ttl_option = click.option(
    "--ttl", type=Duration(), default="90d", show_default=True, help="How long it is valid, such as 30d or 12h."
)


@click.group()
def command() -> None:
    """Make tokens with which operators sign in."""


@command.command()
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES), help="What its holder is; again for more; default: all."
)
@click.option(
    "--name", metavar="WHO", help="Whose it is: an e-mail address as in registry.yaml; default: the user of this shell."
)
@_ttl_option
@as_option
@as_json_option
@place_options
def token(
    *, roles: tuple[str, ...], name: str | None, ttl: timedelta, who: str, as_json: bool, **places: str | None
) -> None:
    """Make a token and print it, once."""
    settings = settings_from("made", **places)
    store = OperatorStore(settings.data / "state.db", settings.secret, SystemClock())
    given = cast("tuple[Role, ...]", tuple(dict.fromkeys(roles)) or ROLES)  # click checked them
    _print_issued(store.issue(name or local_user(), given, ttl=ttl, who=who), as_json=as_json)


@command.command("list")
@as_json_option
@place_options
def list_tokens(*, as_json: bool, **places: str | None) -> None:
    """List tokens; never the tokens themselves."""
    now = SystemClock().now()
    rows = [asdict(one) | {"state": one.state_at(now)} for one in _store(**places).tokens()]
    print_rows(rows, _COLUMNS, as_json=as_json, none="No tokens. Make one with `llmguard operator token`.")


@command.command()
@click.argument("token_id")
@_ttl_option
@as_option
@as_json_option
@place_options
def rotate(*, token_id: str, ttl: timedelta, who: str, as_json: bool, **places: str | None) -> None:
    """Give TOKEN_ID a new secret and print it, once; the old one and its sessions end at once."""
    with _known_token(token_id):
        issued = _store(**places).rotate(token_id, ttl=ttl, who=who)
    _print_issued(issued, as_json=as_json)


@command.command()
@click.argument("token_id")
@as_option
@as_json_option
@place_options
def revoke(*, token_id: str, who: str, as_json: bool, **places: str | None) -> None:
    """End TOKEN_ID and every session that was opened with it."""
    with _known_token(token_id):
        _store(**places).revoke(token_id, who=who)
    if as_json:
        print_json({"token_id": token_id, "state": "revoked"})
    click.echo(f"{token_id} is revoked, and its sessions are over.", err=True)


@contextmanager
def _known_token(token_id: str) -> Iterator[None]:
    try:
        yield
    except UnknownToken:
        raise click.UsageError(
            f"There is no token {token_id} that is not revoked. `llmguard operator list` shows them."
        ) from None


def _store(**places: str | None) -> OperatorStore:
    settings = settings_from("needed", **places)
    if not (settings.data / "state.db").exists():
        fail(f"{settings.data} has no operators yet. Make a token with `llmguard operator token`.")
    return OperatorStore(settings.data / "state.db", settings.secret, SystemClock(), create=False)


def _print_issued(issued: IssuedToken, *, as_json: bool) -> None:
    one = issued.token
    facts = {
        "token": issued.secret_text,
        "token_id": one.token_id,
        "name": one.name,
        "roles": one.roles,
        "expires_at": one.expires_at,
    }
    print_facts(facts, as_json=as_json)
    click.echo("Keep it now: it cannot be shown again. Paste it at /console/sign-in.", err=True)
