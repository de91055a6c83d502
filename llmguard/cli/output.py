"""Data to standard output: aligned columns for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import click


def print_json(data: Any) -> None:
    """Print JSON, one document."""
    click.echo(json.dumps(data, indent=2, default=_plain, ensure_ascii=False))


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, none: str) -> None:
    """Print rows as a table with these columns, or all that they hold as JSON; `none` is said when there are none."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        click.echo(none, err=True)
        return
    table = [list(columns), *([_shown(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing as `name: value` lines, or as JSON."""
    if as_json:
        print_json(facts)
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name.ljust(width)}  {_shown(value)}")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:.1f}" if value.is_integer() else f"{value:.4g}"
    return str(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value if isinstance(value, str | int | float | bool) else str(value)
