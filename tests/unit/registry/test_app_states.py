"""Containments and renewals on top of git's registry: what counts, what ends them, and what survives."""

import sqlite3
from datetime import date, timedelta

import pytest

from llmguard.registry.app_states import (
    AppStates,
    AppStateStore,
    Containment,
    LiveAppStates,
    Renewal,
    add_containment,
    add_renewal,
    in_force,
    lift_containment,
    states_at,
)
from tests.support.builders import NOON, an_app
from tests.support.served import a_small_registry

APP = "expense-triage"
END = date(2026, 12, 31)
LATER = date(2027, 3, 31)


def a_containment(**changes):
    facts = {"id": "c1", "app": APP, "at": NOON, "by": "ana@example.com", "reason": "It leaks.", "revoked_keys": 2}
    return Containment(**(facts | changes))


def a_renewal(**changes):
    facts = {"id": "r1", "app": APP, "from_day": END, "to_day": LATER, "at": NOON, "by": "dana@example.com"}
    return Renewal(**(facts | changes))


@pytest.fixture
def store(tmp_path):
    return AppStateStore(tmp_path / "state.db")


def app_in_force(states, **app_changes):
    return in_force(a_small_registry(**app_changes), states).apps[APP]


@pytest.mark.parametrize(
    ("status", "after"),
    [(one, "suspended") for one in ("draft", "sandbox", "approved", "deprecated", "suspended")]
    + [("retired", "retired")],
)
def test_contained_app_is_suspended_whatever_git_says(status, after):
    app = app_in_force(AppStates({APP: a_containment()}), status=status)

    assert (app.status, app.contained_at) == (after, NOON)


@pytest.mark.parametrize(
    ("expires", "status", "last_day"),
    [
        (END, "approved", LATER),
        (END - timedelta(days=1), "approved", END - timedelta(days=1)),
        (date(2028, 1, 1), "approved", date(2028, 1, 1)),
        (END, "deprecated", END),
        (None, "approved", None),
    ],
    ids=["as it was renewed", "git cut it", "git extended it", "git ends it", "git lets it live"],
)
def test_renewal_moves_the_one_date_that_git_had_then(expires, status, last_day):
    assert app_in_force(AppStates({}, {APP: a_renewal()}), expires=expires, status=status).last_day == last_day


def test_registry_without_states_is_gits_own():
    git = a_small_registry()

    assert in_force(git, AppStates({"other": a_containment(app="other")})) is git


def test_states_survive_and_the_latest_renewal_counts(store, tmp_path):
    with store.writing() as connection:
        add_containment(connection, a_containment())
        add_renewal(connection, a_renewal())
        add_renewal(connection, a_renewal(id="r2", to_day=date(2027, 6, 30)))

    states = states_at(tmp_path / "state.db")

    assert states.contained == {APP: a_containment()}
    assert states.renewed[APP].to_day == date(2027, 6, 30)
    assert [one.id for one in store.renewals(NOON)] == ["r1", "r2"]
    assert states_at(tmp_path / "none.db") == AppStates()


def test_lifted_containment_is_over_and_remembered(store):
    with store.writing() as connection:
        add_containment(connection, a_containment())
        lift_containment(connection, APP, NOON + timedelta(hours=1), who="coe@example.com", reason="Mended.")

    [told] = store.containments(NOON + timedelta(minutes=30))
    assert store.read() == AppStates()
    assert (told.lifted_by, told.lift_reason) == ("coe@example.com", "Mended.")


def test_nothing_is_written_by_a_transaction_that_fails(store):
    with pytest.raises(sqlite3.IntegrityError), store.writing() as connection:
        add_containment(connection, a_containment())
        add_containment(connection, a_containment(id="c2"))  # an app is contained once

    assert store.read() == AppStates()


def test_watcher_tells_a_change_once_and_fails_when_it_cannot_read(store, tmp_path):
    told = []
    live = LiveAppStates(store, on_change=lambda: told.append(dict(live.current.contained)))
    with store.writing() as connection:
        add_containment(connection, a_containment())

    live.refresh()
    live.refresh()
    (tmp_path / "state.db").rename(tmp_path / "gone")

    assert told == [{APP: a_containment()}]
    with pytest.raises(sqlite3.Error):
        live.refresh()


def test_an_app_has_the_nearer_of_its_two_last_days():
    assert an_app(expires=LATER, sunset=END, status="deprecated").last_day == END
    assert an_app(expires=LATER, sunset=END, status="approved").last_day == LATER
    assert an_app(expires=None).last_day is None
