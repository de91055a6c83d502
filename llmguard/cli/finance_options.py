"""What the commands of `llmguard finance` share: their options, and how rows are written."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from llmguard.cli.main import fail
from llmguard.cli.options import Command
from llmguard.cli.output import print_json, print_rows
from llmguard.finance.errors import FinanceError
from llmguard.finance.questions import DIMENSIONS, Dimension
from llmguard.finance.tables import Column, as_csv, plain, write_parquet

Rows = Sequence[Mapping[str, Any]]  # Any: texts, whole numbers, decimals
Found = TypeVar("Found")

month_option = click.option("--month", help="As in 2026-11, in UTC; default: the present month.")
output_option = click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")


def by_option(default: Dimension) -> Callable[[Command], Command]:
    """Add --by."""
    return click.option(
        "--by",
        multiple=True,
        type=click.Choice(DIMENSIONS),
        default=[default],
        show_default=True,
        help="What the rows are by; several are nested.",
    )


def format_option(*formats: str) -> Callable[[Command], Command]:
    """Add --format; the first is the default."""
    return click.option("--format", "form", type=click.Choice(formats), default=formats[0], show_default=True)


def dimensions_of(by: Sequence[str]) -> tuple[Dimension, ...]:
    """Return what --by named, each once."""
    return cast("tuple[Dimension, ...]", tuple(dict.fromkeys(by)))  # click has checked each


def or_fail(question: Callable[[], Found]) -> Found:
    """Return the answer to a question, or end the command with what is in its way."""
    try:
        return question()
    except FinanceError as error:
        fail(str(error))


def write_rows(rows: Rows, columns: Sequence[Column], form: str, output: Path | None) -> None:
    """Write rows as CSV or Parquet, to a file or to standard output."""
    if form == "parquet":
        if output is None:
            raise click.UsageError("Parquet goes to a file: add --output NAME.parquet.")
        or_fail(lambda: write_parquet(output, rows, columns))
    else:
        _write_text(as_csv(rows, columns), output)


def write_json(data: Any, output: Path | None) -> None:  # Any: JSON with decimals
    """Write JSON to a file, or print it."""
    if output is None:
        print_json(data)
        return
    _write_text(json.dumps(data, indent=2, default=plain, ensure_ascii=False) + "\n", output)


def _write_text(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}.")


def print_table(rows: Rows, total: Mapping[str, Any], columns: Sequence[str], by: Sequence[str]) -> None:
    """Print rows as a table, with the total below them."""
    lines = [{name: plain(row.get(name)) for name in columns} for row in rows]
    if lines:
        first, *others = by
        lines.append({name: plain(total.get(name)) for name in columns} | {first: "total"} | dict.fromkeys(others, ""))
    print_rows(lines, columns, as_json=False, none="No traces in this time.")
