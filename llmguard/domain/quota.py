"""Amounts that are held and settled, and how an app stands against all limits that count for it.

What each request makes several of is a named tuple: a frozen dataclass takes three times as long to make.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from llmguard.domain.errors import Refusal

LimitName = Literal["requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "usd_per_month"]


class Amount(NamedTuple):
    """What a request takes from its quota."""

    requests: int
    tokens: int
    nano_usd: int


class Standing(NamedTuple):
    """One limit of a scope: `used` is settled, `held` is reserved; USD limits are in nano-dollars.

    Attributes:
        name: which limit.
        limit: as it is in force, with what was granted on top.
        used: settled in the running window.
        held: reserved in the running window.
        resets_at: when the window ends; of a minute, when the first second leaves it.
        scope: whose limit it is, as in `app:claims-bot`, `owner:dana@example.com` or `cost_center:4711`.
        granted: how much of `limit` is an overage grant.
        time_zone: by whose calendar the window runs.
    """

    name: LimitName
    limit: int
    used: int
    held: int
    resets_at: datetime
    scope: str = ""
    granted: int = 0
    time_zone: str = "UTC"

    @property
    def left(self) -> int:
        """What can still be reserved; never negative."""
        return max(0, self.limit - self.used - self.held)


class Hold(NamedTuple):
    """Reserved quota of one request. `id` is the trace id: after a crash the two find each other."""

    id: str
    app: str
    amount: Amount
    reserved_at: datetime
    standings: tuple[Standing, ...]  # of all its scopes, right after this reservation


@dataclass(frozen=True, slots=True)
class Orphan:
    """A hold whose worker no longer lives; the trace with the same id tells what is owed for it."""

    id: str
    app: str
    worker: str
    amount: Amount
    reserved_at: datetime


class QuotaRefusal(Refusal):
    """A limit is in the way. `standings` are those of all scopes of the refused app, for the rate-limit headers."""

    def __init__(
        self,
        code: Literal["rate_limit_exceeded", "insufficient_quota"],
        message: str,
        *,
        hint: str,
        retry_after_seconds: float | None,
        standings: tuple[Standing, ...],
    ) -> None:
        """Build it like any refusal, and keep how the app stands."""
        super().__init__(code, message, hint=hint, retry_after_seconds=retry_after_seconds)
        self.standings = standings
