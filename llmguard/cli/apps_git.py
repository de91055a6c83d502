"""`llmguard apps export | apply | drift | discover`: the catalog and git."""

import difflib
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import ryaml

from llmguard.catalog.app_folders import FolderInvalid, app_folder, read_folder, with_app
from llmguard.catalog.discovery import Seen, discover, draft_row
from llmguard.catalog.drift import committed, drift
from llmguard.cli.main import fail
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json, print_rows
from llmguard.cli.registry_file import current_registry, known_app
from llmguard.redaction.profiles import RedactionInvalid, load_profiles, read_files
from llmguard.registry.accepted import AcceptedDamaged, AcceptedRegistries
from llmguard.registry.app_states import states_at
from llmguard.registry.check import check_source
from llmguard.registry.yaml_text import NotYaml, read_yaml
from llmguard.settings import Settings

_DIFFERS = 1
_dumps = ryaml.dumps  # type: ignore[attr-defined]  # ryaml re-exports it without saying so to type checkers


@click.command("export")
@click.argument("app")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where to make its folder [.]."
)
@place_options
def export_app(*, app: str, out: Path, **places: str | None) -> None:
    """Write APP as a folder for git: its entry, the presets that it may use, and a manifest; always the same bytes."""
    settings = settings_from("optional", **places)
    known_app(current_registry(settings), app)
    folder = out / app
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in app_folder(_content(settings.registry.read_bytes(), str(settings.registry)), app).items():
        (folder / name).write_bytes(data)
    click.echo(str(folder))


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing; exit 1 if something would.")
@place_options
def apply(*, folders: tuple[Path, ...], dry_run: bool, **places: str | None) -> None:
    """Put the apps of FOLDERS into registry.yaml; again changes nothing.

    Only lines of settings that differ change. Nothing is written if the registry would have findings.
    """
    settings = settings_from("optional", **places)
    before = after = settings.registry.read_text("utf-8")
    try:
        for folder in folders:
            name, row = read_folder(folder)
            after = with_app(after, name, row)
    except FolderInvalid as error:
        fail(str(error))
    if after == before:
        click.echo("Nothing changed.", err=True)
        return
    findings = check_source(
        after.encode(), file=settings.registry.name, profiles=_profiles(settings), accepted=_accepted(settings)
    ).findings
    if findings:
        for finding in findings:
            click.echo(str(finding), err=True)
        fail("nothing was written, since the registry would have these findings.")
    if dry_run:
        lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), "now", "then")
        click.echo("".join(lines), nl=False)
        sys.exit(_DIFFERS)
    _replace(settings.registry, after)
    click.echo(f"{settings.registry} is changed; look at it and commit it.", err=True)


@click.command("drift")
@as_json_option
@place_options
def show_drift(*, as_json: bool, **places: str | None) -> None:
    """Show what is in force and not in git, or the other way round; exits 1 if there is anything.

    Git is the registry file as HEAD has it, or as it is where there is no repository.
    """
    settings = settings_from("needed", **places)
    try:
        last = AcceptedRegistries(settings.data / "registry").last()
        states = states_at(settings.data / "state.db")
    except (AcceptedDamaged, sqlite3.Error, OSError) as error:
        fail(f"what is in force cannot be read ({type(error).__name__}).")
    if last is None:
        fail(f"nothing is in force yet: no gateway has accepted a registry in {settings.data}.")
    head = committed(settings.registry)
    source = settings.registry.read_bytes() if head is None else head
    rows = list(drift(_content(source, "git's registry"), _content(last.source, "the accepted registry"), states))
    print_rows(rows, ("app", "what", "in_git", "live", "fix"), as_json=as_json, none="Git and what is in force agree.")
    if rows:
        sys.exit(_DIFFERS)


@click.command("discover")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write a folder for each, for `apply`.")
@as_json_option
@place_options
def discover_apps(*, files: tuple[Path, ...], out: Path | None, as_json: bool, **places: str | None) -> None:
    """Draft entries for apps that FILES show and the catalog does not have.

    FILES are access logs (nginx or Apache, combined; JSON lines) or usage exports of a provider (OpenAI's, as CSV or
    JSON). A draft may do nothing; no secret is taken over.
    """
    known = current_registry(settings_from("optional", **places)).apps
    seen, unread = discover(((file.name, file.read_text("utf-8", "replace")) for file in files), known)
    if as_json:
        print_json({"apps": [_seen_json(one) for one in seen], "lines_without_news": unread})
    elif out is not None:
        for one in seen:
            _write_draft(out / one.name, one)
            click.echo(str(out / one.name))
    elif seen:
        click.echo("apps:")
        for one in seen:
            row = "".join(f"  {line}\n" for line in _dumps({one.name: draft_row(one)}).splitlines())
            click.echo(f"  # {_seen_words(one)}\n{row}", nl=False)
    click.echo(f"{len(seen)} apps are not in the catalog; {unread} lines told nothing of use.", err=True)


COMMANDS = (export_app, apply, show_drift, discover_apps)


def _content(source: bytes, what: str) -> Mapping[str, Any]:
    try:
        content = read_yaml(source.decode("utf-8-sig"))
    except (NotYaml, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        fail(f"{what} is no YAML with settings; `llmguard check` says more.")
    return content


def _profiles(settings: Settings) -> tuple[str, ...]:
    try:
        return tuple(load_profiles(read_files(settings.redaction)))
    except RedactionInvalid as error:
        fail(f"the redaction rules have findings:\n{error}")


def _accepted(settings: Settings) -> dict[str, str]:
    try:
        return AcceptedRegistries(settings.data / "registry").presets()
    except (AcceptedDamaged, OSError) as error:
        fail(f"what was accepted before cannot be read: {error}.")


def _replace(path: Path, text: str) -> None:
    """Replace a file whole: a gateway that watches it never sees half of it."""
    real = path.resolve()
    temporary = real.with_name(f".{real.name}.new")
    temporary.write_text(text, "utf-8")
    temporary.chmod(real.stat().st_mode & 0o777)
    temporary.replace(real)


def _write_draft(folder: Path, one: Seen) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = f"# {_seen_words(one)}\n{_dumps({one.name: draft_row(one)})}"
    (folder / "app.yaml").write_text(text, "utf-8")


def _seen_words(one: Seen) -> str:
    days = "" if one.first is None else f" from {one.first} to {one.last}"
    models = f", models: {', '.join(sorted(one.models))}" if one.models else ""
    return " ".join(f"seen {one.requests} times{days} in {', '.join(sorted(one.sources))}{models}".split())


def _seen_json(one: Seen) -> dict[str, Any]:
    return {
        "name": one.name,
        "requests": one.requests,
        "first": one.first,
        "last": one.last,
        "models": sorted(one.models),
        "sources": sorted(one.sources),
        "draft": draft_row(one),
    }
