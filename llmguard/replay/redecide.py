"""What if: stored requests decided again, by the registry, the rules and the redaction profiles of a change.

It goes by the facts that traces keep, never by text, and through the same code as the request path: resolve, decide,
judge. Each is first decided by what was in force then. Where that does not give the stored decision exactly, or facts
are missing, nothing is said about the request; how many that are, and why, is part of the answer.

It does not know: quotas and budgets, providers, other browser origins, and personal data that another profile would
find in texts that are already redacted.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from llmguard.domain.catalog import App, Preset, Registry
from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import Refusal
from llmguard.policy.decide import Objection, app_objections, decide
from llmguard.policy.evaluator import NoVerdict
from llmguard.policy.facts import RequestFacts, input_document
from llmguard.policy.judge import rounded_up, verdict_of
from llmguard.policy.rego_files import RuleSet
from llmguard.redaction.profiles import Profile
from llmguard.registry.resolve import resolve_preset
from llmguard.traces.reader import TraceReader
from llmguard.traces.rows import MAX_ROWS, Rows

# Without preset and code it was no question to a model, as GET /v1/me is none.
# Quarters of an hour: every time zone is a whole number of them away from UTC, so that hours stay exact.
_GROUPS: Final = """
SELECT
    time_bucket(INTERVAL 15 MINUTE, started_at)::VARCHAR AS began, app, preset, preset_version, registry_digest,
    policy_digest, endpoint, stream, code, entities::JSON::VARCHAR AS entities,
    json_extract(decision, '$.facts')::VARCHAR AS facts,
    json_extract(decision, '$.reasons')::VARCHAR AS reasons,
    json_extract_string(decision, '$.repeats') IS NOT NULL AS is_repeat,
    count(*) AS requests, coalesce(sum(cost_usd), 0)::VARCHAR AS cost_usd,
    count(*) FILTER (cost_usd > 0) AS charged
FROM traces
WHERE started_at >= $since::TIMESTAMPTZ AND started_at < $until::TIMESTAMPTZ AND app IS NOT NULL
AND (preset IS NOT NULL OR code IS NOT NULL)
GROUP BY ALL ORDER BY ALL
"""
_LEAST_PERIOD: Final = timedelta(minutes=15)
# Codes that a decision has; with any other one the decision was to let the request pass.
_DECIDED: Final = frozenset(
    {
        *("app_expired", "app_not_approved", "origin_not_allowed", "preset_not_allowed", "model_not_found"),
        *("preset_retired", "parameter_not_allowed", "sensitivity_not_allowed", "invalid_request"),
        *("content_blocked", "policy_denied"),
    }
)
Reasons = tuple[tuple[str, str, str], ...]  # code, parameter, rule; empty: allowed


class Undecided(Exception):
    """A request that cannot be decided again; the text says why."""


@dataclass(frozen=True, slots=True)
class Governance:
    """What decides: one registry, one state of the rules, one state of the redaction profiles.

    Attributes:
        profiles: by name; None: as they were, so that what passed them passes again.
        evaluate: what the rules decide about an input document, as an `Evaluator` answers; None without rules.
    """

    registry: Registry
    rules: RuleSet
    profiles: Mapping[str, Profile] | None = None
    evaluate: Callable[[JsonObject], JsonObject] | None = None


@dataclass(slots=True)
class AppChange:
    """What changes for one app."""

    app: str
    requests: int = 0
    undecided: int = 0
    newly_refused: int = 0
    newly_refused_cost_usd: Decimal = Decimal(0)
    newly_allowed: int = 0
    newly_allowed_cost_usd: Decimal = Decimal(0)
    other_reasons: int = 0


@dataclass(slots=True)
class Tried:
    """What a change would have done to the requests of a time.

    Attributes:
        apps: by app; the cost of the newly allowed is estimated by what such requests of the app cost.
        reasons: requests by app, change, code and rule.
        undecided: requests by why nothing can be said about them.
        decided_as_stored: requests for which the old state gave the stored decision.
    """

    apps: dict[str, AppChange] = field(default_factory=dict)
    reasons: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    undecided: Counter[str] = field(default_factory=Counter)
    decided_as_stored: int = 0


def try_change(
    reader: TraceReader,
    since: datetime,
    until: datetime,
    new: Governance,
    then: Callable[[str, str], Governance | None],
) -> Tried:
    """Return what a change would have done.

    Args:
        reader: of the traces.
        since: the first instant.
        until: the instant after the last.
        new: what would decide.
        then: gives what decided under a registry digest and a policy digest; None if that was not kept.

    Raises:
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    tried = Tried()
    costs: dict[tuple[str, str], tuple[Decimal, int]] = {}
    allowed: Counter[tuple[str, str]] = Counter()
    for row in _groups(reader, since, until):
        change = tried.apps.setdefault(row["app"], AppChange(row["app"]))
        change.requests += row["requests"]
        request = (row["app"], str(_facts_of(row).get("model")))
        if row["charged"]:
            cost, charged = costs.get(request, (Decimal(0), 0))
            costs[request] = cost + Decimal(row["cost_usd"]), charged + row["charged"]
        try:
            before, after = _both(row, new, then)
        except Undecided as why:
            change.undecided += row["requests"]
            tried.undecided[str(why)] += row["requests"]
            continue
        tried.decided_as_stored += row["requests"]
        if after and not before:
            change.newly_refused_cost_usd += Decimal(row["cost_usd"])
        if before and not after:
            allowed[request] += row["requests"]
        _count(tried, change, row["requests"], before, after)
    for (app, model), requests in allowed.items():
        cost, charged = costs.get((app, model), (Decimal(0), 0))
        tried.apps[app].newly_allowed_cost_usd += cost * requests / charged if charged else Decimal(0)
    return tried


def _count(tried: Tried, change: AppChange, requests: int, before: Reasons, after: Reasons) -> None:
    if before == after:
        return
    if after and not before:
        change.newly_refused += requests
    elif before and not after:
        change.newly_allowed += requests
    else:
        change.other_reasons += requests
    what = "other_reasons" if before and after else "newly_refused" if after else "newly_allowed"
    for code, _, rule in dict.fromkeys(after or before):
        tried.reasons[change.app, what, code, rule] += requests


def _groups(reader: TraceReader, since: datetime, until: datetime) -> Iterator[JsonObject]:
    """Yield requests that were alike, in as many answers as they need."""
    given = {"since": since.isoformat(), "until": until.isoformat()}
    rows: Rows = reader.query(_GROUPS, given, limit=MAX_ROWS)
    if len(rows) < MAX_ROWS or until - since <= _LEAST_PERIOD:
        yield from rows
        return
    middle = since + (until - since) / 2
    yield from _groups(reader, since, middle)
    yield from _groups(reader, middle, until)


def _both(row: JsonObject, new: Governance, then: Callable[[str, str], Governance | None]) -> tuple[Reasons, Reasons]:
    stored = _stored(row)
    old = then(str(row["registry_digest"]), str(row["policy_digest"]))
    if old is None:
        raise Undecided("what decided then was not kept")
    if any(reason[:2] == ("policy_denied", "") and reason[2].startswith("policies/") for reason in stored):
        raise Undecided("the rules could not decide then")
    if decided_by(row, old) != stored:
        raise Undecided("its facts do not give the stored decision")
    return stored, decided_by(row, new)


def _stored(row: JsonObject) -> Reasons:
    reasons = json.loads(row["reasons"] or "[]")
    if row["code"] not in _DECIDED:
        return ()
    return tuple(sorted(_reason(reason) for reason in reasons))


def _reason(reason: JsonObject) -> tuple[str, str, str]:
    rule = reason.get("rule") or reason.get("file") or ""
    return str(reason.get("code")), str(reason.get("param") or ""), str(rule)


def decided_by(row: JsonObject, governance: Governance) -> Reasons:
    """Return how a stored request is decided; empty means allowed.

    Raises:
        Undecided: its facts do not say.
    """
    registry, began = governance.registry, datetime.fromisoformat(row["began"]).astimezone(UTC)
    app = registry.apps.get(row["app"])
    if app is None:
        return (("app_not_approved", "", ""),)
    first = next(iter(app_objections(app, began.date())), None)
    if first is not None:
        return _as_reasons([first])
    facts = _facts_of(row)
    if row["is_repeat"]:
        raise Undecided("it repeats an earlier request, whose answer it got")
    if "model" not in facts:
        raise Undecided("it was refused before it was read, or its trace is older than the facts in traces")
    if facts["model"] is None:
        raise Undecided("no preset has the name that it asked for")
    try:
        preset = resolve_preset(registry, app, facts["model"], today=began.date())
    except Refusal as refusal:
        return ((refusal.code, refusal.param or "", ""),)
    objections = decide(app, preset, _request_of(row, facts)).objections
    return _as_reasons(objections) if objections else _after_redaction(row, governance, app, preset)


def _after_redaction(row: JsonObject, governance: Governance, app: App, preset: Preset) -> Reasons:
    """Return how it is decided by what was found in it."""
    seen = _facts_of(row).get("seen")
    entities: dict[str, int] = json.loads(row["entities"] or "{}")
    if row["code"] == "content_blocked":
        if governance.profiles is not None:
            raise Undecided("its text was blocked, and what else was in it is not known")
        return (("content_blocked", _param_of(row), ""),)
    if seen is None:
        raise Undecided("it was refused before its text was looked at, and would now get further")
    profile = (governance.profiles or {}).get(preset.redaction)
    if profile is not None and any(profile.actions.get(kind) == "block" for kind in entities):
        return (("content_blocked", "", ""),)
    if governance.evaluate is None:
        return ()
    local = datetime.fromisoformat(row["began"]).astimezone(ZoneInfo(app.quota.time_zone))
    document = input_document(governance.registry, app, preset, _seen_facts(row, seen, entities), local)
    try:
        answer = governance.evaluate(document)
    except NoVerdict as error:
        raise Undecided(f"the rules could not decide: {error}") from None
    return _as_reasons(verdict_of(answer, governance.rules.packages).objections)


def _as_reasons(objections: Sequence[Objection]) -> Reasons:
    return tuple(sorted(_reason(objection.as_json()) for objection in objections))


def _facts_of(row: JsonObject) -> JsonObject:
    facts = json.loads(row["facts"] or "{}")
    return facts if isinstance(facts, dict) else {}


def _param_of(row: JsonObject) -> str:
    reasons = json.loads(row["reasons"] or "[]")
    return str(reasons[0].get("param") or "") if reasons else ""


def _request_of(row: JsonObject, facts: JsonObject) -> ChatRequest:
    """Return a request that the built-in rules judge as they judged the one that was made."""
    messages: list[JsonObject] = [{} for _ in range(1 + max(map(int, facts.get("parts", {})), default=0))]
    for index, kinds in facts.get("parts", {}).items():
        messages[int(index)] = {"content": [{"type": kind} for kind in kinds]}
    return ChatRequest(
        endpoint=row["endpoint"],
        model=facts["model"],
        messages=messages,
        stream=bool(row["stream"]),
        parameters=dict(facts.get("parameters", {})),
        inputs=[] if facts.get("inputs") else None,
        spoken=facts.get("spoken", {}),
    )


def _seen_facts(row: JsonObject, seen: Mapping[str, Any], entities: Mapping[str, int]) -> RequestFacts:
    return RequestFacts(
        endpoint=row["endpoint"],
        stream=bool(row["stream"]),
        tools=tuple(seen.get("tools", ())),
        images=seen.get("images", 0),
        audio=seen.get("audio", 0),
        files=seen.get("files", 0),
        messages=seen["messages"],
        characters=seen["characters"],
        entities=tuple(sorted((kind, rounded_up(count)) for kind, count in entities.items())),
    )
