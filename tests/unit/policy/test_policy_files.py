"""What is wrong in the folder of rules: all of it, with place and fix."""

import sys

import pytest

from llmguard.policy.cases import run_policy_cases
from llmguard.policy.rego_files import check_policies
from tests.support.rego_text import a_rule


@pytest.fixture
def folder(tmp_path):
    def write(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.rego").write_text(text)
        return tmp_path

    return write


def shown(folder):
    return [str(finding) for finding in check_policies(folder).findings]


def test_an_absent_or_empty_folder_means_no_rules(tmp_path):
    for place in (tmp_path / "policies", tmp_path):
        checked = check_policies(place)

        assert (checked.findings, checked.rules.packages, checked.rules.digest) == ((), {}, "")


def test_a_folder_that_cannot_be_read_is_a_finding_and_not_without_rules(tmp_path):
    (tmp_path / "policies").write_text("a file, and no folder")

    assert "cannot be read" in shown(tmp_path / "policies")[0]


def test_a_good_rule_has_no_findings(folder):
    checked = check_policies(folder(trial=a_rule("input.app.owner == `x`")))

    assert checked.findings == ()
    assert checked.rules.packages == {"trial": "trial.rego"}
    assert len(checked.rules.digest) == 64


@pytest.mark.parametrize(
    ("text", "line", "column", "words", "fix"),
    [
        ("package llmguard.policies.trial\n\ndecisions contains {", 3, 21, "", "correct it"),
        (a_rule("input.app.ownr == `x`"), 4, 1, "there is no input.app.ownr", "did you mean input.app.owner?"),
        (a_rule("input.prest.name == `x`"), 4, 1, "there is no input.prest.name", "input.preset.name"),
        (a_rule("input[`app`].owner == `x`"), 4, 1, "named in brackets", "input.app.owner"),
        (a_rule("app := input.app\napp.ownr == ``"), 4, 8, "taken as a whole", "input.app.owner"),
        (a_rule("time.now_ns() > 0"), 4, 1, "no steady answer", "input.time"),
        (a_rule("http.send({`url`: `http://x`}).status_code == 200"), 4, 1, "no steady answer", "facts alone"),
        (a_rule("unknown(1)"), 4, 2, "could not find function unknown", "correct it"),
        (a_rule("not input.request.entities.PERSON > 0"), 4, 1, "which may be undefined", "a rule of its own"),
        (a_rule("not max([n | some n in input.request.entities]) > 1"), 4, 1, "more than one", "a rule of its own"),
        (
            a_rule("some c in input.app.connectors\nnot startswith(c.name, `x`)"),
            5,
            1,
            "not` is over c.name",
            "of its own",
        ),
        (a_rule(package="other"), 1, 1, "the package is llmguard.policies.other", "package llmguard.policies.trial"),
        ("package mine\n", 1, 1, "the package is mine", "package llmguard.policies.trial"),
        ("package llmguard.policies.trial\n", 1, 1, "it decides nothing", "decisions contains"),
        (a_rule("1 / count(input.request.tools) > 0"), 4, 2, "divide by zero", "correct it"),
    ],
)
def test_each_finding_says_where_and_what_to_do(folder, text, line, column, words, fix):
    checked = check_policies(folder(trial=text))

    finding = checked.findings[0]
    assert (finding.file, finding.line) == ("trial.rego", line)
    assert finding.column >= column
    assert words in finding.message
    assert fix in finding.fix


def test_every_finding_is_told_at_once(folder):
    said = shown(folder(one=a_rule("input.app.x == 1\ninput.app.y == 2", package="one"), two="package mine\n"))

    assert [line.split(";")[0] for line in said] == [
        "one.rego:4:2: there is no input.app.x",
        "one.rego:5:2: there is no input.app.y",
        "two.rego:1:1: the package is mine",
    ]


def test_comments_and_texts_are_no_facts(folder):
    text = a_rule('# input.app.nobody decides\ninput.app.owner == "input.app.no"')

    assert shown(folder(trial=text)) == []


def test_a_rule_without_end_is_a_finding(folder, monkeypatch):
    monkeypatch.setattr("llmguard.policy.rego_files._CHECK_SECONDS", 0.3)
    slow = "count([1 | some i in numbers.range(1, 30000); some j in numbers.range(1, 30000); i * j == 7]) == 99"

    [said] = shown(folder(quick=a_rule(package="quick"), trial=a_rule(slow)))
    assert said.startswith("trial.rego:1:1: the rules do not end in time on the example facts; look for a rule")


def test_an_engine_that_does_not_answer_is_a_finding_of_its_own(folder, monkeypatch):
    monkeypatch.setattr("llmguard.policy.rego_files.COMMAND", [sys.executable, "-c", ""])

    [said] = shown(folder(trial=a_rule()))
    assert said.startswith("trial.rego:1:1: the engine that reads the rules did not answer; try again")


def test_files_that_are_no_text_are_findings(tmp_path):
    (tmp_path / "trial.rego").write_bytes(b"\xff")
    assert shown(tmp_path) == ["trial.rego:1:1: the file is not UTF-8 text; save it as UTF-8"]


def test_cases_say_which_failed_and_which_rules_have_none(folder):
    cases = (
        "package llmguard.policies.trial_test\n\nimport data.llmguard.policies.trial\n\n"
        "test_holds if count(trial.decisions) == 1\n\ntest_fails if count(trial.decisions) == 2\n\n"
        "todo_test_later if false\n\ntest_breaks if to_number(`x`) == 1\n"
    )
    checked = check_policies(folder(trial=a_rule(), trial_test=cases, bare=a_rule(package="bare")))

    results = {result.name: (result.file, result.line, result.problem) for result in run_policy_cases(checked)}

    assert results == {
        "test_holds": ("trial_test.rego", 5, None),
        "test_fails": ("trial_test.rego", 7, "it does not hold"),
        "todo_test_later": ("trial_test.rego", 9, None),
        "test_breaks": ("trial_test.rego", 11, "trial_test.rego:11:27: could not parse string as number"),
        "(none)": ("bare.rego", 1, "it has no cases; write some in bare_test.rego"),
    }


@pytest.mark.parametrize(
    "condition",
    [
        "not input.time.hour > 8",
        "not input.app.ticket",
        "not input.app.ticket in {`a`, `b`}",
        "some c in input.app.connectors\nnot c.encrypted",
        "some kind, n in input.request.entities\nnot n > 2\nnot kind in {`PERSON`}",
        "some c in input.app.connectors\nname := c.name\nnot startswith(name, `x`)",
    ],
)
def test_a_negation_over_what_is_always_there_is_fine(folder, condition):
    assert shown(folder(trial=a_rule(condition))) == []
