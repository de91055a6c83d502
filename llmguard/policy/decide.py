"""Step 3, decide: the built-in rules, all at once over one request; refuses with every reason, knows no provider.

They judge the app (may it be used at all today, from this origin, with this model), the parameters, and the content of
the request. The CoE's own rules, in `judge.py`, come after them.
"""

import re
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

from llmguard.domain.catalog import App, Model, Preset
from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import Refusal, RefusalCode
from llmguard.domain.made_up import MADE_UP
from llmguard.policy.parameters import (
    MAX_TOKENS,
    PARAMETER,
    PREVIOUS_RESPONSE,
    TOOL_PARAMETERS,
    Violation,
    asks_nothing,
    is_keepable,
    keepable,
    settle_parameters,
    tool_names,
    tool_violations,
)

POLICY_DIGEST = "builtin-3"  # the rules in this package; raise it when a rule decides differently
_DEFAULT_OUTPUT_TOKENS = 4096  # the allowance where neither preset nor model names a limit: a quota needs one
# By the type of a part, or by what it carries: the setting of the preset that allows it, and the word for it.
_MEDIA_PARTS = {
    **dict.fromkeys(("image_url", "input_image", "image"), ("images", "images")),
    **dict.fromkeys(("input_audio", "audio"), ("audio", "sound")),
    **dict.fromkeys(("file", "input_file", "file_data"), ("files", "files")),
}
_MEDIA = ("image_url", "image", "input_audio", "audio", "file", "file_data", "video_url")
_KIND = re.compile(r"[a-z][a-z_]{0,39}")  # OpenAI's types look so; anything else could be somebody's data
_MODEL = re.compile(r"([a-z0-9._/:-]+)(?:@[1-9][0-9]{0,8})?")
_PLAIN_WORDS = frozenset({"none", "auto", "required", "default", "medium"})  # OpenAI's own, of built-in rules
_MOST_KEPT = 10**15
# In any text, and about nobody; all else that is found is confidential.
HARMLESS = frozenset({"LOCATION", "URL", "DATE_TIME", "ORGANIZATION"})
_TEXT_PARTS = frozenset({"text", "refusal", "input_text", "output_text"})


@dataclass(frozen=True, slots=True)
class Objection:
    """A reason against a request, with its code of the contract; a rule of the CoE has a name, an owner and a file."""

    code: RefusalCode
    message: str
    hint: str
    param: str | None = None
    rule: str | None = None
    owner: str | None = None
    file: str | None = None

    def as_json(self) -> JsonObject:
        """Return it as the trace keeps it."""
        reason: JsonObject = {"code": self.code, "message": self.message, "hint": self.hint, "param": self.param}
        if self.file is not None:
            reason |= {"rule": self.rule, "owner": self.owner, "file": self.file}
        return reason


class Decision(msgspec.Struct, frozen=True):
    """What was decided about a request.

    Attributes:
        parameters: what goes to the provider, with defaults; the output limit is always among them as `max_tokens`, but
            for embeddings, which have no output.
        adjusted: the parameters that were clamped, by the app's names for them.
        models: targets to try, in order; never empty when allowed.
        objections: every reason against the request; empty means allowed.
        asked: of a request that is not allowed: the parameters that it asked for, as far as traces may keep them.
    """

    parameters: JsonObject
    adjusted: tuple[str, ...]
    models: tuple[Model, ...]
    objections: tuple[Objection, ...]
    asked: JsonObject | None = None

    def as_json(self) -> JsonObject:
        """Return it as the trace keeps it: the outcome with all reasons."""
        asked: JsonObject = {"asked": {"parameters": self.asked}} if self.asked else {}
        return {
            **asked,
            "allowed": not self.objections,
            "adjusted": list(self.adjusted),
            "reasons": [reason.as_json() for reason in self.objections],
        }

    def enforce(self) -> None:
        """Raise the refusal with all reasons, if there is any: see `refuse`."""
        refuse(self.objections)


def refuse(objections: Sequence[Objection]) -> None:
    """Raise the refusal with all reasons, if there is any.

    Raises:
        Refusal: its code is that of the first reason; the message names them all.
    """
    if not objections:
        return
    raise Refusal(
        objections[0].code,
        " ".join(objection.message for objection in objections),
        hint=" ".join(dict.fromkeys(objection.hint for objection in objections)),
        param=objections[0].param,
    )


def check_app(app: App, *, today: date, origin: str | None) -> None:
    """Refuse an app that may not be used at all, before anything is read of what it asks.

    Raises:
        Refusal: app_not_approved, app_expired or origin_not_allowed, with all reasons.
    """
    objections = (*app_objections(app, today), *origin_objections(app, origin))
    refuse(objections)


def check_content(
    app: App, entities: Mapping[str, int], types_of_only: Callable[[re.Pattern[str]], Container[str]]
) -> None:
    """Refuse what was found in a request that this app may not send.

    Args:
        app: whose request it is.
        entities: what was found, by type.
        types_of_only: returns the types of which every value that was found matches a pattern.

    Raises:
        Refusal: content_blocked.
    """
    if app.status == "sandbox" and entities:
        made_up = types_of_only(MADE_UP)
        refuse(tuple(sandbox_objections(app, [kind for kind in entities if kind not in made_up])))


def decide(app: App, preset: Preset, request: ChatRequest) -> Decision:
    """Return what the rules say about this request; never raises, so that all reasons reach the trace."""
    settled = settle_parameters(preset, request.parameters, request.spoken)
    violations = (
        *settled.violations,
        *tool_violations(preset, request.parameters),
        *part_violations(preset, request),
        *state_violations(preset, request),
    )
    objections = [*target_objections(app, preset), *mode_objections(preset, request)]
    code: RefusalCode = "parameter_not_allowed"
    objections += [
        Objection(code, f"{violation.parameter}: {violation.message}.", violation.hint, violation.parameter)
        for violation in violations
    ]
    parameters = settled.parameters
    if MAX_TOKENS not in parameters and request.inputs is None:
        parameters[MAX_TOKENS] = default_output_tokens(preset)
    asked = keepable(request.parameters) if objections else None
    return Decision(parameters, settled.adjusted, allowed_models(app, preset), tuple(objections), asked)


def default_output_tokens(preset: Preset) -> int:
    """Return the output limit of requests that name none."""
    rule = preset.parameters.get(MAX_TOKENS) or preset.parameters.get("max_completion_tokens")
    if rule is not None and rule.maximum is not None:
        return int(rule.maximum)
    return preset.model.max_output_tokens or _DEFAULT_OUTPUT_TOKENS


def part_violations(preset: Preset, request: ChatRequest) -> Iterator[Violation]:
    """Yield the message parts that the preset does not allow: images, sound, files and what nobody knows."""
    for index, message in enumerate(request.messages):
        content = message.get("content")
        if not isinstance(content, list):
            continue
        for kind in _beyond_text(content):
            shown = f"parts of the type {kind!r}" if _KIND.fullmatch(kind) else "parts of a type that nobody knows"
            rule, what = _MEDIA_PARTS.get(kind, ("", shown))
            if rule and getattr(preset, rule) == "allowed":
                continue
            place = f"input[{index}]" if request.spoken else f"messages[{index}]"
            yield Violation(
                f"{place}.content",
                f"the preset {preset.id} does not allow {what}: llmguard can only hide personal data in text",
                f"Send text only, or ask {preset.owner}, who owns the preset.",
            )


def _beyond_text(content: list[Any]) -> list[str]:
    kinds = {kind for part in content if isinstance(part, dict) for kind in _kinds(part)}
    return sorted(kinds - _TEXT_PARTS)


def media_in(part: Any) -> set[str]:
    """Return which of images, audio and files a message part holds."""
    return {_MEDIA_PARTS[kind][0] for kind in _kinds(part) if kind in _MEDIA_PARTS} if isinstance(part, dict) else set()


def state_violations(preset: Preset, request: ChatRequest) -> Iterator[Violation]:
    """Yield an objection when a request goes on with a conversation that the provider has kept."""
    if preset.provider_state == "forbidden" and PREVIOUS_RESPONSE in request.parameters:
        yield Violation(
            PREVIOUS_RESPONSE,
            f"the preset {preset.id} does not let the provider keep conversations",
            f"Leave {PREVIOUS_RESPONSE} out and send the earlier messages again. Or ask {preset.owner}, who owns the "
            "preset, for one with provider_state: allowed.",
        )


def _kinds(part: dict[str, Any]) -> Iterator[str]:
    """Yield what a part is: by its type, and by what it carries, whatever its type says."""
    yield str(part.get("type"))
    yield from (medium for medium in _MEDIA if medium in part)


def app_objections(app: App, today: date) -> Iterator[Objection]:
    """Yield what stands against the app as a whole."""
    if app.contained_at is not None:
        yield Objection(
            "app_suspended",
            f"The app {app.name} was stopped on {app.contained_at:%d %B %Y at %H:%M} UTC.",
            f"Ask {_who_knows(app)}, or the CoE what happened. Only the CoE can start it again.",
        )
    elif app.status == "suspended":
        yield Objection(
            "app_suspended",
            f"The app {app.name} is suspended in the catalog.",
            f"Ask {_who_knows(app)}, or the CoE what happened to it.",
        )
    elif app.status in ("draft", "retired"):
        instead = f" Use instead: {app.instead}." if app.instead else ""
        yield Objection(
            "app_not_approved",
            f"The app {app.name} is {app.status} in the catalog.{instead}",
            f"Ask the CoE to approve it, or {_who_knows(app)}, what happened to it.",
        )
    if not app.has_owner:
        yield Objection(
            "app_ownerless",
            f"Nobody answers for the app {app.name}: it has no owner and no backup owner, or they have left.",
            "Ask the CoE to name a new owner in registry.yaml.",
        )
    if app.last_day is not None and app.last_day < today:
        yield _ended(app, app.last_day)


def _who_knows(app: App) -> str:
    return f"{app.owner}, who owns the app" if app.owner and app.has_owner else "whoever built the app"


def _ended(app: App, last_day: date) -> Objection:
    if app.last_day == app.expires:
        return Objection(
            "app_expired",
            f"The app {app.name} expired on {last_day:%d %B %Y}.",
            f"Ask {app.owner}, who owns the app, to renew it: `llmguard apps renew {app.name}`, or with the CoE.",
        )
    instead = f" Use instead: {app.instead}." if app.instead else ""
    return Objection(
        "app_expired",
        f"The app {app.name} was deprecated, and ended on {last_day:%d %B %Y}.{instead}",
        f"Ask {app.owner}, who owns the app, what to use instead.",
    )


def origin_objections(app: App, origin: str | None) -> Iterator[Objection]:
    """Yield an objection when a browser page calls that the catalog does not list for this app."""
    if origin is None or origin in app.origins:
        return
    listed = ", ".join(app.origins) or "none"
    yield Objection(
        "origin_not_allowed",
        f"The app {app.name} may not be called from this web page's origin. Origins in the catalog: {listed}.",
        f"Ask {app.owner}, who owns the app, to add the origin to `origins` in registry.yaml.",
    )


def target_objections(app: App, preset: Preset) -> Iterator[Objection]:
    """Yield an objection when the app's data is too sensitive for the preset's model, or a sandbox leaves the sand."""
    model = preset.model
    if app.sensitivity > model.max_sensitivity:
        yield Objection(
            "sensitivity_not_allowed",
            f"The app {app.name} handles {app.sensitivity.label} data, and the preset {preset.id} uses a model that is "
            f"approved up to {model.max_sensitivity.label}.",
            f"Use a preset for {app.sensitivity.label} data, or ask {preset.owner}, who owns the preset.",
            "model",
        )
    if app.status == "sandbox" and not any(target.is_for_sandbox for target in model.targets):
        yield Objection(
            "app_not_approved",
            f"The app {app.name} is in the sandbox, where only echo models, and those for the sandbox, answer.",
            f"Try it with such a preset, or ask the CoE to approve the app. Its owner is {app.owner}.",
            "model",
        )


def mode_objections(preset: Preset, request: ChatRequest) -> Iterator[Objection]:
    """Yield an objection when an endpoint for vectors meets a model for conversations, or the other way round."""
    wanted = "chat" if request.inputs is None else "embedding"
    if preset.model.mode != wanted:
        path = "POST /v1/embeddings" if wanted == "chat" else "POST /v1/chat/completions"
        yield Objection(
            "invalid_request",
            f"The preset {preset.id} is for {preset.model.mode}, and this endpoint is not.",
            f"Use {path} with it, or another preset here; GET /v1/models says what each is for.",
            "model",
        )


def allowed_models(app: App, preset: Preset) -> tuple[Model, ...]:
    """Return the targets to try in order: of the preset's model, then of fallbacks approved for this app's data."""
    models = (preset.model, *(model for model in preset.fallbacks if app.sensitivity <= model.max_sensitivity))
    targets = tuple(target for model in models for target in (model, *model.siblings))
    if app.status == "sandbox" and any(target.is_for_sandbox for target in targets):
        return tuple(target for target in targets if target.is_for_sandbox)
    return targets


def sandbox_objections(app: App, entities: Collection[str]) -> Iterator[Objection]:
    """Yield an objection when a request of an app in the sandbox carries personal data or secrets.

    Args:
        app: whose request it is.
        entities: types of what was found in it and is not made up.
    """
    found = sorted(set(entities) - HARMLESS)
    if found:
        yield Objection(
            "content_blocked",
            f"The app {app.name} is in the sandbox, where only made-up data may be used, and the request carries "
            f"{', '.join(found)}.",
            "Use made-up data: `llmguard sandbox data --rows 100`. For real data, ask the CoE to approve the app.",
            "messages",
        )


def asked_facts(request: ChatRequest, presets: Container[str], words: Container[Any]) -> JsonObject:
    """Return what the built-in rules go by, without any text of the request, so that it can be decided again later.

    Texts, structures and figures that could be about somebody are replaced by something of their kind, and so are
    unknown names.

    Args:
        request: as it was asked.
        presets: the names of all presets; another name in `model` is not repeated.
        words: texts and figures of the registry that a rule compares with; others are not repeated.
    """
    model = _MODEL.fullmatch(request.model)
    tools: dict[str, list[str]] = {}
    for parameter, name in () if TOOL_PARAMETERS.isdisjoint(request.parameters) else tool_names(request.parameters):
        tools.setdefault(parameter, []).append(name if name in words else "?")
    parameters: JsonObject = {}
    for name, value in request.parameters.items():
        shown = name if PARAMETER.fullmatch(name) else f"a field {len(parameters)}"
        parameters[shown] = _tools_without_text(name, tools[name]) if name in tools else _kept(name, value, words)
    beyond = {
        str(index): [kind if _KIND.fullmatch(kind) else "?" for kind in kinds]
        for index, message in enumerate(request.messages)
        if isinstance(content := message.get("content"), list) and (kinds := _beyond_text(content))
    }
    facts: JsonObject = {"model": request.model if model and model[1] in presets else None, "parameters": parameters}
    if request.spoken:
        facts["spoken"] = dict(request.spoken)
    if beyond:
        facts["parts"] = beyond
    if request.inputs is not None:
        facts["inputs"] = True
    return facts


def _tools_without_text(parameter: str, names: list[str]) -> Any:
    tools: list[JsonObject] = [{"type": "function", "function": {"name": name}} for name in names]
    if parameter == "functions":
        return [tool["function"] for tool in tools]
    if parameter == "function_call":
        return tools[0]["function"]
    return {"allowed_tools": {"tools": tools}} if parameter == "tool_choice" else tools


def _kept(name: str, value: Any, words: Container[Any]) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if value in words or is_keepable(name, value):
            return value
        return type(value)(float(f"{max(-_MOST_KEPT, min(_MOST_KEPT, value)):.1g}"))
    if isinstance(value, str):
        return value if value in words or value in _PLAIN_WORDS else "?"
    if not value or asks_nothing(name, value):
        return value
    return ["?"] if isinstance(value, list) else {"?": "?"}
