"""Rules on the app (may it be used at all today, from this origin, with this model) and on the content of a request."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from llmguard.domain.catalog import App, Model, Preset
from llmguard.domain.chat import ChatRequest
from llmguard.domain.errors import RefusalCode
from llmguard.policy.parameters import PREVIOUS_RESPONSE, Violation, asks_for_tools

# By the type of a part, or by what it carries: the setting of the preset that allows it, and the word for it.
_MEDIA_PARTS = {
    **dict.fromkeys(("image_url", "input_image", "image"), ("images", "images")),
    **dict.fromkeys(("input_audio", "audio"), ("audio", "sound")),
    **dict.fromkeys(("file", "input_file", "file_data"), ("files", "files")),
}
_MEDIA = ("image_url", "image", "input_audio", "audio", "file", "file_data", "video_url")
_KIND = re.compile(r"[a-z][a-z_]{0,39}")  # OpenAI's types look so; anything else could be somebody's data
_TEXT_PARTS = frozenset({"text", "refusal", "input_text", "output_text"})


def tool_violations(preset: Preset, request: ChatRequest) -> Iterator[Violation]:
    """Yield what the request asks of tools that the preset does not allow."""
    if preset.tools == "allowed":
        return
    parameters = request.parameters
    if preset.tools == "forbidden":
        for parameter in ("tools", "functions", "tool_choice", "function_call", "parallel_tool_calls"):
            if asks_for_tools(parameters, parameter):
                yield Violation(
                    parameter,
                    f"the preset {preset.id} forbids tools",
                    f"Leave {parameter} out, or ask {preset.owner}, who owns the preset, for one with tools.",
                )
        return
    allowed = ", ".join(preset.tools)
    for parameter, name in _tool_names(parameters):
        if name not in preset.tools:
            yield Violation(
                parameter,
                f"the preset {preset.id} allows the tools {allowed}, and another one was sent",
                f"Send only {allowed}, or ask {preset.owner}, who owns the preset, to add the tool.",
            )


def part_violations(preset: Preset, request: ChatRequest) -> Iterator[Violation]:
    """Yield the message parts that the preset does not allow: images, sound, files and what nobody knows."""
    for index, message in enumerate(request.messages):
        content = message.get("content")
        if not isinstance(content, list):
            continue
        kinds = {kind for part in content if isinstance(part, dict) for kind in _kinds(part)}
        for kind in sorted(kinds - _TEXT_PARTS):
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


def _tool_names(parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for tool in parameters.get("tools") or ():
        yield "tools", _name_of(tool)
    for function in parameters.get("functions") or ():
        yield "functions", _name_of({"type": "function", "function": function})
    choice = parameters.get("tool_choice")
    if isinstance(choice, dict):
        listed = choice.get("allowed_tools")
        tools = listed.get("tools") if isinstance(listed, dict) else [choice]
        for tool in tools if isinstance(tools, list) else [tools]:
            yield "tool_choice", _name_of(tool)
    called = parameters.get("function_call")
    if isinstance(called, dict):
        yield "function_call", _name_of({"type": "function", "function": called})


def _name_of(tool: Any) -> str:
    """Return a tool's name; a tool of the provider's own, such as web search, goes by its type.

    A tool that says more of itself than its type has room for has no name here, so that no list allows it.
    """
    if not isinstance(tool, dict):
        return ""
    kind = tool.get("type", "function")
    if kind in ("function", "custom"):
        body = tool.get(kind)
        return str(body.get("name")) if isinstance(body, dict) and set(tool) <= {"type", kind} else ""
    return str(kind) if set(tool) == {"type"} else ""


@dataclass(frozen=True, slots=True)
class Objection:
    """A reason against a request, with its code of the contract."""

    code: RefusalCode
    message: str
    hint: str
    param: str | None = None


def app_objections(app: App, today: date) -> Iterator[Objection]:
    """Yield what stands against the app as a whole."""
    if app.status in ("draft", "suspended", "retired"):
        yield Objection(
            "app_not_approved",
            f"The app {app.name} is {app.status} in the catalog.",
            f"Ask the CoE to approve it, or {app.owner}, who owns the app, what happened to it.",
        )
    if app.expires is not None and app.expires < today:
        yield Objection(
            "app_expired",
            f"The app {app.name} expired on {app.expires:%d %B %Y}.",
            f"Ask {app.owner}, who owns the app, to renew it with the CoE.",
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
    if app.status == "sandbox" and all(target.provider.kind != "echo" for target in (model, *model.siblings)):
        yield Objection(
            "app_not_approved",
            f"The app {app.name} is still in the sandbox, where only presets with the echo model answer.",
            f"Try it with an echo preset, or ask the CoE to approve the app. Its owner is {app.owner}.",
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
    if app.status == "sandbox" and any(target.provider.kind == "echo" for target in targets):
        return tuple(target for target in targets if target.provider.kind == "echo")
    return targets
