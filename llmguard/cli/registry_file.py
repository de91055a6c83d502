"""The registry as commands see it: the file as it is now, checked."""

import sqlite3
from collections.abc import Collection
from typing import TYPE_CHECKING

import click

from llmguard.cli.main import fail
from llmguard.domain.catalog import App, Registry
from llmguard.redaction.profiles import RedactionInvalid, load_profiles, read_files
from llmguard.registry.accepted import AcceptedDamaged, AcceptedRegistries
from llmguard.registry.app_states import in_force, states_at
from llmguard.registry.check import Checked, check_registry
from llmguard.settings import Settings

if TYPE_CHECKING:
    from llmguard.redaction.check import CheckedRules


def check_files(settings: Settings) -> "tuple[Checked, CheckedRules]":
    """Return registry and redaction rules with all that is wrong in them, each judged even if the other is broken."""
    from llmguard.redaction.check import check_rules  # noqa: PLC0415 - imports Presidio and spaCy: seconds

    rules = check_rules(settings.redaction)
    return _checked(settings, rules.profiles), rules


def current_registry(settings: Settings) -> Registry:
    """Return the registry, with what has happened to its apps since; or end the command with its findings."""
    try:
        profiles = tuple(load_profiles(read_files(settings.redaction)))
    except RedactionInvalid as error:
        fail(f"the redaction rules have findings:\n{error}")
    checked = _checked(settings, profiles)
    if checked.registry is None:
        for finding in checked.findings:
            click.echo(str(finding), err=True)
        fail(f"{settings.registry} has {len(checked.findings)} findings; correct them first.")
    try:
        return in_force(checked.registry, states_at(settings.data / "state.db"))
    except (sqlite3.Error, OSError) as error:
        fail(f"what happened to apps cannot be read from state.db ({type(error).__name__}).")


def known_app(registry: Registry, name: str) -> App:
    """Return an app of the catalog, or end the command saying which there are."""
    if name not in registry.apps:
        raise click.UsageError(f"There is no app {name}. Apps: {', '.join(registry.apps)}.")
    return registry.apps[name]


def _checked(settings: Settings, profiles: Collection[str]) -> Checked:
    """Judge the registry against the last accepted one; without readable profiles, any profile name may stand."""
    try:
        accepted = AcceptedRegistries(settings.data / "registry").presets()
    except (AcceptedDamaged, OSError) as error:
        fail(f"what was accepted before cannot be read: {error}. Check the data folder: its rights, and its disk.")
    checked = check_registry(settings.registry, profiles=profiles, accepted=accepted)
    if profiles:
        return checked
    return Checked(None, tuple(finding for finding in checked.findings if not finding.path.endswith(".redaction")))
