"""`llmguard policy`: run the cases beside the rules, and try a change of rules or registry on stored requests."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Self

import click

from llmguard.cli.main import fail
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json, print_rows
from llmguard.cli.registry_file import current_registry
from llmguard.cli.trace_options import Moment
from llmguard.domain.catalog import Registry
from llmguard.domain.chat import JsonObject
from llmguard.policy.cases import run_policy_cases
from llmguard.policy.evaluator import Embedded
from llmguard.policy.live import KeptPolicies
from llmguard.policy.rego_files import CheckedPolicies, RuleSet, check_policies
from llmguard.redaction.profiles import RedactionInvalid, load_profiles, read_files
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.check import check_source
from llmguard.replay.redecide import Governance, Tried, try_change
from llmguard.settings import Settings
from llmguard.traces.reader import TraceReader

_FINDINGS = 1
_SECONDS = 5.0  # patience for one decision
_REMEMBERED = 100_000
_COLUMNS = (
    *("app", "requests", "undecided", "newly_refused", "newly_refused_cost_usd"),
    *("newly_allowed", "newly_allowed_cost_usd", "other_reasons"),
)


@click.group()
def command() -> None:
    """Test the rules in policies/, and try a change before it is merged."""


@command.command("test")
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@as_json_option
@place_options
def run(*, folder: Path | None, as_json: bool, **places: str | None) -> None:
    """Run the cases beside the rules (default: policies/ beside the registry); exits 1 when one fails."""
    folder = folder or settings_from("optional", **places).policies
    checked = check_policies(folder)
    if checked.findings:
        _show_findings(folder, checked, as_json=as_json)
    results = run_policy_cases(checked)
    failed = [result for result in results if not result.passed]
    if as_json:
        print_json({"ok": not failed, "cases": [asdict(result) | {"passed": result.passed} for result in results]})
    else:
        for result in failed:
            click.echo(f"{folder.name}/{result.file}:{result.line}: {result.name}: {result.problem}")
    skipped = sum(result.skipped for result in results)
    more = f", {skipped} skipped" if skipped else ""
    click.echo(f"{len(results) - len(failed) - skipped} of {len(results)} cases passed{more}.", err=True)
    sys.exit(_FINDINGS if failed else 0)


def _show_findings(folder: Path, checked: CheckedPolicies, *, as_json: bool) -> None:
    """Say what is wrong with the files, and exit 1."""
    if as_json:
        print_json({"ok": False, "findings": [asdict(finding) for finding in checked.findings]})
    else:
        for finding in checked.findings:
            click.echo(f"{folder.name}/{finding}")
    click.echo(f"{len(checked.findings)} findings; no case was run.", err=True)
    sys.exit(_FINDINGS)


@command.command("try")
@click.argument("new_registry", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--policies",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The rules to try; default: policies/ beside NEW_REGISTRY if it is there, else those in force.",
)
@click.option("--since", type=Moment(), default="30d", show_default=True, help="From this instant on.")
@click.option("--until", type=Moment(), help="Only before this instant.")
@as_json_option
@place_options
def try_registry(
    *,
    new_registry: Path,
    policies: Path | None,
    since: datetime,
    until: datetime | None,
    as_json: bool,
    **places: str | None,
) -> None:
    """Decide stored requests again by NEW_REGISTRY: who would newly be refused or allowed, and the money.

    --redaction names redaction profiles to try. Texts in traces are redacted already, so that only a type which a
    profile newly blocks can be told, and not what another profile would find.
    """
    settings = settings_from("needed", **places)
    registry = current_registry(
        Settings(registry=new_registry.absolute(), redaction=settings.redaction, data=settings.data)
    )
    beside = new_registry.absolute().parent / "policies"
    folder = policies or (beside if beside.is_dir() else settings.policies)
    checked = check_policies(folder)
    if checked.findings:
        _show_findings(folder, checked, as_json=as_json)
    try:
        profiles = load_profiles(read_files(settings.redaction)) if places.get("redaction") else None
    except RedactionInvalid as error:
        fail(f"the redaction rules have findings:\n{error}")
    reader, until = TraceReader(settings.data, settings.at_rest), until or datetime.now(UTC)
    with _Evaluators() as evaluators:
        new = Governance(registry, checked.rules, profiles, evaluators.of(checked.rules))
        tried = try_change(reader, since, until, new, _governance_then(settings, evaluators))
    _show(tried, as_json=as_json)


class _Evaluators:
    """Evaluates rules as a server does, with a time-out; what was evaluated once is remembered."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._embedded: list[Embedded] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for embedded in self._embedded:
            self._runner.run(embedded.close())
        self._runner.close()

    def of(self, rules: RuleSet) -> "Callable[[JsonObject], JsonObject] | None":
        """Return what evaluates these rules; None where there are none."""
        if not rules.packages:
            return None
        embedded = Embedded(rules.files)
        self._embedded.append(embedded)

        @lru_cache(_REMEMBERED)
        def answer(document: str) -> JsonObject:
            return self._runner.run(embedded.decide(json.loads(document), _SECONDS))

        return lambda document: answer(json.dumps(document))


def _governance_then(settings: Settings, evaluators: _Evaluators) -> "Callable[[str, str], Governance | None]":
    """Return what finds the registry and the rules that a trace pins, each read once."""
    registries = AcceptedRegistries(settings.data / "registry")
    kept = KeptPolicies(settings.data / "policies")

    @cache
    def registry(digest: str) -> Registry | None:
        source = registries.source(digest)
        if source is None:
            return None
        return check_source(source, file="registry.yaml", profiles=_EveryName(), accepted={}).registry

    @cache
    def rules_of(digest: str) -> "tuple[RuleSet, Callable[[JsonObject], JsonObject] | None] | None":
        _, plus, rules_digest = digest.partition("+")
        rules = kept.find(rules_digest) if plus else RuleSet({})
        return None if rules is None else (rules, evaluators.of(rules))

    def then(registry_digest: str, policy_digest: str) -> Governance | None:
        found, rules = registry(registry_digest), rules_of(policy_digest)
        return None if found is None or rules is None else Governance(found, rules[0], None, rules[1])

    return then


class _EveryName(frozenset[str]):
    """Every name of a profile: the profiles of back then are not needed to decide, and their names may be gone."""

    def __contains__(self, name: object) -> bool:
        return True


def _show(tried: Tried, *, as_json: bool) -> None:
    rows = [asdict(change) for change in sorted(tried.apps.values(), key=lambda change: change.app)]
    reasons = [
        {"app": app, "change": what, "code": code, "rule": rule or None, "requests": requests}
        for (app, what, code, rule), requests in sorted(tried.reasons.items())
    ]
    if as_json:
        print_json(
            {
                "apps": rows,
                "reasons": reasons,
                "undecided": dict(tried.undecided),
                "decided_as_stored": tried.decided_as_stored,
                "not_looked_at": ["quotas", "providers", "browser origins", "data that another profile would find"],
            }
        )
        return
    print_rows(rows, _COLUMNS, as_json=False, none="There are no traces in this time.")
    if reasons:
        click.echo()
        print_rows(reasons, ("app", "change", "code", "rule", "requests"), as_json=False, none="")
    click.echo(f"{tried.decided_as_stored} requests: the old state gives the stored decision.", err=True)
    for why, requests in tried.undecided.most_common():
        click.echo(f"{requests} requests are left out: {why}.", err=True)
    click.echo(
        "Not looked at: quotas, providers, browser origins, and what another profile would find in texts that are "
        "redacted already. Costs of newly allowed requests are estimated by such requests of the app.",
        err=True,
    )
