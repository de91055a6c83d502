"""What a rule of the CoE sees as `input`: facts about app, preset, request and time, never text.

The table below is the one description of it: the document is built by it, `docs/reference/policy-input.md` is written
from it, and a rule that speaks of anything else has a finding. Every field is always there: a rule over a field that
is missing would silently not apply.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from llmguard.domain.catalog import App, Connector, Preset, Registry
from llmguard.domain.chat import JsonObject


class RequestFacts(NamedTuple):
    """What rules see of a request. Figures are rounded up to powers of two, so that few facts differ.

    Attributes:
        entities: types of personal data with how often they were found, sorted by type.
    """

    endpoint: str
    stream: bool
    tools: tuple[str, ...]
    images: int
    audio: int
    files: int
    messages: int
    characters: int
    entities: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One field of the input document."""

    kind: str
    example: Any  # JSON
    meaning: str


_CONNECTOR: Final[dict[str, Fact]] = {
    "name": Fact("text", "sharepoint-read", "as the app names it"),
    "declared": Fact(
        "boolean",
        example=True,
        meaning="false: `connectors` of registry.yaml does not describe it; the worst is assumed",
    ),
    "direction": Fact("text", "read", "read, write or both"),
    "storage": Fact("text", "internal", "none, internal or external (outside of the organisation)"),
    "encrypted": Fact("boolean", example=True, meaning="whether what it stores is encrypted at rest"),
    "approved": Fact("text", "GOV-12", "the ticket that approved it"),
}
FACTS: Final[dict[str, dict[str, Fact]]] = {
    "app": {
        "name": Fact("text", "expense-triage", "the name in the catalog"),
        "owner": Fact("text", "dana@example.com", "who answers for the app"),
        "backup_owner": Fact("text", "lee@example.com", "who answers when the owner is away"),
        "team": Fact("text", "finance-ops", "the team it belongs to"),
        "cost_center": Fact("text", "4711", "who pays"),
        "status": Fact("text", "approved", "sandbox, approved or deprecated; others never come this far"),
        "ticket": Fact("text", "GOV-118", "where it was approved"),
        "sensitivity": Fact("text", "internal", "its class: public, internal, confidential or restricted"),
        "sensitivity_rank": Fact(
            "number", 1, "its class as a figure: public 0, internal 1, confidential 2, restricted 3"
        ),
        "expires": Fact("text", "2027-12-31", "last day of its approval"),
        "support": Fact("text", "business-hours", "when somebody helps"),
        "connectors": Fact("list of objects", [], "systems that it may reach; fields below"),
    },
    "preset": {
        "name": Fact("text", "summarise", "the name"),
        "version": Fact("number", 2, "the version"),
        "status": Fact("text", "approved", "approved or deprecated"),
        "owner": Fact("text", "coe@example.com", "who answers for the preset"),
        "redaction": Fact("text", "standard", "its redaction profile"),
        "model": Fact("text", "echo-1", "the approved model"),
        "model_class": Fact("text", "restricted", "the most sensitive data that the model may see"),
        "provider": Fact("text", "echo", "the provider of the model's first target"),
        "provider_kind": Fact("text", "echo", "echo, openai or litellm"),
        "fallbacks": Fact("list of texts", [], "models that may answer instead"),
    },
    "request": {
        "endpoint": Fact("text", "/v1/chat/completions", "the path it came in by"),
        "stream": Fact("boolean", example=False, meaning="whether the answer is streamed"),
        "tools": Fact(
            "list of texts", [], "names of the tools that it brings, sorted, each once; `?` for what is no plain name"
        ),
        "images": Fact("number", 0, "images in it; up to the next power of two"),
        "audio": Fact("number", 0, "sounds in it; up to the next power of two"),
        "files": Fact("number", 0, "files in it; up to the next power of two"),
        "messages": Fact("number", 1, "messages, or texts to embed; up to the next power of two"),
        "characters": Fact("number", 512, "characters of their texts; up to the next power of two"),
        "entities": Fact(
            "object of numbers", {}, "personal data that was found: type to how often, up to the next power of two"
        ),
    },
    "time": {
        "zone": Fact("text", "UTC", "the time zone of the app's quota, by which the following are"),
        "date": Fact("text", "2026-11-23", "year-month-day"),
        "weekday": Fact("text", "Monday", "in English"),
        "hour": Fact("number", 12, "0 to 23"),
    },
}


def input_document(
    registry: Registry, app: App, preset: Preset, request: RequestFacts, local: datetime
) -> dict[str, JsonObject]:
    """Return what rules see; `local` is the time in the app's time zone."""
    model = preset.model
    return {
        "app": {
            "name": app.name,
            "owner": app.owner,
            "backup_owner": app.backup_owner or "",
            "team": app.team or "",
            "cost_center": app.cost_center,
            "status": app.status,
            "ticket": app.ticket or "",
            "sensitivity": app.sensitivity.label,
            "sensitivity_rank": int(app.sensitivity),
            "expires": "" if app.expires is None else app.expires.isoformat(),
            "support": app.support or "",
            "connectors": [_connector(registry.connectors.get(name) or Connector(name)) for name in app.connectors],
        },
        "preset": {
            "name": preset.name,
            "version": preset.version,
            "status": preset.status,
            "owner": preset.owner,
            "redaction": preset.redaction,
            "model": model.name,
            "model_class": model.max_sensitivity.label,
            "provider": model.provider.name,
            "provider_kind": model.provider.kind,
            "fallbacks": [fallback.name for fallback in preset.fallbacks],
        },
        "request": request._asdict() | {"tools": list(request.tools), "entities": dict(request.entities)},
        "time": {
            "zone": app.quota.time_zone,
            "date": local.date().isoformat(),
            "weekday": f"{local:%A}",
            "hour": local.hour,
        },
    }


def example_document() -> dict[str, JsonObject]:
    """Return a whole input document, as cases of rules start from."""
    example = {part: {name: fact.example for name, fact in fields.items()} for part, fields in FACTS.items()}
    example["app"]["connectors"] = [{name: fact.example for name, fact in _CONNECTOR.items()}]
    return example


def known_paths() -> set[str]:
    """Return every path that a rule may write behind `input.`, such as `app.owner`."""
    return {*FACTS, *(f"{part}.{name}" for part, fields in FACTS.items() for name in fields)}


def described() -> Iterator[str]:
    """Yield the lines of docs/reference/policy-input.md that describe the fields."""
    tables = {f"input.{part}": fields for part, fields in FACTS.items()}
    for title, fields in (tables | {"each of input.app.connectors": _CONNECTOR}).items():
        yield from ("", f"## `{title}`" if title.startswith("input") else f"## {title}", "")
        yield from ("| field | kind | what it is |", "|---|---|---|")
        yield from (f"| `{name}` | {fact.kind} | {fact.meaning} |" for name, fact in fields.items())


def _connector(connector: Connector) -> JsonObject:
    return {name: getattr(connector, name) for name in _CONNECTOR}
