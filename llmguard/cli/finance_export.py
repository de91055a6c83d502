"""`llmguard finance export`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from llmguard.cli.finance_options import Rows, format_option, month_option, or_fail, output_option, write_rows
from llmguard.cli.options import place_options, settings_from
from llmguard.finance.focus import FOCUS_VERSIONS, focus_columns, focus_rows, focus_version
from llmguard.finance.questions import month_of
from llmguard.finance.tables import Column
from llmguard.registry.accepted import PRICES
from llmguard.registry.price_figures import PriceFiles
from llmguard.traces.reader import TraceReader


@click.command()
@click.option("--focus", is_flag=True, required=True, help="FinOps FOCUS cost and usage dataset.")
@month_option
@click.option("--version", "version", default=FOCUS_VERSIONS[0], show_default=True, help="Of the FOCUS specification.")
@format_option("csv", "parquet")
@output_option
@place_options
def command(
    *, focus: bool, month: str | None, version: str, form: str, output: Path | None, **places: str | None
) -> None:
    """Export a month, one row an app, day, model and kind of token."""
    del focus  # the only export there is
    settings = settings_from("needed", **places)

    def rows() -> tuple[Rows, Sequence[Column]]:
        columns = focus_columns(focus_version(version))
        period = month_of(month or f"{datetime.now(UTC):%Y-%m}")
        return list(
            focus_rows(
                TraceReader(settings.data, settings.at_rest), PriceFiles(settings.data / "registry" / PRICES), period
            )
        ), columns

    found, columns = or_fail(rows)
    write_rows(found, columns, form, output)
