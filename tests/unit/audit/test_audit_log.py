import sqlite3
import threading
from contextlib import closing
from datetime import timedelta

import pytest

from llmguard.audit.log import AuditLog, append
from llmguard.domain.state_file import open_state, transaction
from tests.support.builders import NOON, FrozenClock

OLD_TABLE = """
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
    before TEXT, after TEXT NOT NULL
)"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def log(path, clock):
    return AuditLog(path, clock)


def three_entries(log, clock):
    for who in ("dana", "lee", "kim"):
        log.record(who=who, what="key.revoked", subject="k1", app="claims-bot", facts={"why": "löst", "n": 1})
        clock.advance(hours=1)


def by_force(path, *statements):
    """Change the file as somebody would who takes the triggers away first."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in ("DROP TRIGGER audit_log_is_never_updated", "DROP TRIGGER audit_log_is_never_deleted"):
            connection.execute(statement)
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_folder_without_entries_has_an_intact_empty_log(log, path):
    assert (list(log.entries()), log.first_bad_entry()) == ([], None)
    open_state(path, create=True).close()
    assert (list(log.entries()), log.first_bad_entry()) == ([], None)


def test_entries_come_back_in_order_and_hold(log, clock):
    three_entries(log, clock)

    assert [(entry.seq, entry.who, entry.facts) for entry in log.entries()] == [
        (number, who, '{"n":1,"why":"löst"}') for number, who in enumerate(("dana", "lee", "kim"), start=1)
    ]
    assert log.first_bad_entry() is None


def test_entries_are_found_by_their_time(log, clock):
    three_entries(log, clock)

    found = log.entries(since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=2))

    assert [entry.who for entry in found] == ["lee"]


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET who = 'eve'", "DELETE FROM audit_log"])
def test_the_log_refuses_changes(log, clock, path, statement):
    three_entries(log, clock)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.Error, match="append-only"):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_log SET who = 'eve' WHERE seq = 2", "audit entry 2 was changed"),
        ("UPDATE audit_log SET facts = '{}' WHERE seq = 2", "audit entry 2 was changed"),
        ("UPDATE audit_log SET app = NULL WHERE seq = 3", "audit entry 3 was changed"),
        ("DELETE FROM audit_log WHERE seq = 2", "audit entry 2 is missing"),
        ("DELETE FROM audit_log WHERE seq = 1", "audit entry 1 is missing"),
    ],
)
def test_the_first_entry_that_was_changed_by_force_is_named(log, clock, path, statement, fault):
    three_entries(log, clock)
    by_force(path, statement)
    assert log.first_bad_entry() == fault


def test_an_entry_that_was_replaced_with_a_fitting_digest_breaks_the_one_behind_it(log, clock, path, tmp_path):
    three_entries(log, clock)
    forged = AuditLog(tmp_path / "other.db", FrozenClock()).record(who="eve", what="key.revoked", subject="k1")
    by_force(
        path,
        "DELETE FROM audit_log WHERE seq = 1",
        f"INSERT INTO audit_log VALUES (1, '{forged.time}', 'eve', 'key.revoked', 'k1', NULL, '{{}}', "
        f"'{forged.prev_digest}', '{forged.digest}')",
    )
    assert log.first_bad_entry() == "audit entry 2 does not follow the entry before it"


def test_an_entry_comes_and_goes_with_the_change_that_it_tells(log, path):
    with (
        closing(open_state(path, create=True)) as connection,
        pytest.raises(ZeroDivisionError),
        transaction(connection),
    ):
        append(connection, NOON, who="dana", what="key.issued", subject="k1")
        raise ZeroDivisionError
    assert list(log.entries()) == []


def test_writers_at_once_make_one_chain(log):
    def write():
        for _ in range(10):
            log.record(who="dana", what="key.issued", subject="k1")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [entry.seq for entry in log.entries()] == list(range(1, 41))
    assert log.first_bad_entry() is None


def test_what_a_folder_had_before_the_chain_becomes_its_beginning(log, path):
    with closing(open_state(path, create=True)) as connection:
        connection.execute(OLD_TABLE)
        connection.execute(
            "INSERT INTO audit VALUES (1, '2026-10-01T12:00:00+00:00', 'fin@example.com', 'overage.approved', 'o1', "
            """'{"app": "claims-bot", "state": "open"}', '{"app": "claims-bot", "state": "approved"}')"""
        )
    log.record(who="dana", what="key.issued", subject="k1")

    first, second = log.entries()

    assert (first.seq, first.who, first.what, first.app) == (1, "fin@example.com", "overage.approved", "claims-bot")
    assert '"before":{"app":"claims-bot","state":"open"}' in first.facts
    assert second.prev_digest == first.digest
    assert log.first_bad_entry() is None
