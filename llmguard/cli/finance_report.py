"""`llmguard finance report`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from llmguard.cli.finance_options import (
    by_option,
    dimensions_of,
    format_option,
    month_option,
    or_fail,
    output_option,
    print_table,
    write_json,
    write_rows,
)
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.finance.report import Report, monthly_report
from llmguard.finance.spending import StoredSpending
from llmguard.traces.reader import TraceReader

_SHOWN = (
    *("requests", "refusals", "input_tokens", "cached_tokens", "output_tokens", "cost_usd", "share_percent"),
    *("change_usd", "forecast_usd"),
)


@click.command()
@month_option
@by_option("app")
@format_option("table", "csv", "json", "parquet")
@output_option
@as_json_option
@place_options
def command(
    *,
    month: str | None,
    by: Sequence[str],
    form: str,
    output: Path | None,
    as_json: bool,
    **places: str | None,
) -> None:
    """Report what a month cost, with forecast and top movers."""
    now = datetime.now(UTC)
    settings = settings_from("needed", **places)
    reader = TraceReader(settings.data, settings.at_rest)
    found = or_fail(lambda: monthly_report(StoredSpending(reader), month or f"{now:%Y-%m}", dimensions_of(by), now))
    form = "json" if as_json else form
    if form == "table":
        _print_report(found)
    elif form == "json":
        write_json(_report_json(found), output)
    else:
        write_rows(found.rows, found.columns, form, output)


def _report_json(found: Report) -> dict[str, Any]:  # Any: JSON with decimals
    names = [column.name for column in found.columns]
    return {
        "month": found.month,
        "by": list(found.by),
        "rows": [{name: row[name] for name in names} for row in found.rows],
        "total": found.total,
        "forecast_method": found.forecast,
        "compared_with": found.compared,
        "movers": list(found.movers),
        "notes": list(found.notes),
    }


def _print_report(found: Report) -> None:
    print_table(found.rows, found.total, (*found.by, *_SHOWN), found.by)
    if not found.rows:
        return
    click.echo(f"\nForecast for {found.month}: {_money(found.total['forecast_usd'])} USD. {found.forecast}")
    click.echo(f"Changes are against {found.compared}. The largest:")
    for mover in found.movers:
        who = " ".join(str(value or "-") for name, value in mover.items() if not name.endswith("_usd"))
        click.echo(f"  {who}: {mover['change_usd']:+f} USD ({mover['previous_cost_usd']:f} -> {mover['cost_usd']:f})")
    for note in found.notes:
        click.echo(f"Note: {note}")


def _money(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount:f}"
