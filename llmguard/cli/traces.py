"""`llmguard traces`: what happened, found and read while the gateway runs or not."""

import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from llmguard.audit.log import AuditLog
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_facts, print_json, print_rows
from llmguard.cli.trace_erase import erase, retain
from llmguard.cli.trace_export import write_jsonl, write_parquet
from llmguard.cli.trace_options import Moment, filters_from, search_options
from llmguard.cli.trace_view import print_trace
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import SystemClock
from llmguard.evidence.pinned import pinned_facts
from llmguard.evidence.proof import prove
from llmguard.redaction.lookup import placeholders_of
from llmguard.settings import Settings
from llmguard.traces.errors import DamagedStoreError
from llmguard.traces.filters import TraceFilters
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
_WINDOW_DAYS = 1  # a value is looked for day by day, so that no single question takes long
_LONGEST_VALUE = 10_000


@click.group()
def command() -> None:
    """Find, read and export traces."""


@command.command("search")
@search_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@as_json_option
@place_options
def search(*, limit: int, as_json: bool, **given: Any) -> None:
    """List the traces that pass all filters, newest first."""
    filters = filters_from(given)
    rows = _reader(settings_from("needed", **given)).list(limit=limit, **filters)
    print_rows(rows, _COLUMNS, as_json=as_json, none="No traces.")
    if len(rows) == limit and not as_json:
        click.echo(f"The newest {limit} are shown; --limit shows more, --until older ones.", err=True)


command.add_command(search, "list")


@command.command()
@click.argument("trace_id")
@click.option("--pinned", is_flag=True, help="Show what decided it, as it was then: preset, model, app, redaction.")
@as_json_option
@place_options
def show(*, trace_id: str, pinned: bool, as_json: bool, **places: str | None) -> None:
    """Show one trace: what happened at each of the nine steps, and all that is kept of it."""
    settings = settings_from("needed", **places)
    trace = find_trace(_reader(settings), trace_id)
    if pinned:
        print_facts(pinned_facts(trace, settings), as_json=as_json)
    elif as_json:
        print_facts(trace, as_json=True)
    else:
        print_trace(trace)


@command.command()
@search_options
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option("--limit", type=click.IntRange(1), help="At most so many; default: all.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
@place_options
def export(*, form: str, output: Path | None, limit: int | None, as_json: bool, **given: Any) -> None:
    """Write all columns of the traces that pass all filters, oldest first."""
    if form == "parquet" and (output is None or as_json):
        raise click.UsageError("Parquet goes to a file: add --output NAME.parquet, and leave --json out.")
    filters = filters_from(given)
    reader = _reader(settings_from("needed", **given))
    with reader.kept_open():
        rows = reader.export(limit=limit, **filters)
        if form == "parquet" and output is not None:
            first = next(rows, None)
            if first is None:
                click.echo("No traces, so no file.", err=True)
                return
            count = write_parquet((row for part in ([first], rows) for row in part), first, output)
        else:
            count = write_jsonl(rows, output)
    if output is not None:
        click.echo(f"{count} traces are in {output}.", err=True)


@command.command()
@as_json_option
@place_options
def verify(*, as_json: bool, **places: str | None) -> None:
    """Check that no trace and no entry of the audit log was changed, added or taken out.

    Exits 1 and names the first bad row.
    """
    settings = settings_from("needed", **places)
    reader, audit = _reader(settings), AuditLog(settings.data / "state.db", SystemClock())
    hidden, length = not sys.stderr.isatty(), 0
    with suppress(DamagedStoreError):  # which is what the proof then says
        length = reader.count()
    with click.progressbar(length=length, label="Checking", file=sys.stderr, hidden=hidden) as progress:
        proof = prove(reader, audit, lambda rows: progress.update(rows - progress.pos))
    if as_json:
        print_json(asdict(proof))
    elif proof.fault is None:
        erased = f" {proof.erased} payloads are erased, as the audit log says." if proof.erased else ""
        entries = f" {proof.audit_entries} audit entries hold." if proof.audit_entries else ""
        click.echo(f"{proof.rows} traces hold.{erased}{entries}")
    else:
        click.echo(f"Broken at {proof.fault}.")
    for action in proof.unfinished:
        click.echo(
            f"llmguard: erasure {action} was begun and did nothing; order it again if it is still due.", err=True
        )
    sys.exit(0 if proof.fault is None else 1)


command.add_command(erase)
command.add_command(retain)


@command.command("find-value")
@click.option("--app", required=True, help="Whose traces: each app has placeholders of its own.")
@click.option("--type", "entity_type", help="What it is, such as PERSON; default: all that was hidden for the app.")
@click.option("--since", type=Moment(), help="From this instant on; default: from the app's first trace.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="At most so many.")
@as_json_option
@place_options
def find_value(
    *,
    app: str,
    entity_type: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
    **places: str | None,
) -> None:
    """Find the traces of an app that hold a value, read from standard input.

    The value is neither stored nor printed: its placeholders are computed from it, with every secret in force.
    """
    settings = settings_from("needed", **places)
    reader = _reader(settings)
    value = _value_from_input()
    extent = reader.extent(app)
    types = [entity_type.upper()] if entity_type else extent["entity_types"]
    secrets = (settings.secret, *settings.previous_secrets)
    placeholders = list(placeholders_of(value, app=app, secrets=secrets, entity_types=types))
    filters: TraceFilters = {"data_of": app, "placeholders": placeholders}
    rows = _by_days(reader, filters, extent, since, limit) if placeholders and extent["first"] is not None else []
    if as_json:
        print_json({"app": app, "placeholders": [f"{found}…>" for found in placeholders], "traces": rows})
        return
    none = f"No trace of {app} holds this value" + (f" as {entity_type.upper()}." if entity_type else ".")
    print_rows(rows, _COLUMNS, as_json=False, none=none)


def _reader(settings: Settings) -> TraceReader:
    return TraceReader(settings.data, settings.at_rest)


def find_trace(reader: TraceReader, trace_id: str) -> JsonObject:
    """Return a trace, or end with what to do when there is none."""
    trace = reader.show(trace_id) if _is_uuid(trace_id) else None
    if trace is None:
        raise click.UsageError(
            f"There is no trace {trace_id}. `llmguard traces search` shows the newest; --request-id and --trace-parent "
            "find one by the caller's own ids."
        )
    return trace


def _value_from_input() -> str:
    if sys.stdin.isatty():
        click.echo("Type the value and press Enter; it is not kept.", err=True)
        value = sys.stdin.readline()
    else:
        value = sys.stdin.read(_LONGEST_VALUE + 1)
    value = value.strip()
    if not value or len(value) > _LONGEST_VALUE:
        raise click.UsageError(
            "Give one value on standard input, such as `printf %s 'Anna Schmidt' | llmguard traces find-value --app A`."
        )
    return value


def _by_days(
    reader: TraceReader, filters: TraceFilters, extent: JsonObject, since: datetime | None, limit: int
) -> list[JsonObject]:
    """Return what passes the filters, newest first, asked day by day."""
    first = max(datetime.fromtimestamp(extent["first"], UTC), since or datetime.min.replace(tzinfo=UTC))
    until = datetime.fromtimestamp(extent["last"], UTC) + timedelta(seconds=1)
    rows: list[JsonObject] = []
    days = max(1, -(-(until - first) // timedelta(days=_WINDOW_DAYS)))
    hidden = not sys.stderr.isatty()
    with click.progressbar(range(days), label="Looking", file=sys.stderr, hidden=hidden) as progress:
        for _ in progress:
            start = max(first, until - timedelta(days=_WINDOW_DAYS))
            if len(rows) < limit and start < until:
                window: TraceFilters = {**filters, "since": start.isoformat(), "until": until.isoformat()}
                rows += reader.list(limit=limit - len(rows), **window)
            until = start
    return rows


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
