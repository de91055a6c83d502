"""`llmguard check`: everything wrong in the CoE's files, all at once."""

import sys
from dataclasses import asdict
from typing import Any

import click

from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json
from llmguard.cli.registry_file import check_files
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
    settings = settings_from("optional", **places)
    registry, rules = check_files(settings)
    findings: list[dict[str, Any]] = [asdict(finding) | {"text": str(finding)} for finding in registry.findings]
    for broken in rules.findings:
        text = f"{settings.redaction.name}/{broken}"
        findings.append({"line": None, "column": None, "value": None} | asdict(broken) | {"text": text})
    if as_json:
        print_json({"ok": not findings, "findings": findings})
    else:
        for finding in findings:
            click.echo(finding["text"])
    if findings:
        click.echo(f"{len(findings)} findings.", err=True)
        sys.exit(_FINDINGS)
    if registry.registry is not None and not as_json:
        accepted = registry.registry
        click.echo(
            f"{settings.registry.name} and {settings.redaction.name}/ are valid: {len(accepted.models)} models, "
            f"{len(accepted.presets)} presets, {len(accepted.apps)} apps, {len(rules.profiles)} redaction profiles; "
            f"registry digest {accepted.digest[:12]}."
        )
