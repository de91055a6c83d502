"""The rules in policies/: their cases hold, on our engine and on OPA, and notice every change of a rule."""

import re
from pathlib import Path

import pytest

from llmguard.policy.cases import run_policy_cases
from llmguard.policy.engine import Engine, RegoError, without_remarks
from llmguard.policy.facts import described, example_document
from llmguard.policy.rego_files import CheckedPolicies, RuleSet, check_policies
from tests.support.rego import ROOT, SHIPPED, shipped_files

REFERENCE = ROOT / "docs" / "reference" / "policy-input.md"
GUIDE = ROOT / "docs" / "guides" / "policies.md"
FILES = shipped_files()
RULES = sorted(name for name, text in FILES.items() if "decisions contains" in text)
LEAST_MUTANTS = 25  # of a file; so that a mutator that finds nothing is noticed


def run_cases(files):
    tests = {name: text for name, text in files.items() if name.endswith("_test.rego")}
    rules = {name: text for name, text in files.items() if name not in tests}
    return run_policy_cases(CheckedPolicies(RuleSet(rules), tests, ()))


def test_the_shipped_policies_have_no_findings():
    assert check_policies(SHIPPED).findings == ()


def test_all_their_cases_pass():
    results = run_cases(FILES)

    assert len(results) >= 20
    assert [result for result in results if not result.passed] == []


def test_the_facts_that_cases_begin_with_are_whole():
    engine = Engine(FILES)

    assert engine.value("data.llmguard.example.facts", "example.rego") == example_document()


def test_the_reference_of_facts_is_as_generated():
    text = REFERENCE.read_text()

    assert "\n".join(described()) in text


def test_the_example_of_the_guide_holds(tmp_path):
    blocks = re.findall(r"```rego\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for name, text in zip(["working_hours.rego", "working_hours_test.rego"], blocks, strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "example.rego").write_text(FILES["example.rego"])
    checked = check_policies(tmp_path)

    assert checked.findings == ()
    assert [(result.passed, result.skipped) for result in run_policy_cases(checked)] == [(True, False)] * 3


def test_opa_passes_the_same_cases():
    opa = pytest.importorskip("opa_bindings").OpaEngine()
    for name, text in FILES.items():
        opa.add_policy(name, text)
    ran = 0
    for name in RULES:
        document = opa.eval_document(f"llmguard.policies.{Path(name).stem}_test")
        cases = {case: holds for case, holds in document.items() if case.startswith("test_")}
        assert set(cases) == set(re.findall(r"^(test_\w+)", FILES[name.replace(".rego", "_test.rego")], re.MULTILINE))
        assert set(cases.values()) == {True}
        ran += len(cases)
    assert ran >= 20


TEXT = r'"(?:\\.|[^"\\\n])*"'
SWAPS = (
    (r"==", "!="),
    (r"!=", "=="),
    (r">=", ">"),
    (r">=", "<"),
    (r"(?<![=:])>(?!=)", ">="),
    (r"(?<![=:])>(?!=)", "<"),
    (r"\bnot ", ""),
    (r"\b(?<!not )(connector\.encrypted|connector\.declared)\b", r"not \1"),
    (r"\btrim_space\(([^)]*)\)", r"\1"),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
)


def mutants(text):
    """Yield what changed and the changed file: operators, constants, members, conditions and whole rules."""

    def with_change(start, end, new):
        return f"{text[start:end]!r} -> {new!r}", text[:start] + new + text[end:]

    code, kept = without_remarks(text), re.sub(r"#[^\n]*", lambda remark: " " * len(remark[0]), text)
    for pattern, replacement in SWAPS:
        for found in re.finditer(pattern, code):
            yield with_change(*found.span(), found.expand(replacement))
    for found in re.finditer(TEXT, kept):
        yield with_change(*found.span(), '"mutant"')
        yield with_change(*found.span(), '""')
    for found in re.finditer(rf"(?<=[{{\[,])\s*{TEXT},?(?!\s*:)", kept):
        yield with_change(*found.span(), "")
    for found in re.finditer(r"(?<![\w.])\d+", code):
        yield with_change(*found.span(), str(int(found[0]) + 1))
        yield with_change(*found.span(), str(int(found[0]) - 1))
    for found in re.finditer(r"(?m)^(?!package).*\S.*\n", kept):
        yield with_change(*found.span(), "")
    for found in re.finditer(r"(?m)^\w[^\n]*\{\n(?:\s[^\n]*\n)*\}(?: if \{\n(?:\s[^\n]*\n)*\})?\n", kept):
        yield with_change(*found.span(), "")


@pytest.mark.parametrize("name", RULES)
def test_every_change_of_a_rule_makes_a_case_fail(name):
    survivors, ran = [], 0
    for what, changed in mutants(FILES[name]):
        if changed == FILES[name]:
            continue
        files = FILES | {name: changed}
        try:
            Engine(files)
        except RegoError:
            continue  # no Rego any more: `llmguard check` finds it, and a mutant of that kind proves nothing
        ran += 1
        if all(result.passed for result in run_cases(files)):
            survivors.append(what)
    assert ran >= LEAST_MUTANTS
    assert survivors == []
