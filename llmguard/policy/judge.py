"""Step 3, second half: the CoE's own rules in Rego, over facts, once it is known which personal data was found.

Facts are compared as they are, so that the same facts are decided once and remembered; few facts differ, since figures
are rounded up and time is counted in hours. Whatever goes wrong is a denial, and is not remembered.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from llmguard.domain.catalog import App, JsonScalar, PolicySettings, Preset, Registry
from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.clock import Clock
from llmguard.policy.decide import POLICY_DIGEST, Objection, asked_facts, media_in, refuse
from llmguard.policy.evaluator import Evaluator, NoVerdict, RemoteOpa
from llmguard.policy.facts import RequestFacts, input_document
from llmguard.policy.parameters import TOOL_PARAMETERS
from llmguard.policy.rego_files import RuleSet

_REMEMBERED: Final = 4096
_REMOTE_SECONDS: Final = 10  # how long an answer of a remote OPA stands: its rules change without our knowing
_MOST_TOOLS: Final = 256
_ORDER: Final = ("rule", "effect", "message", "fix", "owner")
_FIELDS: Final = frozenset(_ORDER)
_EFFECTS: Final = ("deny", "log", "allow")
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")  # so that no placeholder is among the facts
_UNNAMED: Final = "?"
_LONGEST: Final = 1000
_log = logging.getLogger(__name__)
_ASK: Final = (
    "Ask the CoE to look at it; `llmguard check` and `llmguard policy test` say more. It is not the request's fault."
)


class Verdict(msgspec.Struct, frozen=True):
    """What the rules say about some facts.

    Attributes:
        objections: every denial; empty means allowed.
        notes: reasons that do not count against the request: of effect log, and denials that an allow has lifted.
        is_whole: whether every rule could be evaluated.
    """

    objections: tuple[Objection, ...] = ()
    notes: tuple[JsonObject, ...] = ()
    is_whole: bool = True


class Judgement(msgspec.Struct, frozen=True):
    """A verdict on one request, with what the trace keeps of it."""

    verdict: Verdict
    facts: RequestFacts
    digest: str
    nanoseconds: int
    has_rules: bool

    def as_json(self, facts: JsonObject) -> JsonObject:
        """Return what the trace's decision gains; `facts` are those that it has already."""
        seen = self.facts
        more: JsonObject = {"messages": seen.messages, "characters": seen.characters}
        for name in ("images", "audio", "files"):
            if value := getattr(seen, name):
                more[name] = value
        if seen.tools:
            more["tools"] = list(seen.tools)
        decision: JsonObject = {"facts": facts | {"seen": more}}
        if self.has_rules:
            reasons = list(self.verdict.notes)
            decision["policy"] = {"reasons": reasons, "microseconds": self.nanoseconds / 1000}
        if self.verdict.objections:
            decision |= {"allowed": False, "reasons": [reason.as_json() for reason in self.verdict.objections]}
        return decision

    def enforce(self) -> None:
        """Raise the refusal with all reasons, if there is any."""
        refuse(self.verdict.objections)


@dataclass(slots=True)
class _InForce:
    """One state of the rules, who evaluates it, and what it has decided."""

    rules: RuleSet
    digest: str
    packages: Mapping[str, str]
    evaluator: Evaluator | None
    remembered: OrderedDict[Any, tuple[Verdict, float]] = field(default_factory=OrderedDict)  # Any: a tuple of facts


class Policies:
    """The rules in force; one for each worker."""

    def __init__(self, clock: Clock, token: Callable[[str], str | None] = lambda _: None) -> None:
        """Begin without rules; `token` gives the value of an environment variable, for a remote OPA."""
        self._clock = clock
        self._token = token
        self._embedded = _InForce(RuleSet({}), POLICY_DIGEST, {}, None)
        self._remote: tuple[PolicySettings, _InForce] | None = None
        self._words: tuple[str, frozenset[JsonScalar]] = ("", frozenset())

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._embedded.rules

    def use(self, rules: RuleSet, evaluator: Evaluator | None) -> Evaluator | None:
        """Put rules in force, with who evaluates them where there are any; return who did so until now."""
        before = self._embedded.evaluator
        self._embedded = _InForce(rules, digest_of(rules), rules.packages, evaluator)
        self._remote = None if self._remote is None else (self._remote[0], self._opa(self._remote[1].evaluator))
        return before

    async def close(self) -> None:
        """End who evaluates."""
        for in_force in (self._embedded, *(self._remote or ())[1:]):
            if in_force.evaluator is not None:
                await in_force.evaluator.close()

    def asked(self, registry: Registry, request: ChatRequest) -> JsonObject:
        """Return what the built-in rules go by, without text; see `asked_facts`."""
        digest, words = self._words
        if digest != registry.digest:
            words = frozenset(words_of(registry))
            self._words = (registry.digest, words)
        return asked_facts(request, registry.presets, words)

    async def judge(
        self, registry: Registry, app: App, preset: Preset, request: ChatRequest, entities: Mapping[str, int]
    ) -> Judgement:
        """Return what the rules say about a request.

        Args:
            registry: by which the request is judged.
            app: whose request it is.
            preset: that answers it.
            request: redacted, so that no fact can hold what was hidden.
            entities: what was found in it.
        """
        began = self._clock.ticks()
        facts = request_facts(request, entities)
        in_force = self._embedded if registry.policies.opa_url is None else self._opa_of(registry.policies)
        if in_force.evaluator is None:
            return Judgement(Verdict(), facts, in_force.digest, 0, has_rules=False)
        local = self._clock.now().astimezone(ZoneInfo(app.quota.time_zone))
        # Neither is always that of the catalog: a key for the sandbox puts its app there, and owners renew approvals.
        standing = (app.name, app.status, app.expires)
        key = (registry.digest, standing, preset.name, preset.version, facts, local.toordinal(), local.hour)
        remembered = in_force.remembered.get(key)
        if remembered is not None and remembered[1] >= began:
            in_force.remembered.move_to_end(key)
            verdict = remembered[0]
        else:
            verdict = await self._decide(in_force, registry, app, preset, facts, local)
            if not verdict.is_whole:
                _log.error("%s", " ".join(objection.message for objection in verdict.objections if not objection.rule))
            else:
                in_force.remembered[key] = (verdict, self._stands_until(registry))
                if len(in_force.remembered) > _REMEMBERED:
                    in_force.remembered.popitem(last=False)
        return Judgement(verdict, facts, in_force.digest, self._clock.ticks() - began, has_rules=True)

    async def _decide(
        self, in_force: _InForce, registry: Registry, app: App, preset: Preset, facts: RequestFacts, local: datetime
    ) -> Verdict:
        if len(facts.tools) > _MOST_TOOLS:
            many = _failed("policies/", f"a request with more than {_MOST_TOOLS} tools is not judged")
            return Verdict((many,), is_whole=False)
        assert in_force.evaluator is not None  # noqa: S101 - the caller has looked
        document = input_document(registry, app, preset, facts, local)
        try:
            answer = await in_force.evaluator.decide(document, registry.policies.timeout_seconds)
        except NoVerdict as error:
            return Verdict((_failed(error.file or "policies/", str(error)),), is_whole=False)
        return verdict_of(answer, in_force.packages)

    def _opa_of(self, settings: PolicySettings) -> _InForce:
        if self._remote is None or self._remote[0] != settings:
            token = self._token(settings.opa_token_env) if settings.opa_token_env else None
            self._remote = (settings, self._opa(RemoteOpa(str(settings.opa_url), token)))
        return self._remote[1]

    def _opa(self, evaluator: Evaluator | None) -> _InForce:
        own = self._embedded
        return _InForce(own.rules, own.digest, own.packages, evaluator)

    def _stands_until(self, registry: Registry) -> float:
        if registry.policies.opa_url is None:
            return float("inf")
        return self._clock.ticks() + _REMOTE_SECONDS * 1e9


def digest_of(rules: RuleSet) -> str:
    """Return the digest that traces pin: of the built-in rules, and of those of the CoE where there are any."""
    return f"{POLICY_DIGEST}+{rules.digest}" if rules.files else POLICY_DIGEST


def words_of(registry: Registry) -> Iterator[JsonScalar]:
    """Yield the texts and figures of the registry that a built-in rule may compare with."""
    for preset in (preset for versions in registry.presets.values() for preset in versions):
        yield from preset.tools if isinstance(preset.tools, tuple) else ()
        for rule in preset.parameters.values():
            values = (rule.fixed, rule.default, *(rule.allowed or ()))
            yield from (value for value in values if value is not None)


def request_facts(request: ChatRequest, entities: Mapping[str, int]) -> RequestFacts:
    """Return what rules see of a redacted request."""
    characters = 0
    media: dict[str, int] = {}
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            characters += len(content)
        elif isinstance(content, list):
            for part in content:
                text = part.get("text") if isinstance(part, dict) else part
                characters += len(text) if isinstance(text, str) else 0
                for medium in media_in(part):
                    media[medium] = media.get(medium, 0) + 1
    for text in request.inputs or ():
        characters += len(text)
    return RequestFacts(
        request.endpoint,
        request.stream,
        () if TOOL_PARAMETERS.isdisjoint(request.parameters) else _tool_names(request.parameters),
        rounded_up(media.get("images", 0)),
        rounded_up(media.get("audio", 0)),
        rounded_up(media.get("files", 0)),
        rounded_up(len(request.messages) or len(request.inputs or ())),
        rounded_up(characters),
        tuple(sorted([(kind, rounded_up(count)) for kind, count in entities.items()])),
    )


def _tool_names(parameters: JsonObject) -> tuple[str, ...]:
    brought = [parameters.get(name) for name in ("tools", "functions")]
    return tuple(sorted({_tool_name(tool) for listed in brought if isinstance(listed, list) for tool in listed}))


def _tool_name(tool: Any) -> str:  # Any: what the app sent
    body = tool if isinstance(tool, dict) else {}
    own = body.get(str(body.get("type")))
    name = (own if isinstance(own, dict) else body).get("name") or body.get("type")
    return name if isinstance(name, str) and _TOOL_NAME.fullmatch(name) else _UNNAMED


def rounded_up(number: int) -> int:
    """Return the next power of two; 0 for 0."""
    return 1 << (number - 1).bit_length() if number > 0 else 0


def verdict_of(answer: JsonObject, packages: Mapping[str, str]) -> Verdict:
    """Return what an evaluator's answer comes to. A rule's denials stand unless an allow of the same rule lifts them.

    Args:
        answer: `decided` by package, and `errors`; nobody has checked it.
        packages: every package that must have decided, with its file.
    """
    decided = answer.get("decided") or {}
    errors = answer.get("errors") or []
    failed = {str(error.get("file")) for error in errors}
    objections = [_failed(str(error.get("file")), f"it fails at line {error.get('line')}") for error in errors]
    for package, file in packages.items():
        if package not in decided and file not in failed:
            objections.append(_failed(file, "who evaluates the rules does not have it"))
    reasons: list[tuple[str, JsonObject]] = []
    for package in sorted(decided):
        file = packages.get(package, f"{package}.rego")
        for reason in decided[package] if isinstance(decided[package], list) else [None]:
            if isinstance(reason, dict) and _is_reason(reason):
                reasons.append((file, reason))
            else:
                objections.append(_failed(file, "what it decides has not the form of a decision"))
    is_whole = not objections
    lifted = {(file, reason["rule"]) for file, reason in reasons if reason["effect"] == "allow"}
    notes = []
    for file, reason in sorted(reasons, key=lambda pair: (pair[0], *(pair[1][name] for name in _ORDER))):
        if reason["effect"] == "deny" and (file, reason["rule"]) not in lifted:
            objections.append(_objection(file, reason))
        else:
            effect = "lifted" if reason["effect"] == "deny" else reason["effect"]
            notes.append({**reason, "effect": effect, "file": f"policies/{file}"})
    return Verdict(tuple(objections), tuple(notes), is_whole)


def _is_reason(reason: JsonObject) -> bool:
    if set(reason) - {"param"} != _FIELDS or reason["effect"] not in _EFFECTS:
        return False
    return all(isinstance(text, str) and 0 < len(text) <= _LONGEST for text in reason.values())


def _objection(file: str, reason: JsonObject) -> Objection:
    rule, owner = reason["rule"], reason["owner"]
    hint = f"{reason['fix']} The rule {rule} belongs to {owner}."
    return Objection("policy_denied", reason["message"], hint, reason.get("param"), rule, owner, f"policies/{file}")


def _failed(file: str, why: str) -> Objection:
    place = file if file.startswith("policies") else f"policies/{file}"
    message = f"The rules in {place} could not decide, so the request is refused: {why}."
    return Objection("policy_denied", message, _ASK, file=place)
