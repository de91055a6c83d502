from dataclasses import replace
from datetime import date

import pytest

from llmguard.alerts.expiry import expiry_alerts
from llmguard.alerts.limits import limit_alerts, watched_scopes
from llmguard.domain.alerts import AlertPolicy
from llmguard.domain.catalog import Quota, QuotaScope, Registry
from llmguard.domain.quota import Standing
from tests.support.builders import NOON, an_app

DANA = QuotaScope("owner", "dana@example.com", Quota(nano_usd_per_month=100 * 10**9))
APP = an_app(name="claims-bot", quota=Quota(tokens_per_day=1000), shared=(DANA,), cost_center="4711")
OTHER = an_app(name="other", shared=(DANA,), cost_center="1200")
RESETS = NOON.replace(hour=0, day=24)


def a_registry(*apps):
    return Registry("d", {}, {}, {}, {app.name: app for app in apps})


def a_standing(used, **changes):
    facts = {"name": "tokens_per_day", "limit": 1000, "used": used, "held": 0, "resets_at": RESETS}
    return Standing(**(facts | {"scope": "app:claims-bot"} | changes))


def alerts(*standings, **policy):
    watched = {one.scope.id: one for one in watched_scopes(a_registry(APP, OTHER))}
    return list(limit_alerts(watched, standings, AlertPolicy(**policy)))


@pytest.mark.parametrize(
    ("used", "told"), [(0, None), (499, None), (500, 50), (799, 50), (800, 80), (950, 95), (999, 95), (1000, 100)]
)
def test_the_highest_threshold_that_is_reached_is_told(used, told):
    assert [alert.data["threshold_percent"] for alert in alerts(a_standing(used))] == ([] if told is None else [told])


def test_a_threshold_covers_those_below_it_so_that_a_jump_is_told_once():
    [half], [high] = alerts(a_standing(500)), alerts(a_standing(960))

    assert half.key in high.covers
    assert len(high.covers) == 2


def test_what_requests_in_flight_hold_counts_for_nothing():
    assert alerts(a_standing(100, held=900)) == []


def test_the_next_window_is_told_anew_and_a_look_later_in_the_same_is_the_same_alert():
    [first], [again] = alerts(a_standing(800)), alerts(a_standing(850))
    [tomorrow] = alerts(a_standing(800, resets_at=RESETS.replace(day=25)))

    assert first.key == again.key != tomorrow.key


def test_a_grant_makes_another_limit_with_thresholds_of_its_own():
    [before] = alerts(a_standing(1000))
    [after] = alerts(a_standing(1600, limit=2000, granted=1000))

    assert after.data["threshold_percent"] == 80
    assert after.key != before.key
    assert "1600 of 2000 (1000 of it granted on top)" in after.data["message"]


def test_limits_a_minute_are_told_only_where_the_registry_says_so():
    standing = a_standing(1000, name="requests_per_minute")

    assert alerts(standing) == []
    assert len(alerts(standing, minute_limits=True)) == 1


def test_a_shared_limit_concerns_the_cost_centers_of_all_its_apps():
    [alert] = alerts(a_standing(95 * 10**9, name="usd_per_month", limit=100 * 10**9, scope=DANA.id))

    assert alert.subject == "owner:dana@example.com"
    assert alert.cost_centers == {"4711", "1200"}
    assert (alert.data["used"], alert.data["limit"], alert.data["left"]) == ("95", "100", "5")
    assert "dana" not in alert.log_subject


def test_no_thresholds_no_alerts():
    assert alerts(a_standing(1000), percents=()) == []


def told(expires, today, status="approved"):
    app = replace(APP, expires=date.fromisoformat(expires), status=status)
    return list(expiry_alerts(a_registry(app), AlertPolicy().expiry_days, date.fromisoformat(today)))


@pytest.mark.parametrize(
    ("today", "days"),
    [
        ("2026-12-16", None),
        ("2026-12-17", 14),
        ("2026-12-23", 14),
        ("2026-12-24", 7),
        ("2026-12-30", 1),
        ("2026-12-31", 0),
        ("2027-01-03", 0),
        ("2027-01-04", None),
    ],
)
def test_an_app_that_ends_is_told_14_7_and_1_days_before_and_on_the_day(today, days):
    found = told("2026-12-31", today)

    assert [alert.data["threshold_days"] for alert in found] == ([] if days is None else [days])


def test_a_renewed_app_is_told_anew_and_a_retired_one_never():
    [first], [renewed] = told("2026-12-31", "2026-12-24"), told("2027-12-31", "2027-12-24")

    assert first.key != renewed.key
    assert told("2026-12-31", "2026-12-24", status="retired") == []


def test_words_say_whether_it_ends_today_or_has_ended():
    [today], [ended] = told("2026-12-31", "2026-12-31"), told("2026-12-31", "2027-01-01")

    assert "ends today" in today.data["message"]
    assert (ended.type, "its requests are refused" in ended.data["message"]) == ("com.llmguard.app.expired", True)
