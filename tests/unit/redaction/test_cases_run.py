"""The CoE's examples pass, and a case that does not say what it means is a failed case."""

import pytest

from llmguard.redaction.cases import read_marks, run_cases
from llmguard.redaction.findings import Finding
from llmguard.redaction.profiles import Profile
from tests.support.redaction_rules import RULES, example_analyzer


class FindsDigits:
    """An analyzer that takes every run of digits for a telephone number."""

    profiles = {"standard": Profile("standard", ner=False, threshold=0.4, actions={"PHONE_NUMBER": "hide"})}  # noqa: RUF012

    def find(self, text, profile):
        assert profile.name == "standard"
        spans = [(i, i + 1) for i, character in enumerate(text) if character.isdigit()]
        joined = []
        for start, end in spans:
            if joined and joined[-1][1] == start:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
        return tuple(Finding(start, end, "PHONE_NUMBER", 0.9, "digits") for start, end in joined)


def cases_in(tmp_path, text):
    (tmp_path / "some.yaml").write_text(text, encoding="utf-8")
    return run_cases(FindsDigits(), tmp_path)


def test_every_case_of_the_example_rules_passes():
    results = run_cases(example_analyzer(), RULES / "cases")

    assert len(results) > 80
    assert [f"{one.file}: {one.text!r}: {one.problems}" for one in results if not one.passed] == []


def test_marks_are_taken_out_of_the_text():
    text, spans = read_marks("Call [PHONE_NUMBER:212] or [PHONE_NUMBER:213], not [x]")

    assert text == "Call 212 or 213, not [x]"
    assert [(text[start:end], entity) for start, end, entity in spans] == [
        ("212", "PHONE_NUMBER"),
        ("213", "PHONE_NUMBER"),
    ]


def test_an_example_passes_when_exactly_the_marks_are_found(tmp_path):
    results = cases_in(tmp_path, "- rule: r\n  found: ['Call [PHONE_NUMBER:212]']\n  kept: ['Call me']\n")

    assert [one.passed for one in results] == [True, True]


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        ("found: ['Call [PERSON:Bob]']", "PERSON is not found: 'Bob'"),
        ("found: ['[PHONE_NUMBER:1] and 22']", "PHONE_NUMBER is found: '22'"),
        ("kept: ['room 12']", "PHONE_NUMBER is found: '12'"),
        ("found: ['nothing']", "marks nothing"),
        ("profile: lax\n  kept: ['x']", "there is no profile 'lax'; known: standard"),
        ("kepd: ['x']", "unknown setting 'kepd'"),
        ("found: 'x'", "lists of texts"),
        ("profile: standard", "neither"),
    ],
    ids=["missed", "surplus", "counter-example", "no mark", "profile", "setting", "no list", "empty"],
)
def test_a_case_that_does_not_hold_says_why(tmp_path, example, problem):
    results = cases_in(tmp_path, f"- rule: r\n  {example}\n")

    assert not results[0].passed
    assert problem in results[0].problems[0]


@pytest.mark.parametrize("text", ["rule: r", "- found: [a]", "- [unclosed", "- 7"])
def test_a_file_that_holds_no_cases_is_one_failed_case(tmp_path, text):
    results = cases_in(tmp_path, text)

    assert [one.passed for one in results] == [False]
