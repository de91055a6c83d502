"""The rules of overage: who may ask for what, who may decide, and when two have to agree. Pure; knows no database."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from llmguard.domain.catalog import App, QuotaScope, Registry, ScopeKind
from llmguard.domain.errors import Refusal
from llmguard.domain.money import to_nano_usd, to_usd
from llmguard.domain.quota import LimitName
from llmguard.quota.limits import limits_of

State = Literal["open", "awaiting_second", "approved", "denied"]
LONGEST_REASON = 500
MOST_AMOUNT = 2**53
_LONGEST_AMOUNT = 40  # characters


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants on top of a limit. `key_id` None: asked on the command line, by `who`."""

    app: App
    scope: ScopeKind
    limit: LimitName
    amount: int
    reason: str
    who: str
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Overage:
    """One request for more, and what became of it; USD amounts in nano-dollars.

    `reason` and `denial` are free text from people: for approvers only, and in no event, audit row, trace or log.
    """

    id: str
    app: str
    scope: str
    limit: LimitName
    amount: int
    reason: str
    requested_by: str
    key_id: str | None
    requested_at: datetime
    state: State = "open"
    granted: int | None = None
    ends_at: datetime | None = None
    first_approver: str | None = None
    decided_by: str | None = None
    denial: str | None = None

    def state_at(self, now: datetime) -> str:
        """Return the state as people see it: a grant that has ended says so."""
        ended = self.state == "approved" and self.ends_at is not None and self.ends_at <= now
        return "ended" if ended else self.state


def scope_asked(ask: Ask) -> QuotaScope:
    """Return whose limit is asked about, if the request makes sense.

    Raises:
        Refusal: invalid_request; there is no such limit, or amount or reason cannot be.
    """
    scopes = {scope.kind: scope for scope in ask.app.scopes}
    scope = scopes.get(ask.scope)
    named = {name: limit for name, limit in limits_of(scope.quota) if limit is not None} if scope else {}
    if scope is None or ask.limit not in named:
        there = [f"{kind} {name}" for kind, one in scopes.items() for name, limit in limits_of(one.quota) if limit]
        raise invalid(
            f"{ask.app.name} has no limit of this kind, so there is nothing to raise.",
            f"Its limits are: {', '.join(there) or 'none'}.",
            "limit",
        )
    if not 0 < ask.amount <= MOST_AMOUNT:
        raise invalid(
            "The amount must be more than nothing.", "Ask for what is missing, as a positive figure.", "amount"
        )
    check_text(ask.reason, "reason")
    return scope


def parse_amount(limit: LimitName, amount: Any) -> int:  # Any: what JSON or a command line gives
    """Return an amount as it is counted: USD with at most nine places as nano-dollars, the rest whole.

    Raises:
        Refusal: invalid_request.
    """
    counted = None
    try:
        text = str(amount)
        figure = Decimal(text) if len(text) <= _LONGEST_AMOUNT else Decimal("NaN")
        # Looked at before it is counted: written out, 1e999999999 is a gigabyte.
        if figure.is_finite() and -MOST_AMOUNT <= figure <= MOST_AMOUNT:
            unit = 10**9 if limit == "usd_per_month" else 1
            whole = to_nano_usd(figure) if limit == "usd_per_month" else int(figure)
            counted = whole if whole == figure * unit else None
    except (InvalidOperation, ValueError):
        pass
    if counted is None:
        raise invalid(
            "The amount is no figure of this limit.", "Write 25 or 12.50 for USD, a whole number else.", "amount"
        )
    return counted


def check_text(text: str, name: str) -> None:
    """Refuse a reason that is empty or too long.

    Raises:
        Refusal: invalid_request.
    """
    if not text.strip() or len(text) > LONGEST_REASON:
        raise invalid(
            f"The {name} must have from 1 to {LONGEST_REASON} characters.",
            "Say in a sentence why; those who decide read it.",
            name,
        )


def printable(text: str) -> str:
    """Return a text without control characters: it is shown in the terminals of those who decide."""
    return "".join(character if character.isprintable() else " " for character in text)


def check_approver(registry: Registry, overage: Overage, who: str) -> None:
    """Refuse whoever may not decide about this request: above all, nobody decides about their own.

    Raises:
        Refusal: policy_denied.
    """
    app = registry.apps.get(overage.app)
    if app is None:
        raise _denied(
            f"The app {overage.app} is no longer in the catalog.", "Deny nothing and grant nothing: it is gone."
        )
    own = [overage.requested_by, *([app.owner] if overage.key_id is not None else [])]
    if _is_among(who, own):
        raise _denied("Nobody approves their own request.", f"Ask somebody else: {_who_may(registry, overage)}.")
    may = [person for people in registry.overage.approvers.values() for person in people]
    if overage.scope.startswith("app:"):
        may += [app.owner, *([app.backup_owner] if app.backup_owner else [])]
    if not _is_among(who, may):
        raise _denied(f"{who} may not decide about this request.", f"These may: {_who_may(registry, overage)}.")
    if overage.first_approver is not None and _is_among(who, [overage.first_approver]):
        raise _denied(f"{who} has approved already.", "A second, different approver has to agree.")


def needs_second(registry: Registry, overage: Overage, amount: int, in_force: int) -> bool:
    """Whether two have to agree, with what is granted on the same limit already: splitting a request does not help."""
    cap = dict(limits_of(registry.overage.second_approver_above))[overage.limit]
    return cap is not None and in_force + amount > cap


def check_grant(registry: Registry, amount: int, ends_at: datetime, now: datetime) -> None:
    """Refuse a grant of nothing, in the past, or for too long.

    Raises:
        Refusal: invalid_request.
    """
    if not 0 < amount <= MOST_AMOUNT:
        raise invalid("The amount must be more than nothing.", "Deny the request instead.", "amount")
    longest = registry.overage.longest_days
    if not now < ends_at <= now + timedelta(days=longest):
        raise invalid(
            f"A grant ends in the future, at most {longest} days from now.",
            "Give an earlier or later end with --until; `overage.longest_days` in registry.yaml is the CoE's.",
            "until",
        )


def invalid(message: str, hint: str, param: str | None = None) -> Refusal:
    """Return the refusal of something that cannot be."""
    return Refusal("invalid_request", message, hint=hint, param=param)


def shown_amount(limit: LimitName, amount: int) -> str:
    """Return an amount as people write it: USD in dollars, the rest as it is counted."""
    return f"{to_usd(amount).normalize():f}" if limit == "usd_per_month" else str(amount)


def _who_may(registry: Registry, overage: Overage) -> str:
    """Return who may decide, by role: addresses are not told to everybody."""
    roles = list(registry.overage.approvers)
    if overage.scope.startswith("app:"):
        roles.append("the owner or backup owner of the app, unless it is their own request")
    return ", ".join(roles) or "nobody yet; the CoE names approvers under `overage` in registry.yaml"


def _is_among(who: str, people: Iterable[str]) -> bool:
    return who.strip().casefold() in {person.strip().casefold() for person in people}


def _denied(message: str, hint: str) -> Refusal:
    return Refusal("policy_denied", message, hint=hint)
