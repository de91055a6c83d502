"""What a rule and a limit look like to those who ask, over HTTP and on the command line alike."""

from zoneinfo import ZoneInfo

from llmguard.domain.catalog import ParameterRule
from llmguard.domain.chat import JsonObject
from llmguard.domain.money import to_usd
from llmguard.domain.quota import Standing


def rule_json(rule: ParameterRule) -> JsonObject:
    """Return what a parameter may be; nothing in it means any value."""
    facts = {
        "min": rule.minimum,
        "max": rule.maximum,
        "default": rule.default,
        "fixed": rule.fixed,
        "allowed": rule.allowed,
    }
    return {name: whole(value) for name, value in facts.items() if value is not None}


def standing_json(standing: Standing) -> JsonObject:
    """Return one limit: whose it is, limit, granted, used, held, left, resets; money as decimal dollars in text."""
    in_usd = standing.name == "usd_per_month"
    scope, _, whose = standing.scope.partition(":")
    amounts = {
        "limit": standing.limit,
        "granted": standing.granted,
        "used": standing.used,
        "held": standing.held,
        "left": standing.left,
    }
    shown = {name: format(to_usd(amount), "f") if in_usd else amount for name, amount in amounts.items()}
    resets_at = standing.resets_at.astimezone(ZoneInfo(standing.time_zone))
    return {"name": standing.name, "scope": scope, "whose": whose, **shown, "resets_at": resets_at}


def whole(value: object) -> object:
    """Return a bound such as 800.0 as 800; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
