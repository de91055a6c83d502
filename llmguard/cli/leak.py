"""`llmguard leak`: who may have written what stands where it must not."""

from datetime import UTC, datetime, timedelta

import click

from llmguard.catalog.leaks import changes, findings, writers
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json, print_rows
from llmguard.cli.registry_file import current_registry
from llmguard.cli.trace_options import Moment
from llmguard.traces.reader import TraceReader


@click.group()
def command() -> None:
    """Find out who may have written what stands where it must not."""


@command.command()
@click.option("--connector", required=True, metavar="NAME", help="Where it stands, as the catalog names it.")
@click.option("--since", type=Moment(), help="Traces from this instant on: 2026-11-01, 7d; default: 30d.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Newest traces of each app."
)
@as_json_option
@place_options
def audit(*, connector: str, since: datetime | None, limit: int, as_json: bool, **places: str | None) -> None:
    """Show which apps may write to a connector, who changed that in git, and which of their traces held personal data.

    A connector that registry.yaml does not describe counts as one that is written to.
    """
    settings = settings_from("needed", **places)
    registry = current_registry(settings)
    named = {name for app in registry.apps.values() for name in app.connectors} | set(registry.connectors)
    if connector not in named:
        raise click.UsageError(f"There is no connector {connector}. Connectors: {', '.join(sorted(named)) or 'none'}.")
    apps = writers(registry, connector)
    history = changes(settings.registry, connector)
    commits = None if history is None else list(history)
    reader = TraceReader(settings.data, settings.at_rest)
    start = since or datetime.now(UTC) - timedelta(days=30)
    traces = [row for app in apps for row in findings(reader, app["app"], start, limit=limit)]
    if as_json:
        print_json({"connector": connector, "writers": apps, "changes": commits, "since": start, "traces": traces})
        return
    click.echo(f"Apps that may write to {connector}:")
    print_rows(apps, ("app", "status", "owner", "backup_owner", "sensitivity"), as_json=False, none="None.")
    click.echo("\nWho changed that:")
    if commits is None:
        click.echo(f"{settings.registry} is not in a git repository.", err=True)
    else:
        print_rows(commits, ("when", "who", "commit", "what", "subject"), as_json=False, none="Nobody.")
    click.echo(f"\nTheir traces with something confidential, since {start:%Y-%m-%d %H:%M} UTC:")
    print_rows(traces, ("started_at", "app", "trace_id", "entities", "preset", "status"), as_json=False, none="None.")
    if apps:
        click.echo(f"\nTo stop one at once: llmguard contain {apps[0]['app']} --reason '…'", err=True)
