"""Amounts that are held and settled, and how an app stands against its limits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

LimitName = Literal["requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "usd_per_month"]


@dataclass(frozen=True, slots=True)
class Amount:
    """What a request takes from its quota."""

    requests: int
    tokens: int
    nano_usd: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit of an app: `used` is settled, `held` is reserved; USD limits are in nano-dollars."""

    name: LimitName
    limit: int
    used: int
    held: int
    resets_at: datetime

    @property
    def left(self) -> int:
        """What can still be reserved; never negative."""
        return max(0, self.limit - self.used - self.held)


@dataclass(frozen=True, slots=True)
class Hold:
    """Reserved quota of one request. `id` is the trace id: after a crash the two find each other."""

    id: str
    app: str
    amount: Amount
    reserved_at: datetime
    standings: tuple[Standing, ...]  # right after this reservation
