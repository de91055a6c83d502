"""`llmguard traces erase` and `retain`: payloads go for good, figures and the hash chain stay."""

import re
import sys

import click

from llmguard.cli.options import as_json_option, local_user, place_options, settings_from
from llmguard.cli.output import print_facts
from llmguard.cli.registry_file import current_registry
from llmguard.domain.clock import SystemClock
from llmguard.evidence.erasure import Outcome, carry_out, erasure_order, retention_order
from llmguard.settings import Settings
from llmguard.traces.erasing import Order
from llmguard.traces.filters import TraceFilters

_PLACEHOLDER = re.compile(r"<?([A-Z][A-Z0-9_]*_[A-Z]+)>?")
_LEFT = 1
_LONGEST_REASON = 200


@click.command()
@click.option("--placeholder", metavar="<TYPE_CODE>", help="Of every trace that holds it, as `find-value` prints it.")
@click.option("--app", help="Of every trace of this app; with --placeholder, only those of the app that hold it.")
@click.option("--reason", required=True, help="A ticket or case number; kept for good, so name nobody.")
@click.option("--yes", is_flag=True, help="Do it. Without, it only says how many there are.")
@as_json_option
@place_options
def erase(
    *, placeholder: str | None, app: str | None, reason: str, yes: bool, as_json: bool, **places: str | None
) -> None:
    """Erase requests and answers for good, for somebody whose data they hold. Figures stay, and the chain holds.

    Exits 1 without --yes, or if a file that is not llmguard's own still holds the placeholder.
    """
    filters: TraceFilters = {}
    if app is not None:
        filters["app"] = app
    if placeholder is not None:
        filters["placeholders"] = [_beginning(placeholder)]
    if not filters:
        raise click.UsageError("Say whose: --placeholder '<PERSON_…>' or --app NAME.")
    if not reason.strip() or len(reason) > _LONGEST_REASON:
        raise click.UsageError(f"--reason is a ticket or case number of at most {_LONGEST_REASON} characters.")
    settings = settings_from("needed", **places)
    order = erasure_order(filters, who=local_user(), reason=reason.strip(), dry_run=not yes)
    _carry_out(settings, order, as_json=as_json)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@as_json_option
@place_options
def retain(*, dry_run: bool, as_json: bool, **places: str | None) -> None:
    """Erase requests and answers that are older than `retention` in registry.yaml wants; `serve` does so every day."""
    settings = settings_from("needed", **places)
    order = retention_order(current_registry(settings), SystemClock().now(), who=local_user(), dry_run=dry_run)
    _carry_out(settings, order, as_json=as_json)


def _carry_out(settings: Settings, order: Order, *, as_json: bool) -> None:
    outcome = carry_out(settings, order)
    if as_json:
        print_facts(_facts(outcome, order), as_json=True)
    else:
        click.echo(_words(outcome, order))
    for path in outcome.left_in:
        click.echo(f"llmguard: {path} still holds it, and is no file of llmguard; remove it yourself.", err=True)
    sys.exit(_LEFT if outcome.left_in or (order.dry_run and order.kind == "erasure" and outcome.rows) else 0)


def _words(outcome: Outcome, order: Order) -> str:
    if order.dry_run:
        go = "" if order.kind == "retention" or not outcome.rows else " Add --yes to erase them for good."
        return f"{outcome.rows} traces hold requests and answers that would go.{go}"
    answers = (
        f" {outcome.first_answers} answers kept for repeated requests are gone too." if outcome.first_answers else ""
    )
    return f"The requests and answers of {outcome.rows} traces are gone; action {outcome.action}.{answers}"


def _facts(outcome: Outcome, order: Order) -> dict[str, object]:
    return {
        "action": None if order.dry_run else outcome.action,
        "done": not order.dry_run,
        "traces": outcome.rows,
        "first_answers": outcome.first_answers,
        "rejected_files": outcome.rejected_files,
        "left_in": [str(path) for path in outcome.left_in],
    }


def _beginning(placeholder: str) -> str:
    """Return how a placeholder begins, whether it was typed with its brackets, or as `find-value` prints it."""
    found = _PLACEHOLDER.fullmatch(placeholder.strip().replace("…", ""))
    if found is None:
        raise click.UsageError(f"{placeholder!r} is no placeholder such as '<PERSON_KOFADELIMORU>'; put it in quotes.")
    return f"<{found[1]}"
