"""The cases beside the rules: files that `opa test` understands, run on the embedded engine."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from llmguard.policy.engine import TESTS, Engine, RegoError, package_of, without_remarks
from llmguard.policy.rego_files import CheckedPolicies

_CASE: Final = re.compile(r"^((?:todo_)?test_\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case; `problem` is None when it passed."""

    file: str
    line: int
    name: str
    problem: str | None
    skipped: bool = False

    @property
    def passed(self) -> bool:
        """Whether the rules do what the case says."""
        return self.problem is None


def run_policy_cases(checked: CheckedPolicies) -> list[CaseResult]:
    """Return the result of every case of a folder without findings; a file of rules without a case is a failure.

    A case passes when its rule is true, as with `opa test`; `todo_test_…` is skipped.
    """
    engine = Engine({**checked.rules.files, **checked.tests})
    results = [result for file, text in sorted(checked.tests.items()) for result in _run_file(engine, file, text)]
    tested = {result.file for result in results if not result.skipped}
    for file in checked.rules.packages.values():
        expected = f"{file.removesuffix('.rego')}{TESTS}"
        if expected not in tested:
            results.append(CaseResult(file, 1, "(none)", f"it has no cases; write some in {expected}"))
    return results


def _run_file(engine: Engine, file: str, text: str) -> Iterator[CaseResult]:
    package = package_of(text)
    lines: dict[str, int] = {}
    code = without_remarks(text)
    for found in _CASE.finditer(code):
        lines.setdefault(found[1], code.count("\n", 0, found.start()) + 1)
    for name, line in lines.items():
        if name.startswith("todo_"):
            yield CaseResult(file, line, name, None, skipped=True)
            continue
        yield CaseResult(file, line, name, _problem(engine, f"data.{package}.{name}", file))


def _problem(engine: Engine, rule: str, file: str) -> str | None:
    try:
        value = engine.value(rule, file)
    except RegoError as error:
        return f"{error.file}:{error.line}:{error.column}: {error.words}"
    return None if value is True else "it does not hold"
