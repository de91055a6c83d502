"""What can be asked of the ledger's store in one batch, and what it answers: plain values, the same for every store.

A `Reserve` names one claim for each scope that pays (the app, its owner, its cost centre) and books all of
them or none. What each request makes is a named tuple, which is made faster than a frozen dataclass.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from llmguard.domain.catalog import Quota
from llmguard.domain.quota import Amount, Standing
from llmguard.quota.windows import Instant


class Claim(NamedTuple):
    """Who pays, such as `app:claims-bot`, and the limits in force for them now."""

    scope: str
    quota: Quota


class Reserve(NamedTuple):
    """Book an amount as held for every claim, or for none.

    `steps` 0 books `most` or nothing. Else the largest amount is booked that fits into every limit, of those that lie
    `steps` even steps apart from `least` to `most`; rounded up, so that it stays an upper bound.
    """

    hold_id: str
    claims: tuple[Claim, ...]
    most: Amount
    worker: str
    least: Amount | None = None
    steps: int = 0

    def at(self, step: int) -> Amount:
        """Return the amount of a step, from 0 (the least) to `steps` (the most)."""
        if self.least is None or step == self.steps:
            return self.most
        least, most, steps = self.least, self.most, self.steps
        return Amount(
            least.requests + _share(most.requests - least.requests, step, steps),
            least.tokens + _share(most.tokens - least.tokens, step, steps),
            least.nano_usd + _share(most.nano_usd - least.nano_usd, step, steps),
        )


class Settle(NamedTuple):
    """Replace what the hold booked by what was used; `actual` None charges the whole hold. Unknown holds: nothing."""

    hold_id: str
    actual: Amount | None


class Release(NamedTuple):
    """Take back what the hold booked. Unknown holds: nothing."""

    hold_id: str


class Obstacle(Enum):
    """Why a limit is in the way, the most lasting first."""

    LIMIT_TOO_SMALL = "the request is larger than the whole limit"
    USED_UP = "what was settled leaves too little"
    HELD = "only what is held for requests in flight is in the way"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One limit that an amount does not fit into. `opens_at` None: never."""

    standing: Standing
    asked: int
    obstacle: Obstacle
    opens_at: Instant | None


class Granted(NamedTuple):
    """The hold stands. `reserved_at` is the instant in whose windows it is booked."""

    reserved_at: datetime
    amount: Amount  # as it is booked
    standings: tuple[Standing, ...]  # of all claims, in their order, right after this reservation


@dataclass(frozen=True, slots=True)
class Denied:
    """Nothing was booked. `tightest` is the limit that stays in the way longest."""

    tightest: Shortfall
    now: Instant  # by the store's clock, to tell how long to wait
    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A hold with this id stands already; nothing was booked."""


@dataclass(frozen=True, slots=True)
class Done:
    """The settle or release is committed, or there was nothing to do."""


Operation = Reserve | Settle | Release
Result = Granted | Denied | Duplicate | Done


class OpenHold(NamedTuple):
    """A hold as it is stored."""

    id: str
    scopes: tuple[str, ...]
    worker: str
    reserved_at: Instant
    amount: Amount


def _share(whole: int, step: int, steps: int) -> int:
    return -(-whole * step // steps)
