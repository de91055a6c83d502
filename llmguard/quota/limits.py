"""Judge an account by the limits in force: how it stands, and how much of an amount still fits.

The law: for each limit, used + held never exceeds it, whatever the order of reserve, settle, release and kill, as long
as no more is settled than was held. If a provider reports more than was held, the truth is charged and the standing
may exceed the limit; callers prevent it by holding an upper bound. Limits come with each question, so a change in the
registry holds from the next reservation on; what was granted on top comes with it (`raised`).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from llmguard.domain.catalog import Quota
from llmguard.domain.quota import Amount, LimitName, Standing
from llmguard.quota.account import Account, Window
from llmguard.quota.operations import Claim, Obstacle, Reserve, Shortfall
from llmguard.quota.windows import SECOND, Instant, slot_end, to_datetime, to_instant

Raised = Mapping[LimitName, int]  # what grants in force add to the limits of one scope
# One limit: its name, where its quantity stands in an amount, its window (minute, day or month: 0, 1 or 2), how much it
# is, and what of that is used and held.
Counted = tuple[LimitName, int, int, int, int, int]

NOTHING_RAISED: Raised = {}
_HELD_OPENS_AFTER = SECOND  # requests in flight end at any moment
_NEVER = float("inf")
_NOTHING = Amount(0, 0, 0)
_NOT_EVEN_THE_LEAST = -1
# Where in an amount the quantity stands that a limit counts.
_PLACES: dict[LimitName, int] = {
    "requests_per_minute": 0,
    "tokens_per_minute": 1,
    "tokens_per_day": 1,
    "tokens_per_month": 1,
    "usd_per_month": 2,
}
_to_datetime = lru_cache(maxsize=1_024)(to_datetime)  # all that ask within a second, or a day, get the same ends


def limits_of(quota: Quota) -> tuple[tuple[LimitName, int | None], ...]:
    """Return the limits by name, shortest window first; USD in nano-dollars."""
    return (
        ("requests_per_minute", quota.requests_per_minute),
        ("tokens_per_minute", quota.tokens_per_minute),
        ("tokens_per_day", quota.tokens_per_day),
        ("tokens_per_month", quota.tokens_per_month),
        ("usd_per_month", quota.nano_usd_per_month),
    )


def quantity_of(amount: Amount, name: LimitName) -> int:
    """Return what the amount takes from the limit of this name."""
    return amount[_PLACES[name]]


def standings(account: Account, claim: Claim, raised: Raised = NOTHING_RAISED) -> tuple[Standing, ...]:
    """Return how a rolled account stands against each limit that exists, shortest window first."""
    return tuple(told(account, claim, raised, counted(account, claim, raised)))


def told(
    account: Account, claim: Claim, raised: Raised, found: Sequence[Counted], held_since: Amount = _NOTHING
) -> list[Standing]:
    """Return the standings of what was `counted` in a rolled account, and so much held since."""
    scope, zone = claim.scope, claim.quota.time_zone
    ends = (_to_datetime(_first_leaves(account)), _to_datetime(account.day.end), _to_datetime(account.month.end))
    return [
        Standing(name, limit, used, held + held_since[place], ends[window], scope, raised.get(name, 0), zone)
        for name, place, window, limit, used, held in found
    ]


def fitting_step(found: Sequence[Counted], reserve: Reserve) -> int:
    """Return the highest step of the reservation that fits into all that was `counted`; -1: not even the least."""
    highest = steps = reserve.steps
    at_least, at_most = reserve.at(0), reserve.most
    for _, place, _, limit, used, held in found:
        least = at_least[place]
        room = limit - used - held - least
        if room < 0:
            return _NOT_EVEN_THE_LEAST
        if steps and (more := at_most[place] - least):
            highest = min(highest, room * steps // more)
    return highest


def shortfalls(account: Account, claim: Claim, amount: Amount, raised: Raised = NOTHING_RAISED) -> list[Shortfall]:
    """Return every limit that the amount does not fit into; an empty list means that it fits."""
    return [
        _shortfall(account, standing, asked)
        for standing in standings(account, claim, raised)
        if standing.used + standing.held + (asked := quantity_of(amount, standing.name)) > standing.limit
    ]


def tightest(found: Sequence[Shortfall]) -> Shortfall:
    """Return the limit that stays in the way longest; there must be one."""
    return max(found, key=lambda shortfall: _NEVER if shortfall.opens_at is None else shortfall.opens_at)


def counted(account: Account, claim: Claim, raised: Raised) -> list[Counted]:
    """Return what a rolled account says of each limit that exists, shortest window first."""
    quota, minute, day, month = claim.quota, account.minute, account.day, account.month
    found: list[Counted] = []
    if (limit := quota.requests_per_minute) is not None:
        found.append(("requests_per_minute", 0, 0, limit, minute.used.requests, minute.held.requests))
    if (limit := quota.tokens_per_minute) is not None:
        found.append(("tokens_per_minute", 1, 0, limit, minute.used.tokens, minute.held.tokens))
    if (limit := quota.tokens_per_day) is not None:
        found.append(("tokens_per_day", 1, 1, limit, day.used.tokens, day.held.tokens))
    if (limit := quota.tokens_per_month) is not None:
        found.append(("tokens_per_month", 1, 2, limit, month.used.tokens, month.held.tokens))
    if (limit := quota.nano_usd_per_month) is not None:
        found.append(("usd_per_month", 2, 2, limit, month.used.nano_usd, month.held.nano_usd))
    if not raised:
        return found
    return [
        (name, place, window, limit + raised.get(name, 0), used, held)
        for name, place, window, limit, used, held in found
    ]


def _shortfall(account: Account, standing: Standing, asked: int) -> Shortfall:
    if asked > standing.limit:
        return Shortfall(standing, asked, Obstacle.LIMIT_TOO_SMALL, None)
    if standing.used + asked <= standing.limit:
        return Shortfall(standing, asked, Obstacle.HELD, account.seen_at + _HELD_OPENS_AFTER)
    if standing.name in {"requests_per_minute", "tokens_per_minute"}:
        opens_at = _enough_leaves(account, standing, asked)
    else:
        opens_at = to_instant(standing.resets_at)
    return Shortfall(standing, asked, Obstacle.USED_UP, opens_at)


def _first_leaves(account: Account) -> Instant:
    """Return when the oldest slot that counts leaves the minute; now, if none counts."""
    for slot in account.slots:
        if slot.used.requests or slot.held.requests or slot.used.tokens or slot.held.tokens:
            return slot_end(slot.start)
    return account.seen_at


def _enough_leaves(account: Account, standing: Standing, asked: int) -> Instant:
    """Return when so many slots have left that the amount fits even if all that is held gets used."""
    excess = standing.used + standing.held + asked - standing.limit
    for slot in account.slots:
        excess -= _booked(slot, standing.name)
        if excess <= 0:
            return slot_end(slot.start)
    raise AssertionError("A limit that can hold the amount opens when all slots have left.")


def _booked(slot: Window, name: LimitName) -> int:
    if name == "requests_per_minute":
        return slot.used.requests + slot.held.requests
    return slot.used.tokens + slot.held.tokens
