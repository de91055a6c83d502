"""`llmguard finance reconcile`."""

from collections.abc import Sequence
from pathlib import Path

import click

from llmguard.cli.finance_options import format_option, or_fail, output_option, print_table, write_json, write_rows
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.registry_file import current_registry
from llmguard.finance.invoice import MEANINGS, read_invoice
from llmguard.finance.reconcile import model_names, reconcile
from llmguard.registry.accepted import PRICES
from llmguard.registry.price_figures import PriceFiles
from llmguard.traces.reader import TraceReader

_RECONCILED = ("day", "model", "our_cost_usd", "their_cost_usd", "difference_usd", "why")


@click.command()
@click.argument("invoice", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--column", "columns", multiple=True, metavar="MEANING=NAME", help=f"One of {', '.join(MEANINGS)}.")
@click.option("--model", "models", multiple=True, metavar="THEIRS=OURS", help="Our model for a name of theirs.")
@click.option("--provider", help="Only the traces of this provider of registry.yaml.")
@format_option("table", "csv", "json")
@output_option
@as_json_option
@place_options
def command(  # noqa: PLR0913 - click passes one argument an option
    *,
    invoice: Sequence[Path],
    columns: Sequence[str],
    models: Sequence[str],
    provider: str | None,
    form: str,
    output: Path | None,
    as_json: bool,
    **places: str | None,
) -> None:
    """Compare with a provider's usage or cost export (CSV), and explain the difference by day and model."""
    settings = settings_from("needed", **places)
    targets = [
        (model.name, target.target)
        for model in current_registry(settings).models.values()
        for target in model.targets
        if provider in (None, target.provider.name)
    ]
    names = model_names(targets, _pairs("--model", models))
    given = _pairs("--column", columns)
    unknown = [name for name in given if name not in MEANINGS]
    if unknown:
        raise click.UsageError(f"--column {unknown[0]}=…: there is {', '.join(MEANINGS)}.")
    reader, prices = TraceReader(settings.data, settings.at_rest), PriceFiles(settings.data / "registry" / PRICES)
    found = or_fail(lambda: reconcile(reader, prices, read_invoice(invoice, given), names, provider))
    if as_json or form == "json":
        write_json({"rows": found.rows, "total": found.total}, output)
    elif form == "csv":
        write_rows(found.rows, found.columns, form, output)
    else:
        print_table(found.rows, found.total, _RECONCILED, ("day",))
        for name in ("missing_here_usd", "missing_there_usd", "token_difference_usd", "price_difference_usd"):
            click.echo(f"{name:22}{found.total[name]:f}")


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in given)
    if not all(pairs.values()):
        raise click.UsageError(f"{option} is written as NAME=NAME.")
    return pairs
