"""The law of the ledger, against a model that keeps every booking and adds them up anew for each question.

For each limit used + held never exceeds it and what is granted on top, under any order of reserve, settle, release,
grant, restart and clock change; of an amount that may be lowered, exactly as much is held as fits.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmguard.domain.quota import Amount
from llmguard.quota.operations import Claim, Denied, Done, Granted, Release, Reserve, Settle
from llmguard.quota.store import LedgerStore
from llmguard.quota.windows import to_instant
from tests.support.builders import FrozenClock, a_quota

IN_MEMORY = Path("/dev/shm")  # where there is one: what a disk does is not the question here
QUOTA = a_quota(
    requests_per_minute=6,
    tokens_per_minute=60,
    tokens_per_day=150,
    tokens_per_month=400,
    nano_usd_per_month=1000,
)
QUOTAS = {
    "app:a": QUOTA,
    "app:b": QUOTA,
    "owner:o": a_quota(tokens_per_day=170, nano_usd_per_month=1500, time_zone="Europe/Berlin"),
    "cost_center:c": a_quota(requests_per_minute=9, tokens_per_month=600, time_zone="America/New_York"),
}
SCOPES = ("app:a", "app:b")
PAYERS = [SCOPES[:1], SCOPES[1:], SCOPES, ("app:a", "owner:o", "cost_center:c"), ("app:b", "owner:o")]
NEW_YEARS_EVE = datetime.fromisoformat("2026-12-31T23:58:00.250000+00:00")
STARTS = [
    NEW_YEARS_EVE,
    NEW_YEARS_EVE.replace(hour=22),  # before Berlin's midnight
    datetime.fromisoformat("2027-03-27T22:58:00.250000+00:00"),  # before Berlin's day of 23 hours
    datetime.fromisoformat("2027-10-30T21:58:00.250000+00:00"),  # before its day of 25
]


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
        self.grants = []

    def standing(self, scope, name, now):
        used = held = 0
        zone = ZoneInfo(QUOTAS[scope].time_zone)
        for booking in self.bookings.values():
            if scope in booking.scopes and counts(name, booking.at.astimezone(zone), now.astimezone(zone)):
                used += quantity(name, booking.used) if booking.used else 0
                held += 0 if booking.used else quantity(name, booking.held)
        return used, held

    def limits(self, scope, now):
        for name, limit in limits_of(QUOTAS[scope]):
            raised = sum(
                amount for whose, what, amount, ends in self.grants if (whose, what) == (scope, name) and now < ends
            )
            yield name, limit + raised

    def fits(self, scopes, amount, now):
        return all(
            sum(self.standing(scope, name, now)) + quantity(name, amount) <= limit
            for scope in scopes
            for name, limit in self.limits(scope, now)
        )

    def reserve(self, reserve, now):
        scopes = tuple(claim.scope for claim in reserve.claims)
        for step in range(reserve.steps, -1, -1):
            amount = between(reserve.least or reserve.most, reserve.most, step, reserve.steps)
            if self.fits(scopes, amount, now):
                self.bookings[reserve.hold_id] = Booking(now, scopes, amount)
                return amount
        return None

    def settle(self, hold_id, actual):
        booking = self.bookings.get(hold_id)
        if booking is not None and booking.used is None:
            self.bookings[hold_id] = replace(booking, used=actual)

    def release(self, hold_id):
        booking = self.bookings.get(hold_id)
        if booking is not None and booking.used is None:
            del self.bookings[hold_id]


def between(least, most, step, steps):
    """Return the amount so many even steps above the least, rounded up."""

    def part(name):
        low, high = getattr(least, name), getattr(most, name)
        return ceil(low + Fraction((high - low) * step, steps or 1))

    return Amount(part("requests"), part("tokens"), part("nano_usd"))


def limits_of(quota):
    limits = {
        "requests_per_minute": quota.requests_per_minute,
        "tokens_per_minute": quota.tokens_per_minute,
        "tokens_per_day": quota.tokens_per_day,
        "tokens_per_month": quota.tokens_per_month,
        "usd_per_month": quota.nano_usd_per_month,
    }
    return [(name, limit) for name, limit in limits.items() if limit is not None]


def quantity(name, amount):
    return amount.requests if name.startswith("requests") else amount.nano_usd if "usd" in name else amount.tokens


def counts(name, at, now):
    if name.endswith("minute"):
        return now.replace(microsecond=0) - at.replace(microsecond=0) <= timedelta(seconds=60)
    return (at.year, at.month) == (now.year, now.month) and (name.endswith("month") or at.day == now.day)


@contextmanager
def a_store(clock) -> Iterator[tuple[LedgerStore, Path]]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        path = Path(folder) / "state.db"
        store = LedgerStore(path, clock, busy_timeout_seconds=1)
        yield store, path
        store.close()


def grant(path, row):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?)", row)


amounts = st.builds(Amount, st.integers(0, 2), st.integers(0, 40), st.integers(0, 300))
reserves = st.tuples(st.just("reserve"), st.sampled_from(PAYERS), amounts)
clamped = st.tuples(st.just("clamped"), st.sampled_from(PAYERS), st.integers(1, 90))
settles = st.tuples(st.just("settle"), st.integers(0, 30), st.sampled_from([0, 1, 50, 99, 100]))
releases = st.tuples(st.just("release"), st.integers(0, 30), st.none())
grants = st.tuples(
    st.sampled_from([(scope, name) for scope, quota in QUOTAS.items() for name, _ in limits_of(quota)]),
    st.integers(1, 200),
    st.sampled_from([1, 60, 3600, 86_400]),
)
pauses = st.sampled_from([0, 0.25, 0.75, 1, 30, 59, 60, 60.75, 61, 3600, 82_800, 86_400, 90_000, 31 * 86_400])
batches = st.lists(
    st.tuples(
        pauses,
        st.none() | grants,
        st.lists(reserves | clamped | settles | releases, max_size=6),
        st.booleans(),
    ),
    max_size=12,
)


def share(held, percent):
    return Amount(*(part * percent // 100 for part in (held.requests, held.tokens, held.nano_usd)))


def translate(command, made):
    """Return the operation that a generated command stands for; `made` are the reservations so far, by id."""
    kind, subject, detail = command
    hold_id = f"h{len(made)}"
    if kind == "reserve":
        made[hold_id] = detail
        return Reserve(hold_id, tuple(Claim(scope, QUOTAS[scope]) for scope in subject), detail, "w")
    if kind == "clamped":  # an input of 3 tokens, and from 5 tokens of output up to so many, at 2.5 each
        least, most = Amount(1, 8, 15), Amount(1, 8 + detail, 15 + detail * 5 // 2)
        made[hold_id] = least
        return Reserve(hold_id, tuple(Claim(scope, QUOTAS[scope]) for scope in subject), most, "w", least, detail)
    hold_id = f"h{subject}"
    if kind == "release":
        return Release(hold_id)
    return Settle(hold_id, share(made.get(hold_id, Amount(1, 1, 1)), detail))


def expect(model, operation, now):
    """Return what the store must answer: the amount held, None for a denial, or that it is done."""
    match operation:
        case Reserve():
            return model.reserve(operation, now)
        case Settle(hold_id, actual):
            model.settle(hold_id, actual)
        case Release(hold_id):
            model.release(hold_id)
    return Done()


def told(result):
    match result:
        case Granted(amount=amount):
            return amount
        case Denied():
            return None
    return result


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(STARTS), batches)
@example(  # a hold that outlives its minute, its day and its month, and is settled in the next
    NEW_YEARS_EVE,
    [(0, None, [("reserve", SCOPES, Amount(1, 40, 300))], False), (121, None, [("settle", 0, 100)], True)],
)
@example(  # 60.75 s apart and still in one slot too many, 61 s apart and free again
    NEW_YEARS_EVE,
    [
        (0, None, [("reserve", SCOPES[:1], Amount(6, 0, 0))], False),
        (60.75, None, [("reserve", SCOPES[:1], Amount(1, 0, 0))], False),
        (0.25, None, [("reserve", SCOPES[:1], Amount(1, 0, 0))], False),
    ],
)
@example(  # full, granted for an hour, passed, ended, full again
    NEW_YEARS_EVE.replace(hour=12),
    [
        (0, None, [("clamped", SCOPES[:1], 52), ("reserve", SCOPES[:1], Amount(1, 1, 0))], False),
        (0, (("app:a", "tokens_per_minute"), 10, 60), [("reserve", SCOPES[:1], Amount(1, 10, 0))], True),
        (60, None, [("reserve", SCOPES[:1], Amount(1, 1, 0))], False),
    ],
)
def test_the_ledger_decides_and_counts_like_the_model(start, steps):
    clock, model, made = FrozenClock(start), Model(), {}
    with a_store(clock) as (store, path):
        for number, (pause, granted, commands, restart) in enumerate(steps):
            clock.advance(seconds=pause)
            now = clock.now()
            if granted is not None:
                (scope, limit), amount, seconds = granted
                model.grants.append((scope, limit, amount, now + timedelta(seconds=seconds)))
                grant(
                    path,
                    (str(number), scope, limit, amount, to_instant(now), to_instant(now + timedelta(seconds=seconds))),
                )
            operations = [translate(command, made) for command in commands]

            first = next(iter(operations), None)
            foretold = store.denied(first.claims, first.at(0), first.at(0)) if isinstance(first, Reserve) else None
            results = store.apply(operations)

            if isinstance(first, Reserve):  # what is said of it beforehand is what becomes of it
                assert foretold == (results[0] if isinstance(results[0], Denied) else None)
            assert [told(result) for result in results] == [expect(model, operation, now) for operation in operations]
            for scope, quota in QUOTAS.items():
                limits = dict(model.limits(scope, now))
                for standing in store.standings(Claim(scope, quota)):
                    assert (standing.used, standing.held) == model.standing(scope, standing.name, now)
                    assert standing.limit == limits[standing.name]
                    if not model.grants:
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
    st.lists(
        st.tuples(
            st.sampled_from([-86_400, -3600, -61, -1, 0, 1, 61, 3600]),
            st.integers(1, 20),
            st.sampled_from([("app:a",), ("app:a", "owner:o"), ("owner:o",)]),
        ),
        max_size=40,
    ),
)
def test_a_clock_that_jumps_back_grants_no_more_than_one_that_stands_still(jumps):
    quotas = {
        "app:a": a_quota(tokens_per_minute=50, tokens_per_day=100),
        "owner:o": a_quota(tokens_per_day=120, time_zone="Europe/Berlin"),
    }
    clock, granted = FrozenClock(NEW_YEARS_EVE.replace(hour=22)), []
    with a_store(clock) as (store, _):
        for number, (jump, tokens, scopes) in enumerate(jumps):
            clock.advance(seconds=jump)
            claims = tuple(Claim(scope, quotas[scope]) for scope in scopes)
            (result,) = store.apply([Reserve(str(number), claims, Amount(1, tokens, 0), "w")])
            if not isinstance(result, Granted):
                continue
            granted.append((result.reserved_at, tokens, scopes))
            for scope in scopes:
                zone = ZoneInfo(quotas[scope].time_zone)
                latest = result.reserved_at.astimezone(zone)
                booked = [(at.astimezone(zone), held) for at, held, payers in granted if scope in payers]
                for name, limit in limits_of(quotas[scope]):
                    assert sum(held for at, held in booked if counts(name, at, latest)) <= limit
