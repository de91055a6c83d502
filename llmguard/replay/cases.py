"""Regression cases: traces kept as YAML files beside the registry, and asked again of every registry that follows.

A case holds the redacted request as the app made it, without what its preset adds, so that the newest version that the
app gets is judged. What it expects is what the trace says; an expectation that is deleted from the file is not checked.
The same trace gives the same bytes.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from llmguard.domain.catalog import App, Model, Preset, Registry
from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.errors import GuardError, Refusal
from llmguard.policy.decide import check_app, decide
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.resolve import resolve_preset
from llmguard.registry.yaml_text import NotYaml, read_yaml
from llmguard.replay.difference import ToolCall
from llmguard.replay.errors import CannotReplay
from llmguard.replay.stored import Stored, preset_then, request_then, require_sent, without_defaults

_OK: Final = 200
_RARE_BREAKS: Final = frozenset("\x85\u2028\u2029")  # Source: YAML 1.1, 4.2, line breaks that YAML 1.2 dropped
_HEAD: Final = """\
# A trace kept as a regression case: `llmguard check --cases` asks it of the registry as it is now.
# The request is redacted. What is deleted under `expect` is not checked.
"""
# Refusals that the registry alone decides, on what the trace of a refused request keeps.
_BY_APP: Final = frozenset({"app_not_approved", "app_suspended", "app_ownerless", "app_expired"})
_BY_PRESET: Final = frozenset({"preset_not_allowed", "preset_retired", "model_not_found", "sensitivity_not_allowed"})


class CaseInvalid(Exception):
    """A file is no case; the message names it and says why."""


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must come of it. None: not checked."""

    status: int | None = None
    code: str | None = None
    text: list[str] | None = None
    tool_calls: list[JsonObject] | None = None


class CaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The app's redacted request; `model` is the preset as the app asks for it."""

    model: str | None
    parameters: JsonObject = {}
    stream: bool = False
    messages: list[JsonObject] = []
    inputs: list[str] | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file."""

    case: int
    trace: str
    app: str
    endpoint: str
    decided_by: str | None
    request: CaseRequest
    expect: Expected


@dataclass(frozen=True, slots=True)
class Judged:
    """What today's registry decides about a case.

    Attributes:
        preset: that the app gets for it now; None if it is refused before.
        status: what the app would be answered, before any model is asked.
        code: of the refusal; None if it is let through.
        message: of the refusal.
        problems: how it is not what the case expects; empty if it is.
    """

    preset: Preset | None
    status: int
    code: str | None
    message: str | None
    problems: tuple[str, ...]


def case_of(stored: Stored, registry: Registry, accepted: AcceptedRegistries) -> Case:
    """Return the case that a trace makes.

    Raises:
        CannotReplay: its outcome depends on what is not kept, such as a text that was blocked.
    """
    row = stored.row
    is_refused = stored.sent is None
    request = _refused(stored) if is_refused else _answered(stored, registry, accepted)
    answer = stored.answer
    is_whole = row["status"] == _OK and request.inputs is None
    expected = Expected(
        status=row["status"] if is_refused else _OK,  # what the registry decided, whatever became of it at the provider
        code=row["code"] if is_refused else None,
        text=list(answer.texts) if is_whole else None,
        tool_calls=[_shown(call) for call in answer.tool_calls] if is_whole else None,
    )
    return Case(
        case=1,
        trace=stored.trace_id,
        app=str(row["app"]),
        endpoint=row["endpoint"],
        decided_by=stored.preset_id,
        request=request,
        expect=expected,
    )


def write_case(folder: Path, case: Case) -> Path:
    """Write a case into a folder, under its trace id, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    text.write(_HEAD)
    _yaml().dump(_quoted(msgspec.to_builtins(case)), text)
    path = folder / f"{case.trace}.yaml"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def read_cases(folder: Path) -> Iterator[tuple[Path, Case]]:
    """Yield the cases of a folder by name.

    Raises:
        CaseInvalid: one of its files is none.
    """
    for path in sorted(folder.glob("*.yaml")):
        try:
            yield path, msgspec.convert(read_yaml(path.read_text(encoding="utf-8")), Case)
        except (NotYaml, YAMLError, UnicodeDecodeError, OSError, msgspec.ValidationError) as error:
            raise CaseInvalid(f"{path} is no case: {error}") from None


def judge(case: Case, registry: Registry, today: date) -> Judged:
    """Return what a registry decides about a case, without asking any model."""
    preset: Preset | None = None
    try:
        app = _app(case, registry)
        check_app(app, today=today, origin=None)
        if case.request.model is not None:
            preset = resolve_preset(registry, app, case.request.model, today=today)
            decide(app, preset, request_of(case)).enforce()
        status, code, message = _OK, None, None
    except GuardError as error:
        status, code, message = error.status, error.code, error.message
    wanted = case.expect
    problems = []
    if wanted.status is not None and (wanted.status, wanted.code) != (status, code):
        now, then = (
            f"{number} {word or ''}".strip() for number, word in ((status, code), (wanted.status, wanted.code))
        )
        problems.append(f"it is decided {now}, and {then} is expected{'' if message is None else f': {message}'}")
    return Judged(preset, status, code, message, tuple(problems))


def request_of(case: Case) -> ChatRequest:
    """Return the request of a case."""
    asked = case.request
    return ChatRequest(
        endpoint=case.endpoint,
        model=asked.model or "",
        messages=asked.messages,
        stream=asked.stream,
        include_usage=True,
        parameters=asked.parameters,
        inputs=asked.inputs,
    )


def answer_problems(case: Case, texts: tuple[str, ...], tool_calls: tuple[ToolCall, ...]) -> Iterator[str]:
    """Yield how an answer is not what a case expects."""
    if case.expect.text is not None and tuple(case.expect.text) != texts:
        yield "its text differs from the one that is expected"
    if case.expect.tool_calls is not None and case.expect.tool_calls != [_shown(call) for call in tool_calls]:
        yield "its tool calls differ from those that are expected"


def _answered(stored: Stored, registry: Registry, accepted: AcceptedRegistries) -> CaseRequest:
    """Return the app's part of what was sent."""
    sent = require_sent(stored)
    then = preset_then(stored, registry, accepted, _any_model(registry))
    asked = without_defaults(request_then(sent, stored, then), then)
    return CaseRequest(
        model=(stored.decision.get("asked") or {}).get("model")
        or then.name,  # with a version only if the app named one
        parameters=asked.parameters,
        stream=asked.stream,
        messages=asked.messages,
        inputs=asked.inputs,
    )


def _refused(stored: Stored) -> CaseRequest:
    """Return what the trace of a refused request keeps of it, if that is what it was refused for.

    Raises:
        CannotReplay: it is not.
    """
    code, asked = str(stored.row["code"]), stored.decision.get("asked") or {}
    parameters = asked.get("parameters") or {}
    named = {reason.get("param") for reason in stored.decision.get("reasons") or ()}
    if code in _BY_APP and stored.preset_id is None and "model" not in asked:
        return CaseRequest(model=None)
    if code in _BY_PRESET | _BY_APP and ("model" in asked or stored.preset_id is not None):
        return CaseRequest(model=asked.get("model") or stored.row["preset"], parameters=parameters)
    if code == "parameter_not_allowed" and named <= set(parameters):
        return CaseRequest(model=stored.row["preset"], parameters=parameters)
    raise CannotReplay(
        f"It was refused with {code} for something that its trace does not keep (texts, keys, quotas, or parameters "
        "that are no short numbers), so it cannot be decided again. Redaction has its own cases, in redaction/cases.",
        is_final=True,
    )


def _app(case: Case, registry: Registry) -> App:
    app = registry.apps.get(case.app)
    if app is None:
        raise Refusal("app_not_approved", f"There is no app {case.app} in the catalog.")
    return app


def _any_model(registry: Registry) -> Model:
    """Return a model for a preset of which only the app's part matters."""
    return next(iter(registry.models.values()))


def _shown(call: ToolCall) -> JsonObject:
    return {"choice": call.choice, "name": call.name, "arguments": call.arguments}


def _quoted(node: Any) -> Any:  # JSON of any shape
    """Return the same with quotes around texts that hold line breaks which YAML would read as blanks."""
    if isinstance(node, dict):
        return {_quoted(key): _quoted(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_quoted(item) for item in node]
    if isinstance(node, str) and not _RARE_BREAKS.isdisjoint(node):
        return DoubleQuotedScalarString(node)
    return node


def _yaml() -> YAML:
    yaml: Any = YAML()  # Any: the library has no types for its settings
    yaml.default_flow_style = False
    yaml.width = 1_000_000
    yaml.allow_unicode = True
    return yaml  # type: ignore[no-any-return]  # as above
