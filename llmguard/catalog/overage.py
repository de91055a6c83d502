"""What a request for more quota looks like to the app that asked; to approvers also why, and who."""

from datetime import datetime

from llmguard.domain.chat import JsonObject
from llmguard.quota.gate import Grant
from llmguard.quota.overage import Overage, shown_amount


def overage_json(overage: Overage, now: datetime) -> JsonObject:
    """Return a request without reasons and names: these are for approvers."""
    return {
        "id": overage.id,
        "object": "llmguard.overage",
        "state": overage.state_at(now),
        "app": overage.app,
        "scope": overage.scope.partition(":")[0],
        "limit": overage.limit,
        "amount": shown_amount(overage.limit, overage.amount),
        "granted": None if overage.granted is None else shown_amount(overage.limit, overage.granted),
        "ends_at": overage.ends_at,
        "requested_at": overage.requested_at,
    }


def overage_for_approvers(overage: Overage, now: datetime) -> JsonObject:
    """Return a request as those see it who decide about it."""
    return overage_json(overage, now) | {
        "scope": overage.scope,
        "requested_by": overage.requested_by,
        "with_key": overage.key_id,
        "reason": overage.reason,
        "first_approver": overage.first_approver,
        "decided_by": overage.decided_by,
        "denial": overage.denial,
    }


def grant_json(grant: Grant) -> JsonObject:
    """Return one grant in force."""
    return {
        "id": grant.request_id,
        "scope": grant.scope.partition(":")[0],
        "limit": grant.limit,
        "amount": shown_amount(grant.limit, grant.amount),
        "ends_at": grant.ends_at,
    }
