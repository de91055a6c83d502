"""Explain what became of a request: the rule, what was asked and is allowed, what would pass, and whom to ask.

What it says comes from a trace's outcome and the registry; it holds no text of a request, and nothing of an answer.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from urllib.parse import quote

from llmguard.catalog.diagnosis.answer import COE, OPERATOR, YOU
from llmguard.catalog.diagnosis.errors import trace_answer
from llmguard.domain.catalog import App, ParameterRule, Preset, Registry
from llmguard.domain.chat import JsonObject
from llmguard.policy.decide import target_objections
from llmguard.policy.parameters import allowed_words
from llmguard.registry.resolve import usable_presets

_OUTLINE: Final = (
    *("trace_id", "started_at", "endpoint", "app", "owner", "preset", "preset_version", "status", "code"),
    *("registry_digest", "policy_digest", "redaction_digest"),
)
_ASKED: Final = re.compile(r", and (.{1,40}) was asked")
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*")
_PRESET_RULES: Final = frozenset(
    {"parameter_not_allowed", "content_blocked", "context_length_exceeded", "sensitivity_not_allowed", "preset_retired"}
)
_APP_RULES: Final = frozenset(
    {
        *(
            "app_expired",
            "app_not_approved",
            "app_suspended",
            "app_ownerless",
            "origin_not_allowed",
            "preset_not_allowed",
            "model_not_found",
        ),
        *("rate_limit_exceeded", "insufficient_quota", "policy_denied", "scope_missing"),
    }
)
_ANOTHER_MODEL: Final = frozenset(
    {"model_not_found", "preset_not_allowed", "preset_retired", "sensitivity_not_allowed", "app_not_approved"}
)
_RULE_WORDS: Final = {
    "content_blocked": "what the redaction profile blocks",
    "context_length_exceeded": "how much the preset's model can read",
    "sensitivity_not_allowed": "how sensitive the data may be that the preset's model sees",
    "preset_retired": "the life of the preset",
    "model_not_found": "which presets there are",
    "preset_not_allowed": "which presets the app may use",
    "app_not_approved": "the state of the app in the catalog",
    "app_suspended": "whether the app was stopped",
    "app_ownerless": "who answers for the app",
    "app_expired": "until when the app is approved",
    "origin_not_allowed": "from which web pages the app may be called",
    "rate_limit_exceeded": "how much the app may ask in a minute",
    "insufficient_quota": "how much the app may use in a day or month",
    "policy_denied": "a rule of the organisation",
    "scope_missing": "what the key may do",
}
_OTHER_NAMES: Final = {"max_output_tokens": "max_tokens", "max_completion_tokens": "max_tokens"}


@dataclass(frozen=True, slots=True)
class _Case:
    """One trace, and what the registry has about it now."""

    trace: JsonObject
    app: App | None
    preset: Preset | None  # presets never change in place: it is the one that decided
    registry: Registry
    today: date


def outline(trace: JsonObject) -> JsonObject:
    """Return the part of a trace that anybody with its id may read: its outcome and the reasons."""
    decision = trace.get("decision") or {}
    shown = {name: str(value) if name == "started_at" else value for name, value in trace.items() if name in _OUTLINE}
    return {**shown, "reasons": decision.get("reasons") or [], "adjusted": decision.get("adjusted") or []}


def explain(trace: JsonObject, registry: Registry, *, today: date, address: str = "") -> JsonObject:
    """Return the outline of a trace with its explanation.

    Args:
        trace: as the store shows it.
        registry: in force now: what it proposes passes today.
        today: the day in UTC.
        address: of this explanation, for the request for an exception.

    Returns:
        The outline, and `what_happened`, `what_to_do` and `who` in plain words; `rules`, each with `rule`, `version`,
        `asked`, `allowed` and `owner`; `change`, a JSON Patch (RFC 6902) of the request's body that would pass, or
        None; `exception`, whom to ask with which words, or None.
    """
    outcome = outline(trace)
    answer = trace_answer(outcome)
    case = _Case(outcome, registry.apps.get(str(trace.get("app"))), _preset_of(trace, registry), registry, today)
    rules, change = list(_rules(case)), list(_change(case)) or None
    return {
        **outcome,
        "what_happened": answer.problem,
        "what_to_do": answer.fix,
        "who": YOU if change else next((str(rule["owner"]) for rule in rules), answer.who),
        "fine": answer.fine,
        "rules": rules,
        "change": change,
        "exception": _exception(case, rules, answer.problem, address),
    }


def _preset_of(trace: JsonObject, registry: Registry) -> Preset | None:
    versions = registry.presets.get(str(trace.get("preset")), ())
    return next((preset for preset in versions if preset.version == trace.get("preset_version")), None)


def _rules(case: _Case) -> Iterator[JsonObject]:
    """Yield the rule behind each reason; nothing where no rule of the organisation stood against the request."""
    for reason in case.trace["reasons"]:
        code, param = str(reason.get("code")), reason.get("param")
        owner = _owner(case, code)
        if owner is None:
            continue
        rule = _parameter_rule(case, param) if code == "parameter_not_allowed" else None
        words = f"{param} in the preset" if code == "parameter_not_allowed" else _RULE_WORDS.get(code, code)
        if reason.get("file"):
            owner = str(reason.get("owner") or COE)
            words = " in ".join(filter(None, (reason.get("rule"), str(reason["file"]))))
        asked = _ASKED.search(str(reason.get("message")))
        yield {
            "code": code,
            "param": param,
            "rule": words,
            "version": _version(case, code),
            "asked": asked[1] if asked else None,
            "allowed": allowed_words(rule) if rule is not None else None,
            "owner": owner,
        }


def _owner(case: _Case, code: str) -> str | None:
    """Return who owns the rule behind a code; None if nobody does who could make an exception."""
    if code in _PRESET_RULES and case.preset is not None:
        return case.preset.owner
    if code in _PRESET_RULES | _APP_RULES:
        return case.app.owner if case.app is not None else case.trace.get("owner") or OPERATOR
    return None


def _version(case: _Case, code: str) -> str:
    trace = case.trace
    parts = []
    if trace.get("preset"):
        parts.append(f"preset {trace['preset']}@{trace['preset_version']}")
    names = ("registry", "policy", "redaction") if code == "content_blocked" else ("registry", "policy")
    digests = ((name, trace.get(f"{name}_digest")) for name in names)
    parts += [f"{name} {_short(digest)}" for name, digest in digests if digest]
    return ", ".join(parts)


def _short(digest: str) -> str:
    """Return the beginning of a digest; of policies the built-in rules, and the beginning of the CoE's."""
    builtin, plus, rules = digest.rpartition("+")
    return f"{builtin}{plus}{rules[:12]}"


def _parameter_rule(case: _Case, param: Any) -> ParameterRule | None:  # Any: of a reason, JSON
    rules = case.preset.parameters if case.preset is not None else {}
    return rules.get(str(param)) or rules.get(_OTHER_NAMES.get(str(param), ""))


def _change(case: _Case) -> Iterator[JsonObject]:
    """Yield the operations that make the request one that passes; none if that takes more than a parameter."""
    operations: list[JsonObject] = []
    for reason in case.trace["reasons"]:
        operation = _operation(case, str(reason.get("code")), reason.get("param"))
        if operation is None:
            return  # half a change would not pass
        operations.append(operation)
    yield from {operation["path"]: operation for operation in operations}.values()


def _operation(case: _Case, code: str, param: Any) -> JsonObject | None:  # Any: of a reason, JSON
    if code in _ANOTHER_MODEL:
        instead = _another_preset(case)
        return None if instead is None else {"op": "replace", "path": "/model", "value": instead}
    if code != "parameter_not_allowed" or not isinstance(param, str) or not _FIELD.fullmatch(param):
        return None
    path = "/" + param.replace(".", "/")
    rule = _parameter_rule(case, param)
    value = None if rule is None else _allowed_value(rule)
    return {"op": "remove", "path": path} if value is None else {"op": "replace", "path": path, "value": value}


def _allowed_value(rule: ParameterRule) -> Any:  # Any: a scalar
    """Return a value that the rule allows: the one that the preset itself would take, if it has one."""
    choices = (rule.fixed, rule.default, *(rule.allowed or ()), rule.maximum, rule.minimum)
    value = next((choice for choice in choices if choice is not None), None)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _another_preset(case: _Case) -> str | None:
    """Return what the app may put into `model`: the successor, the most alike, or the first."""
    if case.app is None:
        return None
    mode = "embedding" if case.trace.get("endpoint") == "/v1/embeddings" else "chat"
    names = [
        preset.name
        for preset in usable_presets(case.registry, case.app, today=case.today)
        if preset.model.mode == mode and not any(target_objections(case.app, preset))
    ]
    words = " ".join(str(reason.get("message")) for reason in case.trace["reasons"])
    meant = re.search(r"Did you mean '([^']+)'|successor is ([^\s]+?)(?:@\d+)?\.", words)
    if meant and (meant[1] or meant[2]) in names:
        return meant[1] or meant[2]
    asked = re.search(r"preset ([a-z][a-z0-9._-]*)", words)
    near = difflib.get_close_matches(asked[1], names, n=1) if asked else []
    return near[0] if near else next(iter(names), None)


def _exception(case: _Case, rules: list[JsonObject], problem: str, address: str) -> JsonObject | None:
    """Return the letter to the owner of the first rule that has one with an address."""
    rule = next((rule for rule in rules if "@" in str(rule["owner"])), None)
    if rule is None:
        return None
    trace = case.trace
    subject = f"llmguard: exception for {trace.get('app')} ({rule['code']})"
    lines = (
        f"The app {trace.get('app')} was refused by a rule that you own.",
        f"What happened: {problem}",
        f"Rule: {rule['rule']} ({rule['version']})",
        f"Trace: {trace['trace_id']}",
        *((address,) if address else ()),
        "",
        "We need an exception because: ",
        "Until when: ",
    )
    body = "\r\n".join(lines)  # RFC 6068, section 5: line breaks of a body are CR LF
    link = f"mailto:{quote(str(rule['owner']), safe='@')}?subject={quote(subject)}&body={quote(body)}"
    return {"to": rule["owner"], "subject": subject, "body": body, "mailto": link}
