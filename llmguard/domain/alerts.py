"""What the CoE decides about alerts, as frozen values: who is told what, and when something is worth telling."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from llmguard.domain.money import NANO_PER_USD

AlertKind = Literal["limit", "expiry", "anomaly", "overage", "containment"]
Metric = Literal["spend", "tokens", "errors", "refusals", "pii"]
ALERT_KINDS: Final[tuple[AlertKind, ...]] = get_args(AlertKind)
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of alerts. `secret_env` names the variable with the signing secret, which is never here.

    Attributes:
        kinds: which alerts it gets.
        cost_centers: whose; None: everybody's.
        loopback: whether its address may be this machine.
    """

    name: str
    url: str
    secret_env: str
    kinds: tuple[AlertKind, ...] = ALERT_KINDS
    cost_centers: tuple[str, ...] | None = None
    loopback: bool = False


@dataclass(frozen=True, slots=True)
class AnomalyRule:
    """When the last six hours of an app are unusual against its own past, and large enough to matter.

    Attributes:
        watch: what is looked at; nothing switches the rule off.
        score: how many times the usual spread a figure must lie above the usual one.
        least_history_days: how long an app must have been in use.
        minimum_nano_usd: how much more than usual must have been spent.
        minimum_tokens: how many tokens more than usual.
        minimum_errors: how many failed requests more than usual.
        minimum_refusals: how many refused requests more than usual.
        minimum_pii: how many values of personal data more than usual.
    """

    watch: tuple[Metric, ...] = METRICS
    score: float = 6.0
    least_history_days: int = 14
    minimum_nano_usd: int = 5 * NANO_PER_USD
    minimum_tokens: int = 200_000
    minimum_errors: int = 20
    minimum_refusals: int = 20
    minimum_pii: int = 50


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """When alerts are raised, and who gets them.

    Attributes:
        percents: of a limit, ascending.
        minute_limits: whether limits a minute count, too; they come and go too fast for most.
        expiry_days: before the last day of an app's approval, ascending; 0 is that day.
    """

    webhooks: tuple[Webhook, ...] = ()
    percents: tuple[int, ...] = (50, 80, 95, 100)
    minute_limits: bool = False
    expiry_days: tuple[int, ...] = (0, 1, 7, 14)
    anomaly: AnomalyRule = AnomalyRule()
