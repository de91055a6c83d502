"""The overage gate: who may decide, once, until when, and what is kept of it."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest

from llmguard.domain.catalog import OveragePolicy, QuotaScope, Registry
from llmguard.domain.errors import Refusal
from llmguard.domain.quota import Amount
from llmguard.quota.gate import OverageGate, UnknownOverage
from llmguard.quota.operations import Claim, Denied, Granted, Reserve
from llmguard.quota.overage import Ask, parse_amount
from llmguard.quota.store import LedgerStore
from tests.support.builders import NOON, FrozenClock, a_quota, an_app

QUOTA = a_quota(tokens_per_day=100, nano_usd_per_month=10**9)
SHARED = QuotaScope("cost_center", "4711", a_quota(tokens_per_month=1000))
APP = an_app(name="claims-bot", backup_owner="lee@example.com", quota=QUOTA, shared=(SHARED,))
POLICY = OveragePolicy(
    {"finance": ("fin@example.com",), "coe": ("coe@example.com", "dana@example.com")},
    a_quota(tokens_per_day=50),
    31,
)
REGISTRY = Registry("0" * 64, {}, {}, {}, {APP.name: APP}, POLICY)
TOMORROW = NOON + timedelta(days=1)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def gate(tmp_path, clock):
    return OverageGate(tmp_path / "state.db", clock)


@pytest.fixture
def ledger(tmp_path, clock):
    store = LedgerStore(tmp_path / "state.db", clock, busy_timeout_seconds=5)
    yield store
    store.close()


def ask(amount=40, **changes):
    facts = {"scope": "app", "limit": "tokens_per_day", "reason": "Month end is near.", "who": APP.owner}
    return Ask(**({"app": APP, "amount": amount} | facts | changes))


def approve(gate, overage, who="fin@example.com", *, amount=None, ends_at=TOMORROW):
    return gate.approve(REGISTRY, overage.id, who, amount=amount, ends_at=ends_at)


def reserve(ledger, hold_id, tokens):
    (result,) = ledger.apply([Reserve(hold_id, (Claim("app:claims-bot", QUOTA),), Amount(1, tokens, 0), "w")])
    return type(result)


def rows(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def test_the_very_next_reservation_passes_and_the_grant_ends_by_itself(gate, ledger, clock):
    assert reserve(ledger, "h1", 120) is Denied

    approve(gate, gate.request(ask()))

    assert reserve(ledger, "h2", 140) is Granted
    assert reserve(ledger, "h3", 1) is Denied
    clock.advance(days=1)
    assert reserve(ledger, "h4", 101) is Denied
    assert reserve(ledger, "h5", 100) is Granted
    (one,) = gate.all()
    assert (one.state, one.state_at(clock.now())) == ("approved", "ended")
    assert gate.grants(APP) == ()


def test_a_clock_that_goes_back_does_not_bring_a_grant_back(gate, ledger, clock):
    approve(gate, gate.request(ask()), ends_at=NOON + timedelta(seconds=2))
    clock.advance(seconds=2)
    assert reserve(ledger, "h1", 1) is Granted
    clock.advance(seconds=-1)

    assert reserve(ledger, "h2", 120) is Denied


@pytest.mark.parametrize(
    ("who", "key_id", "words"),
    [
        ("dana@example.com", None, "Nobody approves their own"),
        (" Dana@Example.COM ", None, "Nobody approves their own"),
        ("dana@example.com", "key_1", "Nobody approves their own"),
        ("eve@example.com", None, "may not decide"),
        ("", None, "may not decide"),
    ],
)
def test_whoever_may_not_decide_is_refused_and_nothing_changes(gate, who, key_id, words):
    overage = gate.request(ask(key_id=key_id))

    with pytest.raises(Refusal, match=words) as refused:
        approve(gate, overage, who)

    assert refused.value.code == "policy_denied"
    assert [one.state for one in gate.all()] == ["open"]
    assert gate.grants(APP) == ()


def test_an_owner_who_is_an_approver_cannot_decide_what_the_apps_key_asked_for(gate):
    overage = gate.request(ask(who="lee@example.com", key_id="key_1"))
    with pytest.raises(Refusal, match="Nobody approves their own"):
        approve(gate, overage, "dana@example.com")


def test_owner_and_backup_owner_decide_for_the_app_but_not_for_what_it_shares(gate):
    own = gate.request(ask(who="eve@example.com"))
    shared = gate.request(ask(scope="cost_center", limit="tokens_per_month", who="eve@example.com"))

    assert approve(gate, own, "lee@example.com").state == "approved"
    with pytest.raises(Refusal, match="may not decide"):
        approve(gate, shared, "lee@example.com")
    assert approve(gate, shared, "coe@example.com").scope == "cost_center:4711"


def test_above_the_cap_two_different_people_agree_on_the_same(gate):
    overage = gate.request(ask(60))

    assert approve(gate, overage).state == "awaiting_second"
    assert gate.grants(APP) == ()
    with pytest.raises(Refusal, match="has approved already"):
        approve(gate, overage, "FIN@example.com", ends_at=None)
    with pytest.raises(Refusal, match="two have to agree on the same"):
        approve(gate, overage, "coe@example.com", amount=61, ends_at=None)
    assert approve(gate, overage, "coe@example.com", ends_at=None).state == "approved"
    assert [grant.amount for grant in gate.grants(APP)] == [60]


def test_the_cap_counts_what_is_in_force_so_splitting_does_not_help(gate):
    approve(gate, gate.request(ask(40)))
    assert approve(gate, gate.request(ask(11))).state == "awaiting_second"


def test_two_approvers_who_race_apply_it_once(gate):
    overage = gate.request(ask())

    def decide(number):
        try:
            return approve(gate, overage, ("fin@example.com", "coe@example.com", "lee@example.com")[number % 3]).state
        except Refusal as refusal:
            return refusal.code

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(decide, range(6)))

    assert sorted(outcomes) == ["approved", *["invalid_request"] * 5]
    assert [grant.amount for grant in gate.grants(APP)] == [40]


def test_a_denied_request_grants_nothing_and_cannot_be_approved(gate):
    overage = gate.request(ask())

    denied = gate.deny(REGISTRY, overage.id, "fin@example.com", "The month is nearly over.")

    assert (denied.state, denied.decided_by) == ("denied", "fin@example.com")
    with pytest.raises(Refusal, match="denied already, by fin@example"):
        approve(gate, overage)
    gate.request(ask())  # and may be asked again


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"amount": 0}, "more than nothing"),
        ({"reason": "  "}, "must have from 1 to 500"),
        ({"reason": "x" * 501}, "must have from 1 to 500"),
        ({"limit": "requests_per_minute"}, "has no limit of this kind"),
        ({"scope": "owner"}, "has no limit of this kind"),
    ],
)
def test_what_makes_no_sense_is_refused(gate, changes, words):
    with pytest.raises(Refusal, match=words):
        gate.request(ask(**changes))
    assert gate.all() == ()


def test_a_reason_cannot_play_tricks_on_the_terminal_of_those_who_decide(gate):
    overage = gate.request(ask(reason="Grüße\x1b[2J\u202e now"))
    assert overage.reason == "Grüße [2J  now"


def test_the_same_is_not_asked_for_twice(gate):
    first = gate.request(ask())
    with pytest.raises(Refusal, match=first.id):
        gate.request(ask())


@pytest.mark.parametrize(
    ("amount", "ends_at"),
    [(None, NOON), (None, NOON + timedelta(days=32)), (0, TOMORROW), (None, None)],
    ids=["in the past", "too long", "nothing", "without end"],
)
def test_a_grant_has_an_amount_and_a_near_end(gate, amount, ends_at):
    overage = gate.request(ask())
    with pytest.raises(Refusal) as refused:
        approve(gate, overage, amount=amount, ends_at=ends_at)
    assert refused.value.code == "invalid_request"


def test_a_request_that_nobody_made_cannot_be_decided(gate):
    with pytest.raises(UnknownOverage):
        gate.deny(REGISTRY, "no-such-id", "fin@example.com", "No.")


def test_each_step_is_one_audit_entry_and_one_event_without_the_reason(gate, tmp_path):
    overage = gate.request(ask(60, reason="Ask Zuzanna about it."))
    approve(gate, overage)
    approve(gate, overage, "coe@example.com", ends_at=None)

    audit = rows(tmp_path / "state.db", "SELECT who, what, subject, app, facts FROM audit_log ORDER BY seq")
    events = rows(tmp_path / "state.db", "SELECT id, time, type, subject, data FROM events ORDER BY rowid")

    assert [row[:3] for row in audit] == [
        ("dana@example.com", "overage.requested", overage.id),
        ("fin@example.com", "overage.first_approved", overage.id),
        ("coe@example.com", "overage.approved", overage.id),
    ]
    changes = [json.loads(row[4]) for row in audit]
    assert [change["before"] and change["before"]["state"] for change in changes] == [None, "open", "awaiting_second"]
    assert [change["after"]["state"] for change in changes] == ["open", "awaiting_second", "approved"]
    assert [event[2] for event in events] == [
        "com.llmguard.overage.requested",
        "com.llmguard.overage.first_approved",
        "com.llmguard.overage.approved",
    ]
    assert {event[3] for event in events} == {"claims-bot"}
    assert json.loads(events[-1][4])["granted"] == "60"
    assert "Zuzanna" not in str(audit) + str(events)


@pytest.mark.parametrize(
    ("limit", "amount", "counted"),
    [("usd_per_month", "12.50", 12_500_000_000), ("usd_per_month", 0.1, 100_000_000), ("tokens_per_day", 5, 5)],
)
def test_amounts_are_counted_exactly(limit, amount, counted):
    assert parse_amount(limit, amount) == counted


@pytest.mark.parametrize(
    ("limit", "amount"),
    [
        ("tokens_per_day", 1.5),
        ("usd_per_month", "1e-10"),
        ("usd_per_month", "much"),
        ("tokens_per_day", "NaN"),
        ("tokens_per_day", "1e999999999"),  # written out, it would fill the memory
        ("usd_per_month", "1e999999999"),
        ("tokens_per_day", "1" * 1_000_000),
    ],
)
def test_amounts_that_cannot_be_counted_are_refused(limit, amount):
    with pytest.raises(Refusal, match="no figure"):
        parse_amount(limit, amount)
