"""`llmguard traces`: what happened, found and read while the gateway runs or not."""

from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import click

from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_facts, print_rows
from llmguard.traces.queries import TraceFilters
from llmguard.traces.reader import TraceReader

_COLUMNS = (
    "trace_id",
    "started_at",
    "app",
    "preset",
    "status",
    "code",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "latency_ms",
)


@click.group()
def command() -> None:
    """Find and read traces."""


@command.command("list")
@click.option("--app", help="Only of this app.")
@click.option("--preset", help="Only of this preset.")
@click.option("--code", help="Only with this code, such as parameter_not_allowed.")
@click.option("--status", type=int, help="Only with this HTTP status.")
@click.option("--since", type=click.DateTime(), help="Only from this instant on, in UTC.")
@click.option("--until", type=click.DateTime(), help="Only before this instant, in UTC.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@as_json_option
@place_options
def list_traces(  # noqa: PLR0913 - click passes one argument an option
    *,
    app: str | None,
    preset: str | None,
    code: str | None,
    status: int | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
    **places: str | None,
) -> None:
    """List traces, newest first."""
    given = {"app": app, "preset": preset, "code": code, "status": status, "since": _utc(since), "until": _utc(until)}
    filters = cast("TraceFilters", {name: value for name, value in given.items() if value is not None})  # built by name
    rows = TraceReader(settings_from("needed", **places).data).list(limit=limit, **filters)
    print_rows(rows, _COLUMNS, as_json=as_json, none="No traces.")


@command.command()
@click.argument("trace_id")
@as_json_option
@place_options
def show(*, trace_id: str, as_json: bool, **places: str | None) -> None:
    """Show one trace with all that is kept of it."""
    reader = TraceReader(settings_from("needed", **places).data)
    trace = reader.show(trace_id) if _is_uuid(trace_id) else None
    if trace is None:
        raise click.UsageError(f"There is no trace {trace_id}. `llmguard traces list` shows the newest.")
    print_facts(trace, as_json=as_json)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _utc(instant: datetime | None) -> str | None:
    return None if instant is None else instant.replace(tzinfo=UTC).isoformat()
