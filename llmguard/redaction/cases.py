"""Runs the CoE's examples: each rule in `redaction/cases/*.yaml` with texts it must find and texts it must leave alone.

An example is text with its findings marked in place, `Call [PHONE_NUMBER:212-555-0187] now`: exactly these have to be
found. A counter-example is text in which nothing may be found.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ryaml

from llmguard.redaction.findings import Finding
from llmguard.redaction.profiles import Profile

_MARK = re.compile(r"\[(?P<entity>[A-Z][A-Z0-9_]*):(?P<value>[^\[\]]+)\]")
_FIELDS = frozenset({"rule", "profile", "found", "kept"})
Span = tuple[int, int, str]


class Analyses(Protocol):
    """What cases are run against; `llmguard.redaction.analyzer.Analyzer` is one."""

    @property
    def profiles(self) -> Mapping[str, Profile]: ...  # noqa: D102

    def find(self, text: str, profile: Profile) -> Sequence[Finding]:
        """Return the findings in a text."""
        ...


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One example or counter-example, and what came of it.

    Attributes:
        file: name of the file in the folder.
        rule: as the file says.
        profile: that was used.
        text: the example without its marks.
        problems: what differs, in words; empty when the case passed.
    """

    file: str
    rule: str
    profile: str
    text: str
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the findings are those that the case asks for."""
        return not self.problems


def run_cases(analyzer: Analyses, folder: Path) -> list[CaseResult]:
    """Return the result of every case in a folder, in the order of files and lines.

    A file that cannot be read as cases is one failed result, so that nothing passes unseen.
    """
    return [result for path in sorted(folder.glob("*.yaml")) for result in _run_file(analyzer, path)]


def case_problems(path: Path, profiles: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what keeps a file from being read as cases, as (place, words); no analyzer is needed."""
    rules = _read_rules(path)
    if isinstance(rules, str):
        yield "", rules
        return
    for number, rule in enumerate(rules, start=1):
        problem = _shape_problem(rule)
        if problem:
            yield f"rule {number}", problem
        elif profiles and rule.get("profile", "standard") not in profiles:
            yield f"rule {number}", _unknown_profile(rule["profile"], profiles)


def read_marks(marked: str) -> tuple[str, tuple[Span, ...]]:
    """Return the text without its marks, and the marked spans as (start, end, entity)."""
    text = ""
    spans: list[Span] = []
    last = 0
    for mark in _MARK.finditer(marked):
        text += marked[last : mark.start()]
        spans.append((len(text), len(text) + len(mark["value"]), mark["entity"]))
        text += mark["value"]
        last = mark.end()
    return text + marked[last:], tuple(spans)


def _run_file(analyzer: Analyses, path: Path) -> Iterator[CaseResult]:
    rules = _read_rules(path)
    if isinstance(rules, str):
        yield CaseResult(path.name, "", "", "", (rules,))
        return
    for number, rule in enumerate(rules, start=1):
        yield from _run_rule(analyzer, path.name, rule, number)


def _run_rule(analyzer: Analyses, file: str, rule: Any, number: int) -> Iterator[CaseResult]:  # any YAML value
    problem = _shape_problem(rule)
    if problem:
        yield CaseResult(file, f"rule {number}", "", "", (problem,))
        return
    name, profile = rule["rule"], rule.get("profile", "standard")
    if profile not in analyzer.profiles:
        yield CaseResult(file, name, profile, "", (_unknown_profile(profile, analyzer.profiles),))
        return
    for marked in rule.get("found", []):
        text, expected = read_marks(marked)
        problems = _compare(analyzer, text, expected, profile) if expected else ("marks nothing; use [ENTITY:value]",)
        yield CaseResult(file, name, profile, text, tuple(problems))
    for text in rule.get("kept", []):
        yield CaseResult(file, name, profile, text, tuple(_compare(analyzer, text, (), profile)))


def _read_rules(path: Path) -> list[Any] | str:  # any YAML values
    """Return the rules of a file, or what is wrong with it."""
    try:
        rules = ryaml.loads(path.read_text(encoding="utf-8"))  # type: ignore[attr-defined]  # its stub is elsewhere
    except (OSError, UnicodeDecodeError, ryaml.InvalidYamlError) as error:  # type: ignore[attr-defined]  # as above
        return f"cannot be read: {error}"
    return rules if isinstance(rules, list) else "is no list of rules; start each with '- rule: …'"


def _unknown_profile(name: str, profiles: Collection[str]) -> str:
    return f"there is no profile '{name}'; known: {', '.join(sorted(profiles))}"


def _shape_problem(rule: Any) -> str | None:  # any YAML value
    if not isinstance(rule, dict) or not isinstance(rule.get("rule"), str):
        return "has no name; start it with '- rule: …'"
    unknown = sorted(set(rule) - _FIELDS)
    if unknown:
        return f"unknown setting '{unknown[0]}'; known: {', '.join(sorted(_FIELDS))}"
    listed = [rule.get("found", []), rule.get("kept", [])]
    if not all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in listed):
        return "'found' and 'kept' are lists of texts"
    return None if any(listed) else "has neither 'found' nor 'kept'"


def _compare(analyzer: Analyses, text: str, expected: Iterable[Span], profile: str) -> list[str]:
    found = {(one.start, one.end, one.entity_type) for one in analyzer.find(text, analyzer.profiles[profile])}
    wanted = set(expected)
    missed = [f"{entity} is not found: '{text[start:end]}'" for start, end, entity in sorted(wanted - found)]
    surplus = [f"{entity} is found: '{text[start:end]}'" for start, end, entity in sorted(found - wanted)]
    return missed + surplus
