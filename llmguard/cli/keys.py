"""`llmguard keys`: app keys, shown once and never again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast, get_args

import click

from llmguard.catalog.keys import explain_key, key_json, scope_problem
from llmguard.cli.main import fail
from llmguard.cli.options import as_json_option, as_option, place_options, settings_from
from llmguard.cli.output import print_facts, print_json, print_rows
from llmguard.cli.registry_file import current_registry, known_app
from llmguard.domain.catalog import KeyEnvironment, KeyScope
from llmguard.domain.clock import SystemClock
from llmguard.identity.key_store import IssuedKey, KeyStore, RevokedKey, UnknownKey
from llmguard.identity.scopes import ENDPOINTS

_COLUMNS = ("key_id", "app", "state", "created_at", "expires_at", "overlap_until", "revoked_at", "last_used_at")
_IN_FORCE = ("valid", "rotating")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Duration(click.ParamType[timedelta]):
    """A length of time such as 30d, 12h, 45m, 90s or 2w."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length of time that a text means."""
        if isinstance(value, timedelta):
            return value
        amount, unit = str(value)[:-1], str(value)[-1:]
        if not amount.isdecimal() or int(amount) == 0 or unit not in _UNITS:
            self.fail(f"{value!r} is no length of time; write 30d, 12h, 45m, 90s or 2w", param, ctx)
        try:
            return timedelta(**{_UNITS[unit]: int(amount)})
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


@click.group()
def command() -> None:
    """Issue, list, explain, rotate and revoke app keys."""


@command.command()
@click.argument("app")
@click.option(
    "--ttl", type=Duration(), default="90d", show_default=True, help="How long the key is valid, such as 30d or 12h."
)
@click.option("--preset", "presets", multiple=True, metavar="NAME", help="It may use this one only; again for more.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    type=click.Choice(ENDPOINTS),
    help="It may call this one only; again for more.",
)
@click.option(
    "--environment",
    type=click.Choice(get_args(KeyEnvironment)),
    default="production",
    show_default=True,
    help="sandbox: only echo models answer it.",
)
@as_option
@as_json_option
@place_options
def issue(  # noqa: PLR0913 - click passes one argument an option
    *,
    app: str,
    ttl: timedelta,
    presets: tuple[str, ...],
    endpoints: tuple[str, ...],
    environment: str,
    who: str,
    as_json: bool,
    **places: str | None,
) -> None:
    """Issue a key for APP and print it, once. Without limits it may do what APP may."""
    settings = settings_from("made", **places)
    registry = current_registry(settings)
    scope = KeyScope(endpoints or None, presets or None, cast("KeyEnvironment", environment))  # click checked it
    if (problem := scope_problem(scope, known_app(registry, app), registry)) is not None:
        raise click.UsageError(problem)
    store = KeyStore(settings.data / "state.db", settings.secret, SystemClock())
    _print_issued(store.issue(app, ttl=ttl, who=who, scope=scope), as_json=as_json)


@command.command("list")
@click.argument("app", required=False)
@click.option("--unused-for", type=Duration(), help="Only keys in force that nobody used for so long, such as 30d.")
@as_json_option
@place_options
def list_keys(*, app: str | None, unused_for: timedelta | None, as_json: bool, **places: str | None) -> None:
    """List keys, of APP or of all; never the keys themselves. The last use is known to half a minute."""
    now = SystemClock().now()
    keys = _store(**places).list(app)
    none = "No keys. Issue one with `llmguard keys issue APP`."
    if unused_for is not None:
        keys = tuple(key for key in keys if key.state_at(now) in _IN_FORCE and key.is_unused_since(now - unused_for))
        none = "Every key in force was used since then."
    print_rows([key_json(key, now) for key in keys], _COLUMNS, as_json=as_json, none=none)


@command.command()
@click.argument("key_id")
@as_json_option
@place_options
def explain(*, key_id: str, as_json: bool, **places: str | None) -> None:
    """Say whether KEY_ID works and what it may do, or why it is refused; exit 1 if it does not work."""
    registry = current_registry(settings_from("needed", **places))
    with _known_key(key_id):
        facts = explain_key(_store(**places).find(key_id), registry, SystemClock().now())
    print_facts(facts, as_json=as_json)
    if not facts["works"]:
        sys.exit(1)


@command.command()
@click.argument("key_id")
@click.option("--overlap", type=Duration(), default="7d", show_default=True, help="How long the old one stays valid.")
@click.option("--ttl", type=Duration(), default="90d", show_default=True, help="How long the new one is valid.")
@as_option
@as_json_option
@place_options
def rotate(*, key_id: str, overlap: timedelta, ttl: timedelta, who: str, as_json: bool, **places: str | None) -> None:
    """Give KEY_ID a new secret and print it, once; the old one stays valid for the overlap."""
    with _known_key(key_id):
        issued = _store(**places).rotate(key_id, overlap=overlap, ttl=ttl, who=who)
    _print_issued(issued, as_json=as_json)


@command.command()
@click.argument("key_id")
@as_option
@as_json_option
@place_options
def revoke(*, key_id: str, who: str, as_json: bool, **places: str | None) -> None:
    """Revoke KEY_ID; every worker refuses it within a second."""
    with _known_key(key_id):
        _store(**places).revoke(key_id, who=who)
    if as_json:
        print_json({"key_id": key_id, "state": "revoked"})
    click.echo(f"{key_id} is revoked.", err=True)


@contextmanager
def _known_key(key_id: str) -> Iterator[None]:
    try:
        yield
    except UnknownKey:
        raise click.UsageError(f"There is no key {key_id}. `llmguard keys list` shows the key ids.") from None
    except RevokedKey:
        raise click.UsageError(f"{key_id} was revoked. Issue a new key with `llmguard keys issue`.") from None


def _store(**places: str | None) -> KeyStore:
    """Return the keys of a data folder that has some."""
    settings = settings_from("needed", **places)
    if not (settings.data / "state.db").exists():
        fail(f"{settings.data} has no keys yet. Issue one with `llmguard keys issue APP`.")
    return KeyStore(settings.data / "state.db", settings.secret, SystemClock(), create=False)


def _print_issued(key: IssuedKey, *, as_json: bool) -> None:
    facts = {"key": key.secret_text, "key_id": key.key_id, "app": key.app, "expires_at": key.expires_at}
    print_facts(facts, as_json=as_json)
    click.echo("Keep it now: it cannot be shown again.", err=True)
