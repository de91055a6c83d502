"""What a live replay sends, and whether today's registry lets that data go there. Pure, but for the registries kept.

The rules that protect data hold as of today: a model must be in today's registry and be approved for what the app's
data is, then or now, whichever is more; the data of an app that may not be used today leaves for no provider. The
limits of a preset on parameters hold where another preset is tried, and say what the app would be told.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

import msgspec

from llmguard.domain.catalog import App, Model, Preset, Quota, Registry, Sensitivity
from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.policy.decide import Decision, app_objections, decide
from llmguard.redaction.placeholders import placeholders_in
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.resolve import resolve_preset, split_model_name
from llmguard.replay.cases import Case, request_of
from llmguard.replay.errors import CannotReplay
from llmguard.replay.stored import Stored, preset_then, request_then, require_sent, without_defaults


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked differently from then; None is as it was.

    Attributes:
        preset: `name@version`, or a name for its newest version; drafts too.
        model: of today's registry.
        temperature: in place of what was sent.
        seed: the same.
    """

    preset: str | None = None
    model: str | None = None
    temperature: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One request that may be sent.

    Attributes:
        trace_id: of the trace it comes from.
        app: whose request it was, as sensitive as its data is: placeholders are an app's own, and rules look at it.
        request: the app's redacted request, with the parameters to send.
        preset: with the model that answers, and no other.
        decision: what the rules say; not allowed where the preset that is tried refuses the request.
        redacted_by: profile and digest of the rules that the request was redacted by; None if that is not known.
        entities: what was hidden in the request, by type.
    """

    trace_id: str
    app: App
    request: ChatRequest
    preset: Preset
    decision: Decision
    redacted_by: tuple[str, str | None] | None
    entities: Mapping[str, int]


def plan(stored: Stored, choice: Choice, registry: Registry, accepted: AcceptedRegistries, today: date) -> Plan:
    """Return what to send for a trace.

    Raises:
        CannotReplay: there is nothing to send, what was chosen does not exist, or the data may not go there.
    """
    sent = require_sent(stored)
    chosen = None if choice.preset is None else _preset(registry, choice.preset)
    model = _model(stored, sent, choice, chosen, registry)
    app = app_then(stored, registry, accepted)
    check_model(app, model, registry, today=today, wants_vectors="messages" not in sent)
    then = preset_then(stored, registry, accepted, model)
    request = request_then(sent, stored, then)
    redacted_by = (then.redaction, stored.row["redaction_digest"])
    entities = stored.row["entities"] or {}
    if chosen is None:
        parameters, changed = _changed(request.parameters, choice)
        decision = Decision(parameters, changed, (model,), ())
        asked = request._replace(parameters=parameters)
        return Plan(stored.trace_id, app, asked, then, decision, redacted_by, entities)
    preset = replace(chosen, model=model, fallbacks=())
    asked = without_defaults(request, then)._replace(model=preset.name)
    decision = decide(app, preset, asked)
    parameters, changed = _changed(decision.parameters, choice)
    decision = msgspec.structs.replace(
        decision, parameters=parameters, adjusted=(*decision.adjusted, *changed), models=(model,)
    )
    asked = asked._replace(parameters=parameters)
    return Plan(stored.trace_id, app, asked, preset, decision, redacted_by, entities)


def plan_case(case: Case, registry: Registry, today: date) -> Plan:
    """Return what to send for a case: the request as its app would make it today.

    Raises:
        Refusal: the registry decides against it.
        CannotReplay: a refused request has no text to send, or the data may not go there.
    """
    app = registry.apps.get(case.app)
    if app is None or case.request.model is None or not (case.request.messages or case.request.inputs):
        raise CannotReplay("The case has no request to send.", is_final=True)
    preset = resolve_preset(registry, app, case.request.model, today=today)
    preset = replace(preset, fallbacks=())
    check_model(app, preset.model, registry, today=today, wants_vectors=case.request.inputs is not None)
    request = request_of(case)
    decision = msgspec.structs.replace(decide(app, preset, request), models=(preset.model,))
    hidden = Counter(kind for _, _, kind in placeholders_in(msgspec.json.encode(case.request).decode()))
    asked = request._replace(parameters=decision.parameters)
    return Plan(case.trace, app, asked, preset, decision, None, hidden)


def app_then(stored: Stored, registry: Registry, accepted: AcceptedRegistries) -> App:
    """Return the app of a trace as of today, with the more sensitive of its data then and now."""
    row = stored.row
    name = str(row["app"])
    content = accepted.content(str(row["registry_digest"]))
    word = str(content.get("apps", {}).get(name, {}).get("sensitivity", ""))
    then = Sensitivity.__members__.get(word.upper())
    app = registry.apps.get(name)
    if app is None:  # what nobody answers for any more is treated as the most sensitive there is
        owner, cost_center = str(row["owner"]), str(row["cost_center"])
        app = App(name, owner, "retired", Sensitivity.RESTRICTED, (), Quota(), cost_center)
    return replace(app, sensitivity=max(app.sensitivity, then if then is not None else app.sensitivity))


def check_model(app: App, model: Model, registry: Registry, *, today: date, wants_vectors: bool) -> None:
    """Do nothing if an app's data may go to a model today.

    Raises:
        CannotReplay: it may not; names the models to which it may.
    """
    mode = "embedding" if wants_vectors else "chat"
    other = ", ".join(_alternatives(app, registry, mode, today)) or "none"
    instead = f"Try another with --model or --preset; models that may see this data today: {other}."
    if model.mode != mode:
        raise CannotReplay(f"The model {model.name} is for {model.mode}, and this request is not. {instead}")
    if app.sensitivity > model.max_sensitivity:
        raise CannotReplay(
            f"The data of {app.name} is {app.sensitivity.label}, and the model {model.name} is approved up to "
            f"{model.max_sensitivity.label} today. {instead}"
        )
    if model.provider.kind != "echo" and (words := _only_echo(app, today)):
        raise CannotReplay(f"{words} Its data leaves for no provider until the CoE approves it again. {instead}")


def _alternatives(app: App, registry: Registry, mode: str, today: date) -> Iterator[str]:
    only_echo = _only_echo(app, today)
    for model in registry.models.values():
        is_open = not only_echo or model.provider.kind == "echo"
        if model.mode == mode and app.sensitivity <= model.max_sensitivity and is_open:
            yield model.name


def _only_echo(app: App, today: date) -> str:
    """Return why an app's data may not leave for a provider today; nothing if it may."""
    if app.status == "sandbox":
        return f"The app {app.name} is in the sandbox."
    return " ".join(objection.message for objection in app_objections(app, today))


def _preset(registry: Registry, asked: str) -> Preset:
    name, version = split_model_name(asked)
    versions = registry.presets.get(name, ())
    found = [preset for preset in versions if version in (None, preset.version)]
    if not found:
        there = ", ".join(preset.id for versions in registry.presets.values() for preset in versions)
        raise CannotReplay(f"There is no preset {asked} in registry.yaml. There is: {there}.")
    return found[-1]


def _model(stored: Stored, sent: JsonObject, choice: Choice, chosen: Preset | None, registry: Registry) -> Model:
    """Return the model to ask: the one that was chosen, or today's entry of the target that was asked then."""
    if choice.model is not None:
        if choice.model not in registry.models:
            raise CannotReplay(
                f"There is no model {choice.model} in registry.yaml. There is: {', '.join(registry.models)}."
            )
        return registry.models[choice.model]
    if chosen is not None:
        return chosen.model
    row = stored.row
    targets = [target for model in registry.models.values() for target in model.targets]
    same = [one for one in targets if (one.provider.name, one.target) == (row["provider"], sent.get("model"))]
    found = next((one for one in same if one.name == row["model"]), next(iter(same), None))
    if found is None:
        raise CannotReplay(
            f"{sent.get('model')} at {row['provider']}, which was asked then, is no approved model any more. Try "
            f"another with --model or --preset; there is: {', '.join(registry.models)}."
        )
    return found


def _changed(parameters: JsonObject, choice: Choice) -> tuple[JsonObject, tuple[str, ...]]:
    """Return the parameters with what is chosen in their place, and the names of those."""
    chosen = {"temperature": choice.temperature, "seed": choice.seed}
    given = {name: value for name, value in chosen.items() if value is not None}
    return parameters | given, tuple(given)
