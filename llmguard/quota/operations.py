"""What can be asked of the ledger's store in one batch, and what it answers: plain values, the same for every store.

A `Reserve` names one claim for each scope that pays (today the app; later its owner and cost centre too) and books all
of them or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from llmguard.domain.catalog import Quota
from llmguard.domain.quota import Amount, Standing
from llmguard.quota.windows import Instant


@dataclass(frozen=True, slots=True)
class Claim:
    """Who pays, such as `app:claims-bot`, and the limits in force for them now."""

    scope: str
    quota: Quota


@dataclass(frozen=True, slots=True)
class Reserve:
    """Book the amount as held for every claim, or for none."""

    hold_id: str
    claims: tuple[Claim, ...]
    amount: Amount
    worker: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Replace what the hold booked by what was used; `actual` None charges the whole hold. Unknown holds: nothing."""

    hold_id: str
    actual: Amount | None


@dataclass(frozen=True, slots=True)
class Release:
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

    scope: str
    standing: Standing
    asked: int
    obstacle: Obstacle
    opens_at: Instant | None


@dataclass(frozen=True, slots=True)
class Granted:
    """The hold stands. `reserved_at` is the instant in whose windows it is booked."""

    reserved_at: datetime
    standings: Mapping[str, tuple[Standing, ...]]  # by scope, right after this reservation


@dataclass(frozen=True, slots=True)
class Denied:
    """Nothing was booked. `tightest` is the limit that stays in the way longest."""

    tightest: Shortfall
    now: Instant  # by the store's clock, to tell how long to wait
    standings: Mapping[str, tuple[Standing, ...]]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A hold with this id stands already; nothing was booked."""


@dataclass(frozen=True, slots=True)
class Done:
    """The settle or release is committed, or there was nothing to do."""


Operation = Reserve | Settle | Release
Result = Granted | Denied | Duplicate | Done


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A hold as it is stored."""

    id: str
    scopes: tuple[str, ...]
    worker: str
    reserved_at: Instant
    amount: Amount
