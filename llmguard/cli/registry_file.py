"""The registry as commands see it: the file as it is now, checked."""

import click

from llmguard.cli.main import fail
from llmguard.domain.catalog import Registry
from llmguard.redaction.profiles import load_profiles, read_files
from llmguard.registry.accepted import AcceptedDamaged, AcceptedRegistries
from llmguard.registry.check import Checked, check_registry
from llmguard.settings import Settings


def checked_registry(settings: Settings) -> Checked:
    """Return the registry file with all that is wrong in it, judged against the last accepted one."""
    try:
        accepted = AcceptedRegistries(settings.data / "registry").presets()
    except (AcceptedDamaged, OSError) as error:
        fail(f"what was accepted before cannot be read: {error}. Check the data folder: its rights, and its disk.")
    return check_registry(settings.registry, profiles=load_profiles(read_files(settings.redaction)), accepted=accepted)


def current_registry(settings: Settings) -> Registry:
    """Return the registry, or end the command with its findings."""
    checked = checked_registry(settings)
    if checked.registry is None:
        for finding in checked.findings:
            click.echo(str(finding), err=True)
        fail(f"{settings.registry} has {len(checked.findings)} findings; correct them first.")
    return checked.registry
