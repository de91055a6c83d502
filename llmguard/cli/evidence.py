"""`llmguard evidence`: signed packs for auditors, and the key that signs them."""

import sqlite3
import sys
import zipfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from llmguard.audit.log import AuditLog
from llmguard.cli.main import fail
from llmguard.cli.options import as_json_option, local_user, place_options, settings_from
from llmguard.cli.output import print_facts, print_rows
from llmguard.cli.trace_options import Moment
from llmguard.domain.clock import SystemClock
from llmguard.evidence.pack import entries_of, make_pack
from llmguard.evidence.pack_check import check_pack
from llmguard.evidence.scope import Scope
from llmguard.evidence.signing import EvidenceError, SigningKey

_BROKEN = 1
_COLUMNS = ("seq", "time", "who", "what", "subject", "app", "facts")


@click.group()
def command() -> None:
    """Pack what happened for auditors, and check such packs."""


@command.command()
@click.option("--since", type=Moment(), required=True, help="From this instant on: 2026-11-01, 30d.")
@click.option("--until", type=Moment(), help="Only before this instant; default: now.")
@click.option("--app", help="Only of this app; default: all.")
@click.option(
    "--redaction-rules", is_flag=True, help="With the rules themselves; their deny lists name what is hidden."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The zip file to write.")
@as_json_option
@place_options
def pack(
    *,
    since: datetime,
    until: datetime | None,
    app: str | None,
    redaction_rules: bool,
    out: Path,
    as_json: bool,
    **places: str | None,
) -> None:
    """Write a signed zip of traces, decisions, registries, approvals and audit log, with the program that checks it.

    Exits 1 if `traces verify` finds something wrong, which the pack then says.
    """
    settings = settings_from("needed", **places)
    scope = Scope(since, until or datetime.now(UTC), app, redaction_rules)
    if scope.since >= scope.until:
        raise click.UsageError("--since is not before --until.")
    try:
        packed = make_pack(settings, scope, out)
        AuditLog(settings.data / "state.db", SystemClock()).record(
            who=local_user(),
            what="evidence.packed",
            subject=packed.manifest_sha256,
            app=app,
            facts={"since": scope.since.isoformat(), "until": scope.until.isoformat(), "traces": packed.traces},
        )
    except (EvidenceError, sqlite3.Error, OSError) as error:
        fail(f"the pack cannot be made: {error if isinstance(error, EvidenceError) else type(error).__name__}.")
    print_facts(asdict(packed) | {"file": str(out)}, as_json=as_json)
    for name in packed.not_kept:
        click.echo(f"llmguard: {name} is not in the data folder any more; the pack says so.", err=True)
    sys.exit(_BROKEN if packed.fault else 0)


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key", metavar="SHA256", help="The fingerprint that the operator published; others are refused.")
@as_json_option
def verify(*, file: Path, key: str | None, as_json: bool) -> None:
    """Check a pack: signature, every file, every digest. Exits 1 and names the first thing that is wrong."""
    try:
        signer, manifest, fault = check_pack(file)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        signer, manifest, fault = "", None, f"this is no evidence pack, or a damaged one ({type(error).__name__})"
    if fault is None and key is not None and key.strip().lower() != signer:
        fault = "it is signed with another key"
    facts = {"file": str(file), "fault": fault, "signed_by": signer}
    if manifest is not None and fault is None:
        facts |= {"traces": manifest["traces"]["count"], "fault_when_packed": manifest["fault"]}
    print_facts(facts, as_json=as_json)
    sys.exit(0 if fault is None else _BROKEN)


@command.command("key")
@as_json_option
@place_options
def show_key(*, as_json: bool, **places: str | None) -> None:
    """Print the public key that packs are signed with, and its fingerprint, to publish where auditors find it."""
    try:
        signing = SigningKey.of(settings_from("needed", **places).data)
    except (EvidenceError, OSError) as error:
        fail(f"{error}")
    facts = {"fingerprint": signing.fingerprint, "public_key": signing.public_pem.decode()}
    print_facts(facts, as_json=as_json)


@command.command()
@click.option("--since", type=Moment(), help="From this instant on.")
@click.option("--until", type=Moment(), help="Only before this instant.")
@click.option("--app", help="Only what concerns this app.")
@as_json_option
@place_options
def audit(
    *, since: datetime | None, until: datetime | None, app: str | None, as_json: bool, **places: str | None
) -> None:
    """List what people, and llmguard by itself, did: keys, overage, operators, erasure."""
    log = AuditLog(settings_from("needed", **places).data / "state.db", SystemClock())
    rows = [row for row in entries_of(log.entries(since=since, until=until)) if app in (None, row["app"])]
    print_rows(rows, _COLUMNS, as_json=as_json, none="No entries.")
