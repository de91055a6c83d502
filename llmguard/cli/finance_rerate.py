"""`llmguard finance rerate`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from llmguard.cli.finance_options import (
    by_option,
    dimensions_of,
    format_option,
    or_fail,
    output_option,
    print_table,
    write_json,
    write_rows,
)
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.finance.questions import Period, month_of
from llmguard.finance.rerate import read_prices, rerate
from llmguard.traces.reader import TraceReader


@click.command()
@click.option(
    "--prices", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Prices in YAML."
)
@click.option("--since", type=click.DateTime(), help="From this instant on, in UTC; default: this month's beginning.")
@click.option("--until", type=click.DateTime(), help="Before this instant, in UTC; default: now.")
@by_option("model")
@format_option("table", "csv", "json")
@output_option
@as_json_option
@place_options
def command(  # noqa: PLR0913 - click passes one argument an option
    *,
    file: Path,
    since: datetime | None,
    until: datetime | None,
    by: Sequence[str],
    form: str,
    output: Path | None,
    as_json: bool,
    **places: str | None,
) -> None:
    """Compute what past requests would have cost under other prices; nothing stored is changed."""
    now = datetime.now(UTC)
    first = since.replace(tzinfo=UTC) if since else month_of(f"{now:%Y-%m}").since
    period = Period(first, until.replace(tzinfo=UTC) if until else now)
    settings = settings_from("needed", **places)
    reader = TraceReader(settings.data, settings.at_rest)
    found = or_fail(lambda: rerate(reader, read_prices(file), period, dimensions_of(by)))
    if found.missing:
        click.echo(f"Not in {file}, so at their old cost: {', '.join(found.missing)}.", err=True)
    if as_json or form == "json":
        write_json({"rows": found.rows, "total": found.total, "missing": found.missing}, output)
    elif form == "csv":
        write_rows(found.rows, found.columns, form, output)
    else:
        print_table(found.rows, found.total, [column.name for column in found.columns], by)
