"""Check a registry file: either it is right throughout, or every finding comes at once."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmguard.domain.catalog import Registry
from llmguard.registry.app_policy import app_gaps
from llmguard.registry.build import build_registry
from llmguard.registry.digest import content_digest
from llmguard.registry.document import Document
from llmguard.registry.entries import RegistryFile
from llmguard.registry.finding import Finding, Problem, path_of
from llmguard.registry.immutability import changed_presets
from llmguard.registry.leaks import find_secrets, without_secrets
from llmguard.registry.prices import PriceMap
from llmguard.registry.references import reference_problems
from llmguard.registry.words import problem_of
from llmguard.registry.yaml_text import Layout, NotYaml, lay_out, position_at, read_yaml, refusal_problem

_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a check: `registry` is None exactly when there are findings."""

    registry: Registry | None
    findings: tuple[Finding, ...]


def check_registry(path: Path, *, profiles: Collection[str], accepted: Mapping[str, str]) -> Checked:
    """Read and check a registry file; never raises for what is in it, or because it is not there.

    Args:
        path: the file; findings name it relative to the working folder where it lies below that.
        profiles: names of the redaction profiles that presets may name.
        accepted: digest by `name@version` of the preset versions that were accepted before.
    """
    file = shown_path(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        return unreadable(file, error)
    return check_source(source, file=file, profiles=profiles, accepted=accepted)


def check_source(
    source: bytes,
    *,
    file: str,
    profiles: Collection[str],
    accepted: Mapping[str, str],
    prices: PriceMap | None = None,
) -> Checked:
    """Check the bytes of a registry file; `file` is the name that findings give it."""
    text, problem = _decode(source)
    if problem is not None:
        return Checked(None, (_finding(file, problem, None),))
    reading = _read(text)
    prices = prices or PriceMap()
    problems = list(reading.problems)
    checked_file: RegistryFile | None = None
    if reading.is_readable:
        checked_file, form_problems = _check_form(reading.content)
        problems += form_problems
        document = Document(reading.content, checked_file)
        problems += reference_problems(document, profiles, prices)
        problems += changed_presets(document, accepted)
    if problems or checked_file is None:
        return Checked(None, _located(file, text, reading, problems))
    digest = content_digest(reading.content)
    return Checked(build_registry(checked_file, document, digest, prices), ())


def find_gaps(path: Path) -> tuple[Finding, ...]:
    """Return what apps lack in the state that they are in; nothing for a file that cannot be read: it has findings."""
    try:
        text, problem = _decode(path.read_bytes())
    except OSError:
        return ()
    reading = _read(text) if problem is None else None
    if reading is None or not reading.is_readable:
        return ()
    return _located(shown_path(path), text, reading, list(app_gaps(Document(reading.content, None))))


def unreadable(file: str, error: OSError) -> Checked:
    """Return the finding for a file that cannot be read."""
    fix = "check the path and the rights of the file"
    return Checked(None, (Finding(file, 1, 1, "", f"the file cannot be read: {error.strerror}", None, fix),))


def shown_path(path: Path) -> str:
    """Return the path as findings show it."""
    absolute = path.absolute()
    folder = Path.cwd()
    return str(absolute.relative_to(folder)) if absolute.is_relative_to(folder) else str(path)


@dataclass(frozen=True, slots=True)
class _Reading:
    content: Any  # a document before validation is anything
    problems: tuple[Problem, ...]
    is_readable: bool = True
    layout: Layout | None = None  # where it was needed for reading already


def _decode(source: bytes) -> tuple[str, Problem | None]:
    if len(source) > _MOST_BYTES:
        return "", Problem((), f"the file has {len(source):,} bytes, and 16 MiB are the most", fix="split or clean it")
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = source[: error.start].decode("utf-8-sig", "replace")
        place = position_at(before, len(before))
        return "", Problem((), "the file is not UTF-8 text", fix="save it as UTF-8", position=place)
    if not text.strip():
        return "", Problem((), "the file is empty", fix="start from the example registry.yaml of llmguard")
    return text, None


def _read(text: str) -> _Reading:
    leaks = tuple(_leaks(text))
    try:
        return _Reading(read_yaml(text), leaks)
    except NotYaml as complaint:
        refusal = refusal_problem(complaint)
    layout = lay_out(text)
    if isinstance(layout, Problem):
        return _Reading(None, (*leaks, layout), is_readable=False)
    duplicates = tuple(layout.duplicates())
    if not duplicates:
        return _Reading(None, (*leaks, refusal), is_readable=False, layout=layout)
    return _Reading(layout.first_values(), (*leaks, *duplicates), layout=layout)


def _leaks(text: str) -> Iterator[Problem]:
    for offset in find_secrets(text):
        yield Problem(
            (),
            "this looks like a secret; it is not shown here",
            fix="remove it, keep it in an environment variable that api_key_env names, and replace it at its provider: "
            "what was in a file under version control is known",
            position=position_at(text, offset),
        )


def _check_form(content: Any) -> tuple[RegistryFile | None, list[Problem]]:  # a document before validation
    if not isinstance(content, dict):
        fix = "start with version: 1, then providers:, models:, presets: and apps:"
        return None, [Problem((), "the file holds no settings", fix=fix)]
    try:
        return RegistryFile.model_validate(content), []
    except ValidationError as error:
        return None, [problem_of(details) for details in error.errors(include_url=False)]


def _located(file: str, text: str, reading: _Reading, problems: list[Problem]) -> tuple[Finding, ...]:
    layout: Layout | Problem | None = reading.layout
    if layout is None and reading.is_readable:
        # ryaml takes a tab between key and value and ruamel.yaml does not; a space there moves no column.
        layout = lay_out(text.replace("\t", " "))
    if isinstance(layout, Problem):  # ryaml is content and ruamel.yaml is not: the findings stand, without their lines
        layout = None
    findings = {_finding(file, problem, layout) for problem in problems}
    return tuple(sorted(findings, key=lambda finding: (finding.line, finding.column, finding.path, finding.message)))


def _finding(file: str, problem: Problem, layout: Layout | None) -> Finding:
    """Return the finding with its place, and without anything that looks like a secret."""
    line, column = problem.position or (1, 1)
    loc = problem.loc
    if layout is not None and problem.position is None:
        line, column = layout.position(loc, on_key=problem.on_key)
    elif layout is not None and problem.position is not None and not loc:
        loc = layout.innermost(problem.position)
    return Finding(
        file,
        line,
        column,
        without_secrets(path_of(loc)),
        without_secrets(problem.message),
        None if problem.value is None else without_secrets(problem.value),
        None if problem.fix is None else without_secrets(problem.fix),
    )
