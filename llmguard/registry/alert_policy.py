"""From the section `alerts` to the policy that alerts go by, and what is wrong with it beyond its form."""

from collections.abc import Iterator

from llmguard.domain.alerts import AlertPolicy, AnomalyRule, Webhook
from llmguard.domain.money import to_nano_usd
from llmguard.registry.alert_entries import AlertsEntry
from llmguard.registry.document import Document, as_mapping, as_texts
from llmguard.registry.finding import Loc, Problem, suggestion


def alert_policy(entry: AlertsEntry) -> AlertPolicy:
    """Return the policy of a section without problems."""
    settings = entry.anomaly.model_dump(exclude={"minimum_usd", "watch"})
    minimum = entry.anomaly.minimum_usd
    return AlertPolicy(
        webhooks=tuple(
            Webhook(
                name,
                one.url,
                one.secret_env,
                tuple(one.types),
                None if one.cost_centers is None else tuple(one.cost_centers),
                one.loopback == "allowed",
            )
            for name, one in entry.webhooks.items()
        ),
        percents=tuple(sorted(set(entry.limit_percents))),
        minute_limits=entry.minute_limits == "included",
        expiry_days=tuple(sorted(set(entry.expiry_days))),
        anomaly=AnomalyRule(
            watch=tuple(entry.anomaly.watch),
            minimum_nano_usd=AnomalyRule().minimum_nano_usd if minimum is None else to_nano_usd(minimum),
            **settings,
        ),
    )


def alert_problems(document: Document) -> Iterator[Problem]:
    """Yield what is wrong with receivers: plain http to elsewhere, and cost centers that no app has."""
    known = {app["cost_center"] for app in document.section("apps").values() if isinstance(app.get("cost_center"), str)}
    webhooks = as_mapping(document.section("alerts").get("webhooks"))
    for name, value in webhooks.items():
        webhook, loc = as_mapping(value), ("alerts", "webhooks", str(name))
        yield from _address_problems(loc, webhook.get("url"), webhook.get("loopback"))
        for index, center in as_texts(webhook.get("cost_centers")):
            if center not in known:
                message = f"no app has the cost center '{center[:100]}'"
                yield Problem((*loc, "cost_centers", index), message, value=center, fix=suggestion(center, known))


def _address_problems(loc: Loc, url: object, loopback: object) -> Iterator[Problem]:
    if not isinstance(url, str):
        return
    if url.startswith("http://") and loopback != "allowed":
        fix = "write https://, or loopback: allowed if the receiver is on this machine"
        yield Problem((*loc, "url"), "alerts are not sent over plain http", fix=fix)
