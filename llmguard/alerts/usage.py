"""What apps did in the last six hours, and in the same hours of earlier days, read from the traces in one question."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from llmguard.alerts.anomalies import HISTORY_DAYS, WINDOW_HOURS, Anomaly, Use, find_anomalies, is_weekend, shown_figure
from llmguard.alerts.event import Alert
from llmguard.domain.alerts import AnomalyRule, Metric
from llmguard.domain.catalog import App
from llmguard.domain.chat import JsonObject
from llmguard.traces.reader import TraceReader
from llmguard.traces.rows import MAX_ROWS

_WINDOW: Final = timedelta(hours=WINDOW_HOURS)
# Hours are those on the wall where the app's quota runs, so that a change of clocks moves no rhythm. `back` counts the
# days before: 0 is now.
_USE: Final = """
WITH told AS (
    SELECT app, status, coalesce(input_tokens, 0) + coalesce(output_tokens, 0) AS tokens, cost_usd, entities,
        epoch_us($until::TIMESTAMP - (started_at AT TIME ZONE $zone)) - 1 AS before
    FROM traces WHERE started_at >= $since::TIMESTAMPTZ AND app IS NOT NULL
)
SELECT
    app, before // 86400000000 AS back,
    count(*) FILTER (is_inside) AS requests,
    coalesce(CAST(sum(cost_usd::DECIMAL(38, 9)) FILTER (is_inside) * 1000000000 AS BIGINT), 0) AS spend,
    coalesce(sum(tokens) FILTER (is_inside), 0)::BIGINT AS tokens,
    count(*) FILTER (is_inside AND status >= 500) AS errors,
    count(*) FILTER (is_inside AND status BETWEEN 400 AND 498) AS refusals,
    coalesce(sum(list_sum(map_values(entities))) FILTER (is_inside), 0)::BIGINT AS pii,
    coalesce(CAST(sum(cost_usd::DECIMAL(38, 9)) * 1000000000 AS BIGINT), 0) AS day_spend,
    coalesce(sum(tokens), 0)::BIGINT AS day_tokens
FROM (SELECT *, before % 86400000000 < $window AS is_inside FROM told WHERE before >= 0)
GROUP BY app, back
"""
_MICROSECONDS: Final = 1_000_000
_NOTHING = Use()
_UNUSUAL_WORDS: Final[dict[Metric, str]] = {
    "spend": "spent",
    "tokens": "used",
    "errors": "had",
    "refusals": "had",
    "pii": "sent",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """An app's last six hours, and those it is compared with."""

    app: App
    ends_at: datetime
    now: Use
    past: tuple[Use, ...]
    is_weekend: bool
    history_days: int


def compare(reader: TraceReader, apps: Mapping[str, App], ends_at: datetime) -> Iterator[Compared]:
    """Yield how each app did in the six hours up to a moment, for apps that did anything in them.

    Raises:
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    for zone in sorted({app.quota.time_zone for app in apps.values()}):
        days: dict[str, dict[int, JsonObject]] = {}
        for row in _rows(reader, zone, ends_at):
            days.setdefault(row["app"], {})[row["back"]] = row
        for name, rows in days.items():
            app = apps.get(name)
            if app is not None and app.quota.time_zone == zone and 0 in rows and rows[0]["requests"]:
                yield _compared(app, rows, ends_at)


def usage_alerts(compared: Compared, rule: AnomalyRule) -> Iterator[tuple[Metric, Alert]]:
    """Yield what is unusual about an app, each with words for what was expected, what was seen and why it is told."""
    if compared.history_days < rule.least_history_days:
        return
    for anomaly in find_anomalies(compared.now, compared.past, rule):
        yield anomaly.metric, _alert(compared, anomaly)


def _rows(reader: TraceReader, zone: str, ends_at: datetime) -> list[JsonObject]:
    local = ends_at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    parameters = {
        "since": (ends_at - timedelta(days=HISTORY_DAYS + 1) - _WINDOW).isoformat(),
        "until": local.isoformat(),
        "zone": zone,
        "window": WINDOW_HOURS * 3600 * _MICROSECONDS,
    }
    return reader.query(_USE, parameters, limit=MAX_ROWS)


def _compared(app: App, rows: Mapping[int, JsonObject], ends_at: datetime) -> Compared:
    middle = (ends_at - _WINDOW / 2).astimezone(ZoneInfo(app.quota.time_zone)).date()
    uses = {back: Use(**{name: int(row[name]) for name in Use.__slots__}) for back, row in rows.items()}
    complete = max(0, min(max(uses) - 1, HISTORY_DAYS))  # the first day of an app is no whole one
    weekend = is_weekend(middle)
    past = tuple(
        uses.get(back, _NOTHING)
        for back in range(1, complete + 1)
        if is_weekend(middle - timedelta(days=back)) == weekend
    )
    return Compared(app, ends_at.astimezone(UTC), uses[0], past, weekend, complete)


def _alert(compared: Compared, anomaly: Anomaly) -> Alert:
    app, metric = compared.app, anomaly.metric
    return Alert(
        key=f"anomaly|{app.name}|{metric}|{compared.ends_at.isoformat()}",
        type=f"com.llmguard.anomaly.{metric}",
        subject=f"app:{app.name}",
        cost_centers=frozenset({app.cost_center}),
        data={
            "message": _message(compared, anomaly),
            "app": app.name,
            "owner": app.owner,
            "metric": metric,
            "since": (compared.ends_at - _WINDOW).isoformat(),
            "until": compared.ends_at.isoformat(),
            "seen": shown_figure(metric, anomaly.seen),
            "expected": shown_figure(metric, anomaly.expected),
            "highest_before": shown_figure(metric, anomaly.highest),
            "times_usual_spread": round(anomaly.score, 1),
            "compared_windows": anomaly.windows,
            "requests": anomaly.requests,
        },
    )


def _message(compared: Compared, anomaly: Anomaly) -> str:
    metric = anomaly.metric
    until = compared.ends_at.astimezone(ZoneInfo(compared.app.quota.time_zone))
    days = "weekend days" if compared.is_weekend else "working days"
    seen, expected, highest = (
        shown_figure(metric, figure) for figure in (anomaly.seen, anomaly.expected, anomaly.highest)
    )
    return (
        f"The app {compared.app.name} {_UNUSUAL_WORDS[metric]} {seen} from {until - _WINDOW:%H:%M} to {until:%H:%M} on "
        f"{until:%Y-%m-%d} ({compared.app.quota.time_zone}). Expected was {expected}, the median of the same six hours "
        f"on the last {anomaly.windows} {days}, of which the highest had {highest}. It is unusual because it lies "
        f"{anomaly.score:.0f} times the usual spread above that median."
    )


def last_whole_hour(now: datetime, delay: timedelta) -> datetime:
    """Return the end of the newest hour whose traces have arrived: requests are traced when they end."""
    return (now - delay).replace(minute=0, second=0, microsecond=0)
