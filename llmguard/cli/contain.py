"""`llmguard contain`: stop an app at once, or start it again."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from llmguard.catalog.containment import Containments, containment_json
from llmguard.cli.main import fail
from llmguard.cli.options import as_json_option, as_option, place_options, settings_from
from llmguard.cli.output import print_facts
from llmguard.cli.registry_file import current_registry, known_app
from llmguard.domain.catalog import App
from llmguard.domain.clock import SystemClock
from llmguard.evidence.pack import make_pack
from llmguard.evidence.scope import Scope
from llmguard.evidence.signing import EvidenceError
from llmguard.settings import Settings
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.traces.reader import TraceReader

_PACKED = timedelta(days=30)


@click.command()
@click.argument("app")
@click.option("--reason", required=True, help="Why; only operators read it.")
@click.option("--lift", is_flag=True, help="End the containment instead; the old keys stay revoked.")
@click.option(
    "--pack",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an evidence pack of the app's last 30 days, too: a signed zip, as `llmguard evidence pack` does.",
)
@as_option
@as_json_option
@place_options
def command(
    *, app: str, reason: str, lift: bool, pack: Path | None, who: str, as_json: bool, **places: str | None
) -> None:
    """Stop APP at once: keys revoked, requests refused by every worker within a second, owners told, evidence noted.

    It stays so, whatever registry.yaml says, until somebody lifts it.
    """
    settings = settings_from("needed", **places)
    known = known_app(current_registry(settings), app)
    try:
        containments = Containments(settings.data, SystemClock(), TraceReader(settings.data, settings.at_rest).query)
        if lift:
            print_facts(containment_json(containments.lift(known, who, reason)), as_json=as_json)
            click.echo(f"{app} may be used again; give it a new key: `llmguard keys issue {app}`.", err=True)
        else:
            _contain(containments, known, who, reason, as_json=as_json)
            if pack is not None:
                _pack(settings, app, pack)
    except (sqlite3.Error, OSError) as error:
        fail(f"state.db cannot be written ({type(error).__name__}); nothing was changed.")


def _contain(containments: Containments, app: App, who: str, reason: str, *, as_json: bool) -> None:
    done = containments.contain(app, who, reason)
    click.echo(f"{app.name} is stopped; {len(done.key_ids)} of its keys are revoked.", err=True)
    evidence = containments.keep_evidence(done.containment) if done.is_new else None
    facts = containment_json(done.containment) | {"key_ids": done.key_ids, "is_new": done.is_new, "evidence": evidence}
    print_facts(facts, as_json=as_json)
    if done.is_new and evidence is None:
        click.echo("Its traces cannot be read now, so that the audit log does not name them.", err=True)


def _pack(settings: Settings, app: str, file: Path) -> None:
    now = datetime.now(UTC)
    try:
        packed = make_pack(settings, Scope(now - _PACKED, now, app), file)
    except (EvidenceError, TraceStoreError, TraceQueryError, sqlite3.Error, OSError) as error:
        fail(f"{app} is stopped, but the evidence pack cannot be made: {type(error).__name__}.")
    click.echo(f"{file} has {packed.traces} traces; its manifest's SHA-256 is {packed.manifest_sha256}.", err=True)
