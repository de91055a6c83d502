"""Owners extend the approval of their apps, as far as the CoE lets them; git catches up later (`apps drift`)."""

from datetime import date, timedelta
from pathlib import Path

from llmguard.audit.log import append
from llmguard.domain.catalog import App, RenewalPolicy
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock
from llmguard.domain.errors import Refusal
from llmguard.domain.identifiers import new_trace_id
from llmguard.registry.app_states import AppStateStore, Renewal, add_renewal

_BY_GIT = "Else the CoE changes `expires` in registry.yaml."


class Renewals:
    """The renewals of one data folder. Every call may block for a moment."""

    def __init__(self, data: Path, clock: Clock) -> None:
        """Work on a data folder.

        Raises:
            sqlite3.Error, OSError: `state.db` cannot be opened or written.
        """
        self._store = AppStateStore(data / "state.db")
        self._clock = clock

    def renew(self, app: App, policy: RenewalPolicy, who: str, until: date | None = None) -> Renewal:
        """Extend an approval; whether `who` may is decided before.

        Args:
            app: as it is in force now.
            policy: how far.
            who: recorded.
            until: the new last day; None: as far as the policy lets.

        Raises:
            Refusal: invalid_request; the app cannot be renewed, or not so far.
            sqlite3.Error, OSError: nothing was changed.
        """
        now = self._clock.now()
        before, after = _days(app, policy, now.date(), until)
        states = self._store.read()
        earlier = states.renewed.get(app.name)
        from_day = earlier.from_day if earlier is not None and earlier.to_day == before else before
        renewal = Renewal(new_trace_id(now), app.name, from_day, after, now, who)
        facts = {"before": before.isoformat(), "after": after.isoformat(), "in_git": from_day.isoformat()}
        with self._store.writing() as connection:
            add_renewal(connection, renewal)
            append(connection, now, who=who, what="app.renewed", subject=renewal.id, app=app.name, facts=facts)
        return renewal


def check_renewer(app: App, who: str) -> None:
    """Do nothing for the owner or the backup owner of an app.

    Raises:
        Refusal: policy_denied for anybody else.
    """
    owners = [person for person in (app.owner, app.backup_owner) if person]
    if who.strip().casefold() not in {person.casefold() for person in owners}:
        message = f"Only {' or '.join(owners)} may renew {app.name}, and {who} is neither."
        raise Refusal("policy_denied", message, hint=f"Say who does it with --as. {_BY_GIT}")


def renewal_json(renewal: Renewal) -> JsonObject:
    """Return a renewal as operators see it."""
    return {
        "id": renewal.id,
        "object": "llmguard.renewal",
        "app": renewal.app,
        "in_git": renewal.from_day,
        "expires": renewal.to_day,
        "renewed_at": renewal.at,
        "renewed_by": renewal.by,
    }


def _days(app: App, policy: RenewalPolicy, today: date, until: date | None) -> tuple[date, date]:
    """Return the last day as it is, and as it is to be."""
    if app.expires is None or app.status != "approved":
        raise _refused(f"The app {app.name} is {app.status}; only approved apps that expire are renewed.")
    if app.expires + timedelta(days=policy.days_after_end) < today:
        days = policy.days_after_end
        raise _refused(f"The app {app.name} ended on {app.expires}, and {days} days later owners cannot renew it.")
    furthest = today + timedelta(days=policy.longest_days)
    after = furthest if until is None else until
    if after > furthest:
        raise _refused(f"Owners may renew {app.name} until {furthest} at most ({policy.longest_days} days).")
    if after <= app.expires:
        raise _refused(f"The app {app.name} is approved until {app.expires} already.")
    return app.expires, after


def _refused(message: str) -> Refusal:
    return Refusal("invalid_request", message, hint=_BY_GIT, param="until")
