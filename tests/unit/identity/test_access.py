"""Roles for some hours: given by somebody else, counted while they last, told by the log."""

from datetime import timedelta

import pytest

from llmguard.domain.operators import OperatorRefused
from llmguard.identity.access import AccessDesk
from tests.support.builders import FrozenClock

TWO_HOURS = timedelta(hours=2)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def desk(tmp_path, clock):
    return AccessDesk(tmp_path / "state.db", clock)


def asked(desk, who="Rae@Example.com"):
    return desk.request(who, "responder", TWO_HOURS, "The travel app answers nonsense.")


def refusal_of(act, *given):
    with pytest.raises(OperatorRefused) as caught:
        act(*given)
    return caught.value.code


def test_the_same_role_is_asked_for_once_while_that_waits(desk, clock):
    first = asked(desk)

    assert refusal_of(asked, desk, " rae@EXAMPLE.com") == "conflict"
    asked(desk, "dana@example.com")
    desk.request("rae@example.com", "auditor", TWO_HOURS, "The year is over.")
    desk.end(first.id, "coe@example.com")
    clock.advance(minutes=1)
    again = asked(desk)
    clock.advance(days=8)
    assert asked(desk).id not in {first.id, again.id}


def test_role_counts_from_the_approval_until_its_end(desk, clock):
    access = asked(desk)
    before = desk.roles_of("rae@example.com")
    clock.advance(hours=1)
    approved = desk.approve(access.id, "coe@example.com")
    given = desk.roles_of(" RAE@example.com")
    clock.advance(minutes=119)
    late = desk.roles_of("rae@example.com")
    clock.advance(minutes=1)

    assert (before, given, late) == (frozenset(), {"responder"}, {"responder"})
    assert desk.roles_of("rae@example.com") == frozenset()
    assert desk.roles_of("coe@example.com") == frozenset()
    states = [approved.state_at(clock.now() - timedelta(seconds=ago)) for ago in (1, 0)]
    assert states == ["active", "ended"]
