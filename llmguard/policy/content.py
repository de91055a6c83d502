"""The preset's content rules: tools, images and other parts that are not text."""

from collections.abc import Iterator
from typing import Any

from llmguard.domain.catalog import Preset
from llmguard.domain.chat import ChatRequest
from llmguard.policy.parameters import Violation

_IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
_TEXT_PARTS = frozenset({"text", "refusal", "input_text", "output_text"})


def tool_violations(preset: Preset, request: ChatRequest) -> Iterator[Violation]:
    """Yield what the request asks of tools that the preset does not allow."""
    if preset.tools == "allowed":
        return
    parameters = request.parameters
    if preset.tools == "forbidden":
        for parameter in ("tools", "functions", "tool_choice", "function_call"):
            if _asks_for_tools(parameter, parameters.get(parameter)):
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
    """Yield the message parts that the preset does not allow: images, audio and files."""
    for index, message in enumerate(request.messages):
        content = message.get("content")
        if not isinstance(content, list):
            continue
        kinds = {str(part.get("type")) for part in content if isinstance(part, dict)}
        for kind in sorted(kinds - _TEXT_PARTS):
            if kind in _IMAGE_PARTS and preset.images == "allowed":
                continue
            what = "images" if kind in _IMAGE_PARTS else f"parts of the type {kind[:40]!r}"
            yield Violation(
                f"messages[{index}].content",
                f"the preset {preset.id} does not allow {what}: llmguard can only hide personal data in text",
                f"Send text only, or ask {preset.owner}, who owns the preset.",
            )


def _asks_for_tools(parameter: str, value: Any) -> bool:
    if parameter in ("tools", "functions"):
        return bool(value)
    return value not in (None, "none")


def _tool_names(parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for tool in parameters.get("tools") or ():
        yield "tools", _name_of(tool)
    for function in parameters.get("functions") or ():
        yield "functions", _name_of({"function": function})
    choice = parameters.get("tool_choice")
    if isinstance(choice, dict):
        yield "tool_choice", _name_of(choice)


def _name_of(tool: Any) -> str:
    """Return a tool's name; a tool without one (a provider's own, such as web search) goes by its type."""
    if not isinstance(tool, dict):
        return ""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("type")
    return str(name)
