"""How pages write a limit: its name, whose it is, and figures with their unit."""

from typing import Final

from llmguard.domain.catalog import App
from llmguard.domain.chat import JsonObject
from llmguard.domain.money import to_usd
from llmguard.domain.quota import LimitName, Standing
from llmguard.web.figures import figure, usd

LIMIT_WORDS: Final[dict[LimitName, str]] = {
    "requests_per_minute": "Requests a minute",
    "tokens_per_minute": "Tokens a minute",
    "tokens_per_day": "Tokens a day",
    "tokens_per_month": "Tokens a month",
    "usd_per_month": "USD a month",
}
_NEARLY: Final = 0.8


def limit_row(standing: Standing, app: App) -> JsonObject:
    """Return one limit as a page shows it."""
    used = standing.used + standing.held
    share = used / standing.limit if standing.limit else 1.0
    return {
        "words": LIMIT_WORDS[standing.name],
        "whose": whose_limit(standing.scope, app),
        "used": written(standing.name, used),
        "limit": written(standing.name, standing.limit),
        "left": written(standing.name, standing.left),
        "granted": written(standing.name, standing.granted) if standing.granted else "",
        "share": min(share, 1.0),
        "level": "" if share < _NEARLY else "care" if share < 1 else "wrong",
        "resets_at": None if standing.name.endswith("_minute") else standing.resets_at,
    }


def whose_limit(scope: str, app: App) -> str:
    """Return whose limit it is, in words; nothing for the app's own."""
    kind, _, name = scope.partition(":")
    if kind == "owner":
        return f"all apps of {name} together"
    return f"all apps of cost center {name} together" if kind == "cost_center" and name != app.name else ""


def written(limit: LimitName, amount: int) -> str:
    """Return an amount of a limit with its unit."""
    return usd(to_usd(amount)) if limit == "usd_per_month" else figure(amount)
