"""`llmguard overage`: ask for more quota, and decide about it.

Whoever can run it on the data folder is an operator: `--as` is believed, and recorded in the audit table. Over the
network, the admin API knows who somebody is by their sign-in.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast, get_args

import click

from llmguard.catalog.overage import overage_for_approvers
from llmguard.cli.keys import Duration
from llmguard.cli.options import as_json_option, as_option, place_options, settings_from
from llmguard.cli.output import print_facts, print_rows
from llmguard.cli.registry_file import current_registry, known_app
from llmguard.domain.catalog import ScopeKind
from llmguard.domain.clock import SystemClock
from llmguard.domain.errors import Refusal
from llmguard.domain.quota import LimitName
from llmguard.quota.gate import OverageGate, UnknownOverage
from llmguard.quota.overage import Ask, Overage, parse_amount
from llmguard.settings import Settings

_COLUMNS = ("id", "state", "app", "scope", "limit", "amount", "granted", "ends_at", "requested_by", "reason")
_REFUSED = 1


class Moment(click.ParamType[datetime]):
    """When a grant ends: a date (its end, UTC), a date with time, or a length of time such as 7d from now."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment that a text means."""
        if isinstance(value, datetime):
            return value
        try:
            return self._moment(value, param, ctx)
        except OverflowError:
            self.fail(f"{value!r} is too far away", param, ctx)

    def _moment(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return datetime.combine(date.fromisoformat(value) + timedelta(days=1), time(), UTC)
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return SystemClock().now() + Duration().convert(value, param, ctx)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@click.group()
def command() -> None:
    """Ask for more quota, and decide about it."""


@command.command()
@click.argument("app")
@click.argument("limit", type=click.Choice(get_args(LimitName)))
@click.argument("amount")
@click.option("--reason", required=True, help="Why, in a sentence; those who decide read it.")
@click.option("--scope", type=click.Choice(get_args(ScopeKind)), default="app", show_default=True, help="Whose limit.")
@click.option("--as", "who", metavar="WHO", help="Who asks: an e-mail address; default: the owner of APP.")
@as_json_option
@place_options
def request(  # noqa: PLR0913 - click passes one argument an option
    *, app: str, limit: str, amount: str, reason: str, scope: str, who: str | None, as_json: bool, **places: str | None
) -> None:
    """Ask for AMOUNT more of LIMIT for APP."""
    settings = settings_from("needed", **places)
    asked = known_app(current_registry(settings), app)
    with _refusals():
        name = cast("LimitName", limit)  # click checked it
        wanted = Ask(asked, cast("ScopeKind", scope), name, parse_amount(name, amount), reason, who or asked.owner)
        _print(_gate(settings).request(wanted), as_json=as_json)


@command.command("list")
@click.argument("app", required=False)
@as_json_option
@place_options
def list_requests(*, app: str | None, as_json: bool, **places: str | None) -> None:
    """List requests for more, of APP or of all, with their reasons."""
    now = SystemClock().now()
    every = _gate(settings_from("needed", **places)).all()
    rows = [overage_for_approvers(one, now) for one in every if app in (None, one.app)]
    print_rows(rows, _COLUMNS, as_json=as_json, none="Nobody has asked for more.")


@command.command()
@click.argument("overage_id", metavar="ID")
@as_option
@click.option("--amount", help="How much to grant; default: what was asked.")
@click.option("--until", type=Moment(), help="When it ends: 2026-12-31 (with that day, UTC), a time, or 7d from now.")
@as_json_option
@place_options
def approve(
    *, overage_id: str, who: str, amount: str | None, until: datetime | None, as_json: bool, **places: str | None
) -> None:
    """Grant what ID asks for, or another amount, until an end. The limit is higher by it in every window until then."""
    settings = settings_from("needed", **places)
    gate = _gate(settings)
    with _refusals():
        granted = None if amount is None else parse_amount(_limit_of(gate, overage_id), amount)
        decided = gate.approve(current_registry(settings), overage_id, who, amount=granted, ends_at=until)
    _print(decided, as_json=as_json)
    if decided.state == "awaiting_second":
        click.echo("It is above the cap for one approver: a second, different one has to approve it too.", err=True)


@command.command()
@click.argument("overage_id", metavar="ID")
@as_option
@click.option("--reason", required=True, help="Why not, in a sentence.")
@as_json_option
@place_options
def deny(*, overage_id: str, who: str, reason: str, as_json: bool, **places: str | None) -> None:
    """Refuse what ID asks for."""
    settings = settings_from("needed", **places)
    with _refusals():
        _print(_gate(settings).deny(current_registry(settings), overage_id, who, reason), as_json=as_json)


def _gate(settings: Settings) -> OverageGate:
    return OverageGate(settings.data / "state.db", SystemClock())


def _limit_of(gate: OverageGate, overage_id: str) -> LimitName:
    for one in gate.all():
        if one.id == overage_id:
            return one.limit
    raise UnknownOverage


@contextmanager
def _refusals() -> Iterator[None]:
    """End the command with 1 where the rules refuse it, and with 2 where there is no such request."""
    try:
        yield
    except UnknownOverage:
        raise click.UsageError("There is no such request. `llmguard overage list` shows their ids.") from None
    except Refusal as refusal:
        click.echo(f"llmguard: {refusal.message} {refusal.hint or ''}".rstrip(), err=True)
        sys.exit(_REFUSED)


def _print(overage: Overage, *, as_json: bool) -> None:
    print_facts(overage_for_approvers(overage, SystemClock().now()), as_json=as_json)
