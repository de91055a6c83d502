"""The section `alerts` of registry.yaml: who is told what, and when it is worth telling."""

from typing import Annotated, Literal

from pydantic import Field

from llmguard.domain.alerts import ALERT_KINDS, METRICS, AlertKind, AlertPolicy, AnomalyRule, Metric
from llmguard.registry.entry import Entry
from llmguard.registry.fields import EnvironmentName, Name, Text, UsdAboveZero, WebAddress

_USUAL = AnomalyRule()
_POLICY = AlertPolicy()
Percent = Annotated[int, Field(ge=1, le=100)]
Days = Annotated[int, Field(ge=0, le=366)]


class WebhookEntry(Entry):
    """A receiver of alerts: CloudEvents 1.0, signed as Standard Webhooks has it."""

    url: WebAddress = Field(description="Where alerts are posted to; https, unless it is this machine.")
    secret_env: EnvironmentName = Field(
        description="Name of the environment variable that holds the signing secret (whsec_…). Never the secret itself."
    )
    types: list[AlertKind] = Field(
        [*ALERT_KINDS],
        min_length=1,
        description="Which alerts: limit, expiry, anomaly, overage, containment; default: all.",
    )
    cost_centers: list[Text] | None = Field(
        None, min_length=1, description='Only alerts about these cost centers, in quotes, as in "4711"; default: all.'
    )
    loopback: Literal["forbidden", "allowed"] = Field(
        "forbidden", description="allowed: the receiver may be on this machine (127.0.0.1, localhost)."
    )


class AnomalyEntry(Entry):
    """When the last six hours of an app are unusual against its own past."""

    watch: list[Metric] = Field(
        [*METRICS], description="What is looked at: spend, tokens, errors, refusals, pii; [] switches it off."
    )
    score: float = Field(
        _USUAL.score, ge=2, le=100, description="How many times the usual spread above the usual figure is unusual."
    )
    least_history_days: int = Field(
        _USUAL.least_history_days, ge=7, le=28, description="How long an app must have been in use before it is judged."
    )
    minimum_usd: UsdAboveZero | None = Field(
        None, description="Least excess of spend in six hours, in US dollars; default: 5."
    )
    minimum_tokens: int = Field(_USUAL.minimum_tokens, ge=1, description="Least excess of tokens in six hours.")
    minimum_errors: int = Field(_USUAL.minimum_errors, ge=1, description="Least excess of failed requests.")
    minimum_refusals: int = Field(_USUAL.minimum_refusals, ge=1, description="Least excess of refused requests.")
    minimum_pii: int = Field(_USUAL.minimum_pii, ge=1, description="Least excess of values of personal data.")


class AlertsEntry(Entry):
    """Who is told when limits fill, apps expire, or use is unusual."""

    webhooks: dict[Name, WebhookEntry] = Field({}, description="Receivers, by name.")
    limit_percents: list[Percent] = Field(
        [*_POLICY.percents], description="At which percentages of a limit to tell; [] for never."
    )
    minute_limits: Literal["ignored", "included"] = Field(
        "ignored", description="included: limits a minute are told about, too."
    )
    expiry_days: list[Days] = Field(
        [*_POLICY.expiry_days], description="How many days before an app's last day to tell; 0 is that day."
    )
    anomaly: AnomalyEntry = Field(
        AnomalyEntry.model_validate({}), description="When use is unusual against an app's own past."
    )


ALERT_ENTRIES: dict[tuple[str, ...], type[Entry]] = {
    ("alerts",): AlertsEntry,
    ("alerts", "webhooks", "*"): WebhookEntry,
    ("alerts", "anomaly"): AnomalyEntry,
}
