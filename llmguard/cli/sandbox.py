"""`llmguard sandbox`: what apps are built and tried with before they are approved."""

import click

from llmguard.catalog.made_up import KINDS, Kind, as_csv, as_json_lines, made_up_rows

_MOST_ROWS = 1_000_000


@click.group()
def command() -> None:
    """Make data that apps in the sandbox may use."""


@command.command()
@click.option("--rows", type=click.IntRange(1, _MOST_ROWS), default=100, show_default=True, help="How many rows.")
@click.option("--kind", type=click.Choice(KINDS), default="people", show_default=True, help="What they are about.")
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True, help="How to write them."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same rows.")
def data(*, rows: int, kind: Kind, form: str, seed: int) -> None:
    """Print made-up rows: nobody real has such a name, address or number, and apps in the sandbox may send them."""
    made = list(made_up_rows(kind, rows, seed))
    click.echo(as_csv(made) if form == "csv" else as_json_lines(made), nl=False)
