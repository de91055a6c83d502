"""Judge an account by the limits in force: how it stands, and whether an amount still fits.

The law: for each limit, used + held never exceeds it, whatever the order of reserve, settle, release and kill, as long
as no more is settled than was held. If a provider reports more than was held, the truth is charged and the standing
may exceed the limit; callers prevent it by holding an upper bound. Limits come with each question, so a change in the
registry holds from the next reservation on.
"""

from collections.abc import Mapping, Sequence

from llmguard.domain.catalog import Quota
from llmguard.domain.quota import Amount, LimitName, Standing
from llmguard.quota.account import Account, Window
from llmguard.quota.operations import Claim, Obstacle, Shortfall
from llmguard.quota.windows import SECOND, Instant, day_end, month_end, slot_end, to_datetime, to_instant

_HELD_OPENS_AFTER = SECOND  # requests in flight end at any moment
_NEVER = float("inf")


def standings(account: Account, quota: Quota) -> tuple[Standing, ...]:
    """Return how a rolled account stands against each limit that exists, shortest window first."""
    minute, day, month = account.minute, account.day, account.month
    minute_opens, day_opens, month_opens = _first_leaves(account), day_end(day.start), month_end(month.start)
    rows: tuple[tuple[LimitName, int | None, int, int, Instant], ...] = (
        ("requests_per_minute", quota.requests_per_minute, minute.used.requests, minute.held.requests, minute_opens),
        ("tokens_per_minute", quota.tokens_per_minute, minute.used.tokens, minute.held.tokens, minute_opens),
        ("tokens_per_day", quota.tokens_per_day, day.used.tokens, day.held.tokens, day_opens),
        ("tokens_per_month", quota.tokens_per_month, month.used.tokens, month.held.tokens, month_opens),
        ("usd_per_month", quota.nano_usd_per_month, month.used.nano_usd, month.held.nano_usd, month_opens),
    )
    return tuple(
        Standing(name, limit, used, held, to_datetime(opens))
        for name, limit, used, held, opens in rows
        if limit is not None
    )


def shortfalls(account: Account, claim: Claim, amount: Amount) -> list[Shortfall]:
    """Return every limit that the amount does not fit into; an empty list means that it fits."""
    asked = _by_limit(amount)
    return [
        _shortfall(account, claim.scope, standing, asked[standing.name])
        for standing in standings(account, claim.quota)
        if standing.used + standing.held + asked[standing.name] > standing.limit
    ]


def tightest(found: Sequence[Shortfall]) -> Shortfall:
    """Return the limit that stays in the way longest; there must be one."""
    return max(found, key=lambda shortfall: _NEVER if shortfall.opens_at is None else shortfall.opens_at)


def _by_limit(amount: Amount) -> Mapping[LimitName, int]:
    return {
        "requests_per_minute": amount.requests,
        "tokens_per_minute": amount.tokens,
        "tokens_per_day": amount.tokens,
        "tokens_per_month": amount.tokens,
        "usd_per_month": amount.nano_usd,
    }


def _shortfall(account: Account, scope: str, standing: Standing, asked: int) -> Shortfall:
    if asked > standing.limit:
        return Shortfall(scope, standing, asked, Obstacle.LIMIT_TOO_SMALL, None)
    if standing.used + asked <= standing.limit:
        return Shortfall(scope, standing, asked, Obstacle.HELD, account.seen_at + _HELD_OPENS_AFTER)
    if standing.name in {"requests_per_minute", "tokens_per_minute"}:
        opens_at = _enough_leaves(account, standing, asked)
    else:
        opens_at = to_instant(standing.resets_at)
    return Shortfall(scope, standing, asked, Obstacle.USED_UP, opens_at)


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
