"""`llmguard check`: everything wrong in the CoE's files, all at once."""

import sys
from dataclasses import asdict

import click

from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json
from llmguard.cli.registry_file import checked_registry
from llmguard.redaction.profiles import RedactionInvalid
from llmguard.registry.schema import registry_schema

_FINDINGS = 1


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON Schema of registry.yaml for editors, and do nothing else.")
@as_json_option
@place_options
def command(*, schema: bool, as_json: bool, **places: str | None) -> None:
    """Check registry.yaml and redaction/; exits 1 when there are findings."""
    if schema:
        print_json(registry_schema())
        return
    settings = settings_from(**places)
    try:
        checked = checked_registry(settings)
        findings = [asdict(finding) | {"text": str(finding)} for finding in checked.findings]
    except RedactionInvalid as error:
        checked = None
        findings = [asdict(finding) | {"text": str(finding)} for finding in error.findings]
    if as_json:
        print_json({"ok": not findings, "findings": findings})
    else:
        for finding in findings:
            click.echo(finding["text"])
    if findings:
        click.echo(f"{len(findings)} findings.", err=True)
        sys.exit(_FINDINGS)
    if checked is not None and checked.registry is not None and not as_json:
        registry = checked.registry
        click.echo(
            f"{settings.registry.name} is valid: {len(registry.models)} models, {len(registry.presets)} presets, "
            f"{len(registry.apps)} apps; digest {registry.digest[:12]}."
        )
