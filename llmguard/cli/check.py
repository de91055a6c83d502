"""`llmguard check`: everything wrong in the CoE's files, all at once."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json
from llmguard.cli.registry_file import check_files
from llmguard.policy.rego_files import check_policies
from llmguard.registry.check import find_gaps
from llmguard.registry.schema import registry_schema

CASES_FOLDER = "cases"  # beside the registry
_FINDINGS = 1


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON Schema of registry.yaml for editors, and do nothing else.")
@click.option(
    "--cases",
    metavar="[DIR]",
    is_flag=False,
    flag_value="",
    help="Ask the regression cases of DIR of this registry, too [cases/ beside the registry].",
)
@click.option("--live", is_flag=True, help="With --cases: ask the models, too, on the budget of --as.")
@click.option("--as", "who", metavar="WHO", help="Who asks live: an e-mail address under replay in registry.yaml.")
@as_json_option
@place_options
def command(
    *, schema: bool, cases: str | None, live: bool, who: str | None, as_json: bool, **places: str | None
) -> None:
    """Check registry.yaml, redaction/ and policies/; exits 1 when there are findings."""
    if (live and cases is None) or live != bool(who):
        raise click.UsageError("--live goes with --cases and --as WHO, whose budget pays.")
    if schema:
        print_json(registry_schema())
        return
    settings = settings_from("needed" if live else "optional", **places)
    registry, rules = check_files(settings)
    gaps = find_gaps(settings.registry)
    findings: list[dict[str, Any]] = [
        asdict(finding) | {"text": str(finding)} for finding in (*registry.findings, *gaps)
    ]
    for broken in rules.findings:
        text = f"{settings.redaction.name}/{broken}"
        findings.append({"line": None, "column": None, "value": None} | asdict(broken) | {"text": text})
    policies = check_policies(settings.policies)
    findings += [
        {"path": "", "value": None} | asdict(slip) | {"text": f"policies/{slip}"} for slip in policies.findings
    ]
    asked: list[dict[str, Any]] = []
    if cases is not None and registry.registry is not None and not findings:
        from llmguard.cli.check_cases import case_findings  # noqa: PLC0415 - who checks files alone does without it

        folder = Path(cases) if cases else settings.registry.parent / CASES_FOLDER
        asked = case_findings(settings, registry.registry, folder, who)
        findings += [one for one in asked if one["text"] is not None]
    if as_json:
        more = {"cases": len(asked)} if cases is not None else {}
        print_json({"ok": not findings, "findings": findings} | more)
    else:
        for finding in findings:
            click.echo(finding["text"])
    if findings:
        click.echo(f"{len(findings)} findings.", err=True)
        sys.exit(_FINDINGS)
    if registry.registry is not None and not as_json:
        accepted = registry.registry
        click.echo(
            f"{settings.registry.name}, {settings.redaction.name}/ and policies/ are valid: "
            f"{len(accepted.models)} models, {len(accepted.presets)} presets, {len(accepted.apps)} apps, "
            f"{len(rules.profiles)} redaction profiles, {len(policies.rules.packages)} files of policies; "
            f"registry digest {accepted.digest[:12]}."
            f"{f' {len(asked)} cases are decided as they were.' if cases is not None else ''}"
        )
