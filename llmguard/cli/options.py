"""The options that commands share, and the settings that they make."""

import getpass
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from llmguard.settings import DataFolder, Settings, load_settings

Command = TypeVar("Command", bound=Callable[..., Any])

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
as_option = click.option(
    "--as",
    "who",
    metavar="WHO",
    default=lambda: local_user(),  # noqa: PLW0108 - it stands below
    help="Who does it, recorded; default: the user of this shell.",
)
_FOLDERS = {
    "registry": "The registry file [LLMGUARD_REGISTRY; registry.yaml].",
    "redaction": "The folder of redaction rules [LLMGUARD_REDACTION; redaction].",
    "data": "The data folder [LLMGUARD_DATA; data].",
}


def place_options(command: Command) -> Command:
    """Add --registry, --redaction and --data; the command gets them as `registry`, `redaction` and `data`."""
    for name, words in reversed(_FOLDERS.items()):
        command = click.option(f"--{name}", metavar="PATH", help=words)(command)
    return command


def settings_from(folder: DataFolder, **given: int | str | None) -> Settings:
    """Return the settings of a command: its options first, then the environment; `folder` as in `load_settings`.

    Raises:
        SettingsInvalidError: an option or a variable cannot be used.
    """
    return load_settings(os.environ, folder=folder, **given)


def local_user() -> str:
    """Return who runs this command, as the operating system knows them, for the audit log."""
    try:
        return f"os:{getpass.getuser()}"
    except (OSError, KeyError):  # a container with a number for a user: pwd has none
        return f"os:{os.getuid()}"
