"""`llmguard redaction`: what the rules find in a text and why, and whether they still do what their cases say."""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from llmguard.cli.main import fail
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_json, print_rows
from llmguard.redaction.analyzer import Analyzer
from llmguard.redaction.cases import run_cases
from llmguard.redaction.findings import ExplainedFinding
from llmguard.redaction.placeholders import readable
from llmguard.redaction.profiles import Profile, RedactionInvalid
from llmguard.redaction.score import EntityScore, read_samples, score

_FINDINGS = 1
_COLUMNS = ("text", "entity_type", "score", "recognizer", "pattern", "context_word", "fate", "reason")
_SCORES = ("entity", "labelled", "found", "precision", "recall", "f2", "cover")
_IN_FORCE = frozenset({"found", "trimmed"})
profile_option = click.option("--profile", default="standard", show_default=True, help="The profile to use.")


@click.group()
def command() -> None:
    """Try and test the redaction rules."""


@command.command("try")
@click.argument("text", required=False)
@profile_option
@click.option("--all", "everything", is_flag=True, help="Show what was proposed and dropped, too.")
@as_json_option
@place_options
def try_text(*, text: str | None, profile: str, everything: bool, as_json: bool, **places: str | None) -> None:
    """Show what is found in TEXT (or in standard input), by which recognizer, and why."""
    if text is None:
        text = sys.stdin.read()
    text = readable(text)  # as the engine sees requests: what is invisible is gone
    analyzer, rules = _analyzer(profile, **places)
    explained = [row for row in analyzer.explain(text, rules) if everything or row.fate in _IN_FORCE]
    rows = [asdict(row) | {"text": text[row.start : row.end]} for row in explained]
    if not as_json:
        click.echo(_highlighted(text, (row for row in explained if row.fate in _IN_FORCE)))
        click.echo()
    print_rows(rows, _COLUMNS, as_json=as_json, none="Nothing was found.")


@command.command("test")
@as_json_option
@place_options
def run(*, as_json: bool, **places: str | None) -> None:
    """Run the cases beside the rules; exits 1 when one fails."""
    analyzer, _ = _analyzer(None, **places)
    results = run_cases(analyzer, settings_from("optional", **places).redaction / "cases")
    failed = [result for result in results if not result.passed]
    if as_json:
        print_json([asdict(result) | {"passed": result.passed} for result in results])
    else:
        for result in failed:
            click.echo(f"{result.file}: {result.rule} ({result.profile}): {result.text!r}")
            for problem in result.problems:
                click.echo(f"    {problem}")
    click.echo(f"{len(results) - len(failed)} of {len(results)} cases passed.", err=True)
    sys.exit(_FINDINGS if failed else 0)


@command.command("score")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@profile_option
@as_json_option
@place_options
def score_file(*, file: Path, profile: str, as_json: bool, **places: str | None) -> None:
    """Score the rules on a labelled FILE (presidio-research JSON, or CoNLL): precision, recall, F2, character cover."""
    analyzer, rules = _analyzer(profile, **places)
    try:
        samples = read_samples(file)
    except (ValueError, KeyError, TypeError) as error:
        fail(f"{file} is neither presidio-research JSON nor CoNLL ({type(error).__name__}).")
    result = score(analyzer, samples, rules)
    rows = [_score_row("all", result.total), *(_score_row(name, one) for name, one in result.entities.items())]
    print_rows(rows, _SCORES, as_json=as_json, none="The file has no labelled spans.")


def _analyzer(profile: str | None, **places: str | None) -> tuple[Analyzer, Profile]:
    settings = settings_from("optional", **places)
    try:
        analyzer = Analyzer.load(settings.redaction, cache=settings.redaction_cache if settings.data.is_dir() else None)
    except RedactionInvalid as error:
        fail(f"the redaction rules have findings:\n{error}")
    name = profile or next(iter(analyzer.profiles))
    if name not in analyzer.profiles:
        fail(f"there is no profile {name}. Profiles: {', '.join(analyzer.profiles)}.")
    return analyzer, analyzer.profiles[name]


def _highlighted(text: str, findings: Iterable[ExplainedFinding]) -> str:
    """Return the text with its findings marked as the cases mark them, coloured on a terminal."""
    shown, last = "", 0
    for finding in sorted(findings, key=lambda finding: finding.start):
        mark = f"[{finding.entity_type}:{text[finding.start : finding.end]}]"
        shown += text[last : finding.start] + click.style(mark, fg="black", bg="yellow")
        last = finding.end
    return shown + text[last:]


def _score_row(name: str, entity: EntityScore) -> dict[str, Any]:
    shares = {share: round(getattr(entity, share), 4) for share in ("precision", "recall", "f2", "cover")}
    return {"entity": name, "labelled": entity.labelled, "found": entity.found, **shares}
