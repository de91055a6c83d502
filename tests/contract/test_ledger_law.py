"""The law of the ledger, against a model that keeps every booking and adds them up anew for each question.

For each limit used + held never exceeds it, under any order of reserve, settle, release, restart and clock change.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmguard.domain.quota import Amount
from llmguard.quota.operations import Claim, Denied, Done, Granted, Release, Reserve, Settle
from llmguard.quota.store import LedgerStore
from tests.support.builders import FrozenClock, a_quota

QUOTA = a_quota(
    requests_per_minute=6,
    tokens_per_minute=60,
    tokens_per_day=150,
    tokens_per_month=400,
    nano_usd_per_month=1000,
)
SCOPES = ("app:a", "app:b")
NEW_YEARS_EVE = datetime.fromisoformat("2026-12-31T23:58:00.250000+00:00")


@dataclass(frozen=True)
class Booking:
    at: datetime
    scopes: tuple[str, ...]
    held: Amount
    used: Amount | None = None  # None: still held


class Model:
    """Slow and plain: decides by filtering all bookings ever made."""

    def __init__(self):
        self.bookings = {}
        self.seen = {}

    def standing(self, scope, name, now):
        used = held = 0
        for booking in self.bookings.values():
            if scope in booking.scopes and counts(name, booking.at, now):
                used += quantity(name, booking.used) if booking.used else 0
                held += 0 if booking.used else quantity(name, booking.held)
        return used, held

    def reserve(self, hold_id, scopes, amount, now):
        fits = all(
            sum(self.standing(scope, name, now)) + quantity(name, amount) <= limit
            for scope in scopes
            for name, limit in LIMITS.items()
        )
        if fits:
            self.bookings[hold_id] = Booking(now, scopes, amount)
        return fits

    def settle(self, hold_id, actual):
        booking = self.bookings.get(hold_id)
        if booking is not None and booking.used is None:
            self.bookings[hold_id] = replace(booking, used=actual)

    def release(self, hold_id):
        booking = self.bookings.get(hold_id)
        if booking is not None and booking.used is None:
            del self.bookings[hold_id]


LIMITS = {
    "requests_per_minute": QUOTA.requests_per_minute,
    "tokens_per_minute": QUOTA.tokens_per_minute,
    "tokens_per_day": QUOTA.tokens_per_day,
    "tokens_per_month": QUOTA.tokens_per_month,
    "usd_per_month": QUOTA.nano_usd_per_month,
}


def quantity(name, amount):
    return amount.requests if name.startswith("requests") else amount.nano_usd if "usd" in name else amount.tokens


def counts(name, at, now):
    if name.endswith("minute"):
        return now.replace(microsecond=0) - at.replace(microsecond=0) <= timedelta(seconds=60)
    return (at.year, at.month) == (now.year, now.month) and (name.endswith("month") or at.day == now.day)


@contextmanager
def a_store(clock) -> Iterator[tuple[LedgerStore, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        store = LedgerStore(path, clock, busy_timeout_seconds=1)
        yield store, path
        store.close()


amounts = st.builds(Amount, st.integers(0, 2), st.integers(0, 40), st.integers(0, 300))
reserves = st.tuples(st.just("reserve"), st.sampled_from([SCOPES[:1], SCOPES[1:], SCOPES]), amounts)
settles = st.tuples(st.just("settle"), st.integers(0, 30), st.sampled_from([0, 1, 50, 99, 100]))
releases = st.tuples(st.just("release"), st.integers(0, 30), st.none())
pauses = st.sampled_from([0, 0.25, 0.75, 1, 30, 59, 60, 60.75, 61, 3600, 86_400, 31 * 86_400])
batches = st.lists(st.tuples(pauses, st.lists(reserves | settles | releases, max_size=6), st.booleans()), max_size=12)


def share(held, percent):
    return Amount(*(part * percent // 100 for part in (held.requests, held.tokens, held.nano_usd)))


def translate(command, made):
    """Return the operation that a generated command stands for; `made` are the reservations so far, by id."""
    kind, subject, detail = command
    if kind == "reserve":
        operation = Reserve(f"h{len(made)}", tuple(Claim(scope, QUOTA) for scope in subject), detail, "w")
        made[operation.hold_id] = detail
        return operation
    hold_id = f"h{subject}"
    if kind == "release":
        return Release(hold_id)
    return Settle(hold_id, share(made.get(hold_id, Amount(1, 1, 1)), detail))


def expect(model, operation, now):
    match operation:
        case Reserve(hold_id, claims, amount, _):
            return Granted if model.reserve(hold_id, tuple(claim.scope for claim in claims), amount, now) else Denied
        case Settle(hold_id, actual):
            model.settle(hold_id, actual)
        case Release(hold_id):
            model.release(hold_id)
    return Done


@settings(max_examples=150, deadline=None)
@given(batches)
@example(  # a hold that outlives its minute, its day and its month, and is settled in the next
    [(0, [("reserve", SCOPES, Amount(1, 40, 300))], False), (121, [("settle", 0, 100)], True)]
)
@example(  # 60.75 s apart and still in one slot too many, 61 s apart and free again
    [
        (0, [("reserve", SCOPES[:1], Amount(6, 0, 0))], False),
        (60.75, [("reserve", SCOPES[:1], Amount(1, 0, 0))], False),
        (0.25, [("reserve", SCOPES[:1], Amount(1, 0, 0))], False),
    ]
)
def test_the_ledger_decides_and_counts_like_the_model(steps):
    clock, model, made = FrozenClock(NEW_YEARS_EVE), Model(), {}
    with a_store(clock) as (store, _):
        for pause, commands, restart in steps:
            clock.advance(seconds=pause)
            now = clock.now()
            operations = [translate(command, made) for command in commands]

            results = store.apply(operations)

            assert [type(result) for result in results] == [expect(model, operation, now) for operation in operations]
            for scope in SCOPES:
                for standing in store.standings(Claim(scope, QUOTA)):
                    assert (standing.used, standing.held) == model.standing(scope, standing.name, now)
                    assert standing.used + standing.held <= standing.limit
            if restart:
                store.close()
        open_holds = {hold_id for hold_id, booking in model.bookings.items() if booking.used is None}
        assert {hold.id for hold in store.holds()} == open_holds


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 30)), min_size=10, max_size=60))
def test_no_sixty_seconds_ever_see_more_than_the_limits_of_a_minute(arrivals):
    quota = a_quota(requests_per_minute=3, tokens_per_minute=60)
    clock, passed = FrozenClock(), []
    with a_store(clock) as (store, _):
        for number, (pause, tokens) in enumerate(arrivals):
            clock.advance(seconds=pause)
            amount = Amount(1, tokens, 0)
            operations = [Reserve(str(number), (Claim("app:a", quota),), amount, "w"), Settle(str(number), amount)]
            if isinstance(store.apply(operations)[0], Granted):
                passed.append((clock.now(), tokens))

    for start, _ in passed:
        within = [tokens for at, tokens in passed if start <= at <= start + timedelta(seconds=60)]
        assert len(within) <= 3
        assert sum(within) <= 60


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([-86_400, -3600, -61, -1, 0, 1, 61]), st.integers(1, 20)), max_size=40),
)
def test_a_clock_that_jumps_back_grants_no_more_than_one_that_stands_still(jumps):
    quota = a_quota(tokens_per_minute=50, tokens_per_day=100)
    clock, granted = FrozenClock(), []
    with a_store(clock) as (store, _):
        for number, (jump, tokens) in enumerate(jumps):
            clock.advance(seconds=jump)
            latest = max([clock.now(), *(at for at, _ in granted)])
            reserve = Reserve(str(number), (Claim("app:a", quota),), Amount(1, tokens, 0), "w")
            if isinstance(store.apply([reserve])[0], Granted):
                granted.append((latest, tokens))
            minute = sum(held for at, held in granted if counts("tokens_per_minute", at, latest))
            day = sum(held for at, held in granted if counts("tokens_per_day", at, latest))
            assert minute <= 50
            assert day <= 100
