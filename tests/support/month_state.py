"""What the month of `month` leaves in state.db: keys, what the ledger has booked, requests for more quota.

The ledger agrees with the traces to the token, since it is booked from them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from llmguard.domain.catalog import App, Quota, Registry
from llmguard.domain.quota import Amount
from llmguard.identity.key_store import KeyStore
from llmguard.quota.gate import OverageGate
from llmguard.quota.operations import Claim, Reserve, Settle
from llmguard.quota.overage import Ask
from llmguard.quota.store import LedgerStore
from llmguard.registry.check import check_registry
from llmguard.settings import load_settings
from llmguard.traces.reader import TraceReader
from tests.support.builders import FrozenClock

_USED = """
SELECT app, (epoch_us(started_at) // 60000000)::BIGINT AS minute, count(*) AS requests,
    sum(input_tokens + output_tokens)::BIGINT AS tokens, (sum(cost_usd) * 1000000000)::BIGINT AS nano_usd
FROM traces WHERE cost_usd IS NOT NULL AND started_at >= $since::TIMESTAMPTZ GROUP BY ALL ORDER BY minute
"""
_KEYS = (  # app, issued so many days ago, valid for so many days
    ("expense-triage", 80, 365),
    ("hr-helpdesk", 86, 90),
    ("ticket-router", 40, None),
    ("contract-check", 200, 180),
    ("quarterly-regulatory-report-drafting-assistant-for-subsidiaries", 20, 90),
)


def seed_keys(data: Path, now: datetime) -> dict[str, str]:
    """Issue keys as they would have been; return one of each app that has any, by app."""
    settings = load_settings({}, data=str(data))
    ids = {}
    for app, ago, days in _KEYS:
        issuing = KeyStore(data / "state.db", settings.secret, FrozenClock(now - timedelta(days=ago)))
        ttl = None if days is None else timedelta(days=days)
        ids[app] = issuing.issue(app, ttl=ttl, who="coe@example.com").key_id
    then = FrozenClock(now - timedelta(days=2))
    keys = KeyStore(data / "state.db", settings.secret, then)
    keys.rotate(ids["hr-helpdesk"], overlap=timedelta(days=7), ttl=timedelta(days=90), who="amal@example.com")
    leaked = keys.issue("hr-helpdesk", ttl=timedelta(days=90), who="amal@example.com")
    keys.revoke(leaked.key_id, who="amal@example.com")
    keys.note_use({ids[app]: now - timedelta(minutes=5) for app in ids if app != "contract-check"})
    return ids


def seed_state(data: Path, registry: Path, now: datetime) -> None:
    """Book the traces of a data folder, which nobody serves now, and ask for more."""
    known = check_registry(registry, profiles=("standard", "strict"), accepted={}).registry
    assert known is not None
    _book(data, known.apps, now)
    _ask(data / "state.db", known, now)


def _book(data: Path, apps: Mapping[str, App], now: datetime) -> None:
    """Book minute by minute, under no limit: what was used was used."""
    clock = FrozenClock(now)
    store = LedgerStore(data / "state.db", clock, busy_timeout_seconds=5)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    rows = TraceReader(data).query(_USED, {"since": month.isoformat()}, limit=100_000)
    first = datetime(1970, 1, 1, tzinfo=UTC)
    for number, row in enumerate(row for row in rows if row["app"] in apps):
        clock.advance(seconds=(first + timedelta(minutes=row["minute"]) - clock.now()).total_seconds())
        amount = Amount(row["requests"], row["tokens"], row["nano_usd"])
        claims = tuple(Claim(scope.id, Quota(time_zone=scope.quota.time_zone)) for scope in apps[row["app"]].scopes)
        store.apply([Reserve(f"seed-{number}", claims, amount, "seed"), Settle(f"seed-{number}", amount)])
    store.close()


def _ask(path: Path, registry: Registry, now: datetime) -> None:
    """Ask for more: two requests wait, one was granted, one denied."""

    def ask(app, limit, amount, reason, *, ago):
        asked = Ask(registry.apps[app], "app", limit, amount, reason, registry.apps[app].owner)
        return OverageGate(path, FrozenClock(now - timedelta(days=ago))).request(asked)

    def gate(ago):
        return OverageGate(path, FrozenClock(now - timedelta(days=ago)))

    granted = ask("ticket-router", "tokens_per_day", 20_000, "The mail server is being moved this week.", ago=9)
    gate(8).approve(
        registry, granted.id, "fin@example.com", amount=10_000, ends_at=now.replace(microsecond=0) + timedelta(days=6)
    )
    denied = ask("hr-helpdesk", "tokens_per_month", 9_000_000, "We may need it.", ago=15)
    gate(14).deny(registry, denied.id, "fin@example.com", "Nothing points to this much. Ask again with figures.")
    ask("hr-helpdesk", "usd_per_month", 4 * 10**9, "Open enrolment ends on the 15th: twice the usual mail.", ago=1)
    ask("expense-triage", "tokens_per_day", 150_000, "Month-end, all receipts come at once.", ago=0.1)
