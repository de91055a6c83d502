"""The catalog as entities of Backstage: a component an app, an API a preset, a resource a connector, one system.

Users and groups are named and not written: the organisation's own directory has them.
Source: Backstage, Descriptor Format of Catalog Entities (backstage.io/v1alpha1), read in November 2026.
"""

import re
from collections.abc import Iterator
from typing import Final

from llmguard.domain.catalog import App, AppStatus, Preset, Registry
from llmguard.domain.chat import JsonObject

_VERSION: Final = "backstage.io/v1alpha1"
_SYSTEM: Final = "llmguard"
_LIFECYCLES: Final[dict[AppStatus, str]] = {
    "draft": "experimental",
    "sandbox": "experimental",
    "approved": "production",
    "deprecated": "deprecated",
    "retired": "deprecated",
    "suspended": "deprecated",
}
_LONGEST_NAME: Final = 63
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NO_TAG: Final = re.compile(r"[^a-z0-9+#-]+")


def backstage_entities(registry: Registry) -> Iterator[JsonObject]:
    """Yield every entity, each kind in order of names; drafts are left out, since nobody is to find them."""
    apps = [app for _, app in sorted(registry.apps.items()) if app.status != "draft"]
    presets = [versions[-1] for _, versions in sorted(registry.presets.items())]
    owner = presets[0].owner if presets else "unknown"
    yield {
        "apiVersion": _VERSION,
        "kind": "System",
        "metadata": {"name": _SYSTEM, "description": "Apps that use language models through llmguard."},
        "spec": {"owner": _user(owner)},
    }
    yield from map(_component, apps)
    yield from map(_api, presets)
    for connector in sorted({name for app in apps for name in app.connectors} | set(registry.connectors)):
        yield _resource(registry, connector, owner)


def _component(app: App) -> JsonObject:
    presets = dict.fromkeys(reference.partition("@")[0] for reference in app.presets)
    spec: JsonObject = {
        "type": "micro-app",
        "lifecycle": _LIFECYCLES[app.status],
        "owner": f"group:default/{entity_name(app.team)}" if app.team else _user(app.owner),
        "system": _SYSTEM,
        "consumesApis": [f"api:default/{entity_name(name)}" for name in presets],
        "dependsOn": [f"resource:default/{entity_name(name)}" for name in app.connectors],
    }
    links = [{"url": app.runbook, "title": "Runbook"}] if app.runbook else []
    facts = {
        "status": app.status,
        "owner": app.owner,
        "backup-owner": app.backup_owner,
        "cost-center": app.cost_center,
        "sensitivity": app.sensitivity.label,
        "expires": app.last_day,
        "support": app.support,
        "ticket": app.ticket,
    }
    metadata: JsonObject = {
        "name": entity_name(app.name),
        "title": app.name,
        "annotations": {f"llmguard.dev/{name}": str(value) for name, value in facts.items() if value},
        "tags": [_NO_TAG.sub("-", app.sensitivity.label)],
    }
    if links:
        metadata["links"] = links
    return {"apiVersion": _VERSION, "kind": "Component", "metadata": metadata, "spec": _without_empty(spec)}


def _api(preset: Preset) -> JsonObject:
    retired = preset.status in {"deprecated", "retired"}
    return {
        "apiVersion": _VERSION,
        "kind": "API",
        "metadata": {"name": entity_name(preset.name), "title": preset.id, "description": preset.why},
        "spec": {
            "type": "llmguard-preset",
            "lifecycle": "deprecated" if retired else "experimental" if preset.status == "draft" else "production",
            "owner": _user(preset.owner),
            "system": _SYSTEM,
            "definition": f"POST /v1/{'embeddings' if preset.model.mode == 'embedding' else 'chat/completions'} with "
            f'"model": "{preset.name}"; GET /openapi.json of llmguard has the whole interface.',
        },
    }


def _resource(registry: Registry, name: str, owner: str) -> JsonObject:
    connector = registry.connectors.get(name)
    known = {} if connector is None else {"direction": connector.direction, "storage": connector.storage}
    metadata: JsonObject = {"name": entity_name(name), "title": name}
    if known:
        metadata["annotations"] = {f"llmguard.dev/{fact}": str(value) for fact, value in known.items()}
    return {
        "apiVersion": _VERSION,
        "kind": "Resource",
        "metadata": metadata,
        "spec": {"type": "connector", "owner": _user(owner), "system": _SYSTEM},
    }


def entity_name(text: str) -> str:
    """Return a text as a name of Backstage has to be: up to 63 letters, digits, `-`, `_` and `.`, not at its ends."""
    return _NO_NAME.sub("-", text)[:_LONGEST_NAME].strip("-_.") or "unnamed"


def _user(address: str) -> str:
    return f"user:default/{entity_name(address.partition('@')[0])}"


def _without_empty(spec: JsonObject) -> JsonObject:
    return {name: value for name, value in spec.items() if value != []}
