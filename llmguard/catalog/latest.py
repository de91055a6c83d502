"""What was refused to an app lately, each kind once with its why and its fix; and how its last day went."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from llmguard.catalog.health import Use
from llmguard.catalog.why import explain
from llmguard.domain.catalog import Registry
from llmguard.domain.chat import JsonObject

Select = Callable[[str, JsonObject], list[JsonObject]]
_LOOKED_AT: Final = 60
_MOST_KINDS: Final = 6
_SINCE: Final = timedelta(days=30)
# The inner query reads narrow columns alone; only the rows that it finds are read with their reasons.
REFUSALS: Final = f"""
SELECT
    trace_id, strftime(make_timestamp(epoch_us(started_at)), '%Y-%m-%dT%H:%M:%S.%f+00:00') AS started_at, endpoint, app,
    owner, preset, preset_version, status, code, registry_digest, policy_digest, redaction_digest,
    decision::VARCHAR AS decision
FROM traces WHERE rowid IN (
    SELECT rowid FROM traces WHERE app = $app AND started_at >= $since::TIMESTAMPTZ AND status BETWEEN 400 AND 498
    ORDER BY started_at DESC LIMIT {_LOOKED_AT}
) ORDER BY started_at DESC
"""  # noqa: S608 - built from constants of this module
LAST_DAY: Final = """
SELECT count(*) AS requests, count(*) FILTER (status >= 500) AS faults
FROM traces WHERE app = $app AND started_at >= $since::TIMESTAMPTZ
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """One kind of refusal: how often among the latest, when last, and why, as `/why` explains that last one."""

    times: int
    last_at: datetime
    why: JsonObject


def latest_refusals(select: Select, registry: Registry, app: str, now: datetime) -> list[Refused]:
    """Return the latest refusals of an app, each kind once, latest first.

    Raises:
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    kinds: dict[str, list[JsonObject]] = {}
    for row in select(REFUSALS, {"app": app, "since": (now - _SINCE).isoformat()}):
        row["decision"] = json.loads(row["decision"] or "{}")
        kinds.setdefault(_kind(row), []).append(row)
    return [
        Refused(len(rows), datetime.fromisoformat(rows[0]["started_at"]), explain(rows[0], registry, today=now.date()))
        for rows in list(kinds.values())[:_MOST_KINDS]
    ]


def last_day(select: Select, app: str, now: datetime) -> Use:
    """Return how the requests of the last 24 hours ended. Raises as `latest_refusals`."""
    [row] = select(LAST_DAY, {"app": app, "since": (now - timedelta(days=1)).isoformat()})
    return Use(row["requests"], row["faults"])


def _kind(row: JsonObject) -> str:
    """Return what makes two refusals the same to those who mend them: preset, codes and parameters."""
    reasons = row["decision"].get("reasons") or []
    return json.dumps([row["code"], row["preset"], [[one.get("code"), one.get("param")] for one in reasons]])
