"""The section `retention`: for how many days payloads are kept, and the findings when it says something else."""

from datetime import timedelta

import pytest

from llmguard.domain.retention import USUAL_DAYS, RetentionRule
from llmguard.evidence.erasure import retention_order
from llmguard.registry.check import check_source
from tests.support.builders import NOON
from tests.support.registries import PROFILES, a_document, as_source

LONGER = {"apps": ["expense-triage"], "days": 3650, "why": "Tax law: ten years."}


def check(retention):
    source = as_source(a_document() | {"retention": retention})
    return check_source(source, file="registry.yaml", profiles=PROFILES, accepted={})


def test_without_the_section_everything_is_kept_for_half_a_year():
    registry = check_source(as_source(a_document()), file="r", profiles=PROFILES, accepted={}).registry

    assert USUAL_DAYS == 183
    assert registry.retention.days_of("expense-triage", "restricted") == 183
    assert registry.retention.longest_days == 183


def test_sensitivity_decides_and_a_rule_makes_it_longer():
    policy = check({"days": {"internal": 30, "restricted": 400}, "rules": [LONGER]}).registry.retention

    assert policy.rules == (RetentionRule(("expense-triage",), 3650, "Tax law: ten years."),)
    assert policy.days_of("expense-triage", "internal") == 3650
    assert [policy.days_of("other", word) for word in ("public", "internal", "restricted")] == [183, 30, 400]


def test_the_order_has_an_end_for_each_app_and_the_latest_for_those_that_left_the_catalog():
    registry = check({"days": {"internal": 30, "restricted": 400}}).registry

    order = retention_order(registry, NOON)

    assert order.kind == "retention"
    assert order.ends == {"expense-triage": (NOON - timedelta(days=30)).isoformat()}
    assert order.otherwise == (NOON - timedelta(days=400)).isoformat()


@pytest.mark.parametrize(
    ("retention", "path", "words"),
    [
        ({"months": 6}, "retention.months", "unknown setting 'months'"),
        ({"days": {"secret": 30}}, "retention.days.secret", "unknown setting 'secret'"),
        ({"days": {"public": 0}}, "retention.days.public", "0 is out of range"),
        ({"rules": [LONGER | {"apps": ["expense-triag"]}]}, "retention.rules[0].apps[0]", "no app of the catalog"),
        ({"rules": [LONGER | {"days": 183}]}, "retention.rules[0].days", "a rule only makes it longer"),
        ({"rules": [{"apps": ["expense-triage"], "days": 999}]}, "retention.rules[0].why", "'why' is missing"),
    ],
)
def test_what_is_wrong_is_found_in_its_place(retention, path, words):
    [finding] = check(retention).findings

    assert finding.path == path
    assert words in finding.message
