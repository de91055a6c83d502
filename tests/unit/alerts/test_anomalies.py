"""The rule for unusual use, on generated series; scripts/measuring/anomalies.py has the figures for many."""

from dataclasses import replace

import pytest

from llmguard.alerts.anomalies import Use, find_anomalies, shown_figure
from llmguard.domain.alerts import AnomalyRule
from tests.support.app_series import CHANGED_AT, CHANGES, episodes, hours_of_an_app

RULE = AnomalyRule()
A_DAY = Use(requests=1000, spend=20 * 10**9, tokens=10**6, errors=5, day_spend=60 * 10**9, day_tokens=3 * 10**6)
PAST = [replace(A_DAY, tokens=10**6 + day * 10**4, spend=20 * 10**9 + day * 10**8) for day in range(-5, 5)]


def metrics(now, past=PAST, rule=RULE):
    return [anomaly.metric for anomaly in find_anomalies(now, past, rule)]


def test_a_daily_and_weekly_rhythm_is_quiet():
    apps, weeks = 12, 6

    false = [one for seed in range(apps) for one in episodes(hours_of_an_app(seed, 4 + weeks), RULE, first=4 * 168)]

    assert len(false) / (apps * weeks) <= 0.2  # an app and week; noise is heavy here, and jobs are started by hand
    assert {one.metric for _, one in false} <= {"spend", "tokens"}


@pytest.mark.parametrize("name", [name for name in CHANGES if not name.startswith("drift +5")])
def test_what_really_changes_is_found(name):
    change, metric, within = CHANGES[name]
    hours = hours_of_an_app(1001, 8, change=change)[: CHANGED_AT + within]

    found = [one.metric for _, one in episodes(hours, RULE, first=CHANGED_AT + 1)]

    assert metric in found


def test_a_new_app_is_not_judged_before_its_history_is_long_enough():
    change, metric, _ = CHANGES["spike x5 for 3 h"]
    moved = hours_of_an_app(1001, 8, change=change)[CHANGED_AT - 24 * 9 - 9 : CHANGED_AT + 24]

    assert episodes(moved, RULE) == []
    assert metric in [one.metric for _, one in episodes(moved, replace(RULE, least_history_days=7))]


def test_few_windows_to_compare_with_judge_nothing():
    spike = replace(A_DAY, tokens=10**7)

    assert metrics(spike) == ["tokens"]
    assert metrics(spike, PAST[:5]) == []


def test_a_small_excess_is_not_worth_telling_however_unusual():
    small = [replace(use, tokens=1000, day_tokens=3000) for use in PAST]

    assert metrics(replace(A_DAY, tokens=100_000), small) == []


def test_an_excess_that_is_small_beside_the_day_is_not_worth_telling():
    night = [replace(use, tokens=10_000, day_tokens=30 * 10**6) for use in PAST]

    assert metrics(replace(A_DAY, tokens=400_000), night) == []


def test_what_was_seen_before_is_not_unusual():
    assert metrics(replace(A_DAY, tokens=10**7), [*PAST, replace(A_DAY, tokens=9 * 10**6)]) == []


def test_less_than_usual_is_never_told():
    assert metrics(Use()) == []


def test_shares_are_compared_and_not_counts_so_that_a_busy_day_is_no_day_of_errors():
    assert metrics(replace(A_DAY, requests=10_000, errors=50)) == []
    assert metrics(replace(A_DAY, errors=100)) == ["errors"]


def test_money_is_judged_with_its_own_minimum():
    dear = replace(A_DAY, spend=120 * 10**9)

    assert metrics(dear) == ["spend"]
    assert metrics(dear, rule=replace(RULE, minimum_nano_usd=200 * 10**9)) == []
    assert metrics(dear, rule=replace(RULE, watch=())) == []


def test_figures_are_shown_in_their_units():
    assert shown_figure("spend", 12_345_678_900) == "12.35 USD"
    assert shown_figure("errors", 0.123) == "12.3% of requests failed"
