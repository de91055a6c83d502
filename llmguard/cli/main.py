"""The `llmguard` command. Commands are imported when they are called, so that `--help` is quick."""

import gc
import importlib
import sys
from typing import ClassVar, NoReturn

import click

from llmguard.domain.errors import GuardError
from llmguard.settings import SettingsInvalidError
from llmguard.traces.errors import TraceQueryError, TraceStoreError

CANNOT_RUN = 3
# Imports make objects that stay. To look for garbage after each 700 of them, Python's default, takes a sixth of the
# time in which the commands about redaction load.
_OBJECTS_BETWEEN_COLLECTIONS = 10_000
_COMMANDS = {
    "serve": ("llmguard.cli.serve", "Serve the gateway."),
    "check": ("llmguard.cli.check", "Check registry.yaml, the redaction rules and the policies."),
    "keys": ("llmguard.cli.keys", "Issue, list, rotate and revoke app keys."),
    "operator": ("llmguard.cli.operator", "Make tokens with which operators sign in."),
    "access": ("llmguard.cli.access", "Ask for a role for some hours, and decide about it."),
    "apps": ("llmguard.cli.apps", "Look at the app catalog, renew approvals, move apps to and from git."),
    "contain": ("llmguard.cli.contain", "Stop an app at once, and end its keys; or start it again."),
    "sandbox": ("llmguard.cli.sandbox", "Make data that apps in the sandbox may use."),
    "catalog": ("llmguard.cli.catalog", "Write the catalog for Backstage, a CMDB or programs."),
    "leak": ("llmguard.cli.leak", "Find who may have written what stands where it must not."),
    "presets": ("llmguard.cli.presets", "Look at presets and compare their versions."),
    "redaction": ("llmguard.cli.redaction", "Try and test the redaction rules."),
    "policy": ("llmguard.cli.policy", "Test the rules in policies/, and try a change on stored requests."),
    "quota": ("llmguard.cli.quota", "See where an app stands."),
    "overage": ("llmguard.cli.overage", "Ask for more quota, and decide about it."),
    "alerts": ("llmguard.cli.alerts", "See what was told to whom, and what never arrived."),
    "connector": ("llmguard.cli.connector", "Write what other tools import to call a preset."),
    "doctor": ("llmguard.cli.doctor", "Say what is wrong with a key, an error or this installation."),
    "finance": ("llmguard.cli.finance", "Report, export, recompute and reconcile what models cost."),
    "traces": ("llmguard.cli.traces", "Find and read traces."),
    "evidence": ("llmguard.cli.evidence", "Pack what happened for auditors, signed; list the audit log."),
    "replay": ("llmguard.cli.replay", "Give the answers of traces again, proven by their digests."),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, named in the order of use, with their words."""

    modules: ClassVar[dict[str, tuple[str, str]]] = _COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of use."""
        del ctx
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in self.modules:
            return None
        command: click.Command = importlib.import_module(self.modules[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in self.modules.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llmguard")
def cli() -> None:
    """The governed door between micro apps and language models."""


def main() -> None:
    """Run the command line; exit 0 fine, 1 findings, 2 usage, 3 cannot run."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        cli()
    except SettingsInvalidError as error:
        fail(str(error))
    except GuardError as error:
        fail(" ".join(filter(None, (error.message, error.hint))))
    except (TraceStoreError, TraceQueryError) as error:
        fail(f"The traces cannot be read: {error}.")


def fail(message: str) -> NoReturn:
    """Say on standard error why it cannot run, and exit 3."""
    click.echo(f"llmguard: {message}", err=True)
    sys.exit(CANNOT_RUN)
