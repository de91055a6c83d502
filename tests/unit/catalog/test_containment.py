"""Containment and renewal change keys, state and audit log together, within what the CoE lets them."""

import json
from contextlib import closing
from datetime import date

import pytest

from llmguard.audit.log import AuditLog
from llmguard.catalog.containment import Containments
from llmguard.catalog.renewal import Renewals, check_renewer
from llmguard.domain.catalog import RenewalPolicy
from llmguard.domain.errors import Refusal
from llmguard.domain.state_file import open_state
from llmguard.identity.key_store import KeyStore
from llmguard.registry.app_states import in_force, states_at
from llmguard.traces.errors import TraceStoreError
from tests.support.builders import FrozenClock, an_app
from tests.support.served import SECRET, a_small_registry

POLICY = RenewalPolicy(longest_days=100, days_after_end=14)
EVIDENCE = [{"traces": 3, "with_findings": 1, "first_trace": "a", "last_trace": "b"}]


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def keys(tmp_path, clock):
    return KeyStore(tmp_path / "state.db", SECRET, clock)


@pytest.fixture
def containments(tmp_path, clock, keys):
    return Containments(tmp_path, clock, lambda *_: EVIDENCE)


def entries(tmp_path, clock):
    return [(one.what, one.who, one.app) for one in AuditLog(tmp_path / "state.db", clock).entries()]


def test_keys_state_and_log_change_together(tmp_path, clock, keys, containments):
    mine, other = keys.issue("expense-triage"), keys.issue("other")
    revision = keys.revision()

    done = containments.contain(an_app(), "ana@example.com", "  It\nleaks. ")

    assert (done.key_ids, done.is_new, done.containment.reason) == ((mine.key_id,), True, "It leaks.")
    assert keys.revision() > revision
    assert (keys.find(mine.key_id).revoked_by, keys.find(other.key_id).revoked_at) == ("ana@example.com", None)
    assert entries(tmp_path, clock)[-2:] == [
        ("key.revoked", "ana@example.com", "expense-triage"),
        ("app.contained", "ana@example.com", "expense-triage"),
    ]
    assert "leaks" not in str(list(AuditLog(tmp_path / "state.db", clock).entries()))
    assert in_force(a_small_registry(), states_at(tmp_path / "state.db")).apps["expense-triage"].status == "suspended"


def test_contained_again_ends_the_keys_of_in_between(keys, containments):
    first = containments.contain(an_app(), "ana@example.com", "It leaks.")
    late = keys.issue("expense-triage")

    again = containments.contain(an_app(), "ben@example.com", "Again.")

    assert (again.is_new, again.containment, again.key_ids) == (False, first.containment, (late.key_id,))


def test_failure_in_the_middle_changes_nothing(tmp_path, clock, keys, containments):
    key = keys.issue("expense-triage")
    before = entries(tmp_path, clock)
    with closing(open_state(tmp_path / "state.db")) as connection:
        connection.execute("DROP TABLE app_containments")

    with pytest.raises(Exception, match="app_containments"):
        containments.contain(an_app(), "ana@example.com", "It leaks.")

    assert keys.find(key.key_id).revoked_at is None
    assert entries(tmp_path, clock) == before


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 1001])
def test_somebody_says_why(containments, reason):
    with pytest.raises(Refusal) as refused:
        containments.contain(an_app(), "ana@example.com", reason)

    assert (refused.value.code, refused.value.param) == ("invalid_request", "reason")


def test_evidence_is_noted_and_what_cannot_be_read_stops_nothing(tmp_path, clock, containments):
    one = containments.contain(an_app(), "ana@example.com", "It leaks.").containment

    assert containments.keep_evidence(one) == EVIDENCE[0]
    noted = list(AuditLog(tmp_path / "state.db", clock).entries())[-1]
    assert (noted.what, noted.subject, json.loads(noted.facts)) == ("app.evidence_noted", one.id, EVIDENCE[0])

    def broken(*_):
        raise TraceStoreError

    assert Containments(tmp_path, clock, broken).keep_evidence(one) is None


def test_lift_lets_the_app_in_again_and_no_key(tmp_path, clock, keys, containments):
    key = keys.issue("expense-triage")
    containments.contain(an_app(), "ana@example.com", "It leaks.")

    lifted = containments.lift(an_app(), "coe@example.com", "Mended.")

    assert (lifted.lifted_by, lifted.lifted_at) == ("coe@example.com", clock.now())
    assert states_at(tmp_path / "state.db").contained == {}
    assert keys.find(key.key_id).revoked_at is not None
    with pytest.raises(Refusal, match="not contained"):
        containments.lift(an_app(), "coe@example.com", "Again.")


@pytest.mark.parametrize(
    ("app", "until", "after"),
    [
        ({"expires": date(2026, 12, 1)}, None, date(2027, 3, 3)),
        ({"expires": date(2026, 12, 1)}, date(2026, 12, 24), date(2026, 12, 24)),
        ({"expires": date(2026, 12, 1)}, date(2027, 3, 3), date(2027, 3, 3)),
        ({"expires": date(2026, 12, 1)}, date(2027, 3, 4), None),
        ({"expires": date(2026, 12, 1)}, date(2026, 12, 1), None),
        ({"expires": date(2026, 11, 9)}, date(2026, 12, 24), date(2026, 12, 24)),
        ({"expires": date(2026, 11, 8)}, date(2026, 12, 24), None),
        ({"expires": date(2026, 12, 1), "status": "suspended"}, None, None),
        ({"expires": date(2026, 12, 1), "status": "deprecated"}, None, None),
        ({"expires": date(2026, 12, 1), "status": "sandbox"}, None, None),
        ({"expires": None}, None, None),
    ],
    ids=[
        *("as far as it goes", "a day", "the last day", "too far", "no gain", "14 days late", "15 days late"),
        *("suspended", "deprecated", "sandbox", "no end"),
    ],
)
def test_owners_renew_as_far_as_the_policy_lets(tmp_path, clock, keys, app, until, after):
    renewals = Renewals(tmp_path, clock)
    if after is None:
        with pytest.raises(Refusal) as refused:
            renewals.renew(an_app(**app), POLICY, "dana@example.com", until)
        assert "registry.yaml" in refused.value.hint
        return

    assert renewals.renew(an_app(**app), POLICY, "dana@example.com", until).to_day == after
    registry = in_force(a_small_registry(**app), states_at(tmp_path / "state.db"))
    assert registry.apps["expense-triage"].expires == after
    assert entries(tmp_path, clock)[-1] == ("app.renewed", "dana@example.com", "expense-triage")


def test_renewed_again_is_still_on_top_of_what_git_has(tmp_path, clock, keys):
    git = a_small_registry(expires=date(2026, 12, 1))
    renewals = Renewals(tmp_path, clock)
    for until in (date(2026, 12, 24), date(2027, 1, 31)):
        app = in_force(git, states_at(tmp_path / "state.db")).apps["expense-triage"]
        renewal = renewals.renew(app, POLICY, "dana@example.com", until)

    assert renewal.from_day == date(2026, 12, 1)
    app = in_force(git, states_at(tmp_path / "state.db")).apps["expense-triage"]
    assert app.expires == date(2027, 1, 31)


def test_only_owners_renew():
    app = an_app(backup_owner="lee@example.com")

    check_renewer(app, "Dana@example.com")
    check_renewer(app, "lee@example.com")
    with pytest.raises(Refusal) as refused:
        check_renewer(app, "os:root")
    assert refused.value.code == "policy_denied"
