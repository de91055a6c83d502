from dataclasses import replace
from datetime import date, timedelta

from llmguard.alerts.app_events import containment_alerts, departure_alerts, renewal_alerts
from llmguard.alerts.expiry import expiry_alerts
from llmguard.domain.alerts import AlertPolicy
from llmguard.registry.app_states import Containment, Renewal
from tests.support.builders import NOON
from tests.support.served import a_small_registry

CONTAINMENT = Containment("c1", "expense-triage", NOON, "ben@example.com", "Jane Novak leaks.", 1)


def a_registry(**app):
    return a_small_registry(backup_owner="lee@example.com", **app)


def test_owners_are_told_of_a_containment_and_of_its_end_without_its_reason():
    lifted = replace(CONTAINMENT, lifted_at=NOON + timedelta(hours=1), lifted_by="coe@example.com")

    contained, ended = containment_alerts([lifted], a_registry())

    assert (contained.type, contained.kind, contained.moment) == (
        "com.llmguard.containment.contained",
        "containment",
        NOON,
    )
    assert (contained.data["owner"], contained.data["backup_owner"]) == ("dana@example.com", "lee@example.com")
    assert (ended.type, ended.moment) == ("com.llmguard.containment.lifted", NOON + timedelta(hours=1))
    assert "Novak" not in str((contained, ended))
    assert "ben@example.com" not in str((contained, ended))


def test_a_containment_of_an_app_that_git_has_no_more_is_told_too():
    [alert] = containment_alerts([replace(CONTAINMENT, app="gone")], a_registry())

    assert (alert.subject, alert.cost_centers) == ("app:gone", frozenset())


def test_a_renewal_says_what_to_write_into_git():
    renewal = Renewal("r1", "expense-triage", date(2026, 12, 1), date(2027, 3, 1), NOON, "dana@example.com")

    [alert] = renewal_alerts([renewal], a_registry())

    assert (alert.type, alert.kind) == ("com.llmguard.app.renewed", "expiry")
    assert "`expires: 2027-03-01`" in alert.data["message"]


def test_apps_of_people_who_have_left_are_told():
    registry = replace(a_registry(has_owner=True), departed=frozenset({"dana@example.com"}))

    [alert] = departure_alerts(registry)

    assert (alert.type, alert.data["has_owner"]) == ("com.llmguard.app.ownerless", True)
    assert list(departure_alerts(a_registry())) == []


def test_a_deprecated_app_is_told_before_its_sunset():
    app = {"status": "deprecated", "sunset": date(2026, 12, 7), "expires": date(2027, 12, 31), "instead": "claims-desk"}

    [alert] = expiry_alerts(a_registry(**app), AlertPolicy().expiry_days, NOON.date())

    assert alert.data["days_left"] == 14
    assert "deprecated app expense-triage ends in 14 days" in alert.data["message"]
    assert "claims-desk" in alert.data["message"]
