"""`llmguard presets`: what apps may put into `model`, and how two versions differ."""

import sys
from typing import Any

import click

from llmguard.catalog.facts import rule_json
from llmguard.cli.options import as_json_option, place_options, settings_from
from llmguard.cli.output import print_facts, print_rows
from llmguard.cli.registry_file import current_registry
from llmguard.domain.catalog import Preset, Registry

_COLUMNS = ("id", "status", "model", "owner", "digest", "why")
_DIFFERENT = 1


@click.group()
def command() -> None:
    """Look at presets and compare their versions."""


@command.command("list")
@as_json_option
@place_options
def list_presets(*, as_json: bool, **places: str | None) -> None:
    """List all versions of all presets."""
    registry = current_registry(settings_from("optional", **places))
    rows = [_facts(preset) for versions in registry.presets.values() for preset in versions]
    print_rows(rows, _COLUMNS, as_json=as_json, none="The registry has no presets.")


@command.command()
@click.argument("preset")
@as_json_option
@place_options
def show(*, preset: str, as_json: bool, **places: str | None) -> None:
    """Show PRESET (name@version, or its newest version by name)."""
    registry = current_registry(settings_from("optional", **places))
    print_facts(_facts(_find(registry, preset)), as_json=as_json)


@command.command()
@click.argument("first")
@click.argument("second")
@as_json_option
@place_options
def diff(*, first: str, second: str, as_json: bool, **places: str | None) -> None:
    """Show what differs between two presets; exits 1 when anything does."""
    registry = current_registry(settings_from("optional", **places))
    before, after = _facts(_find(registry, first)), _facts(_find(registry, second))
    rows = [
        {"setting": name, first: before[name], second: after[name]}
        for name in before
        if before[name] != after[name] and name not in ("id", "digest")
    ]
    print_rows(rows, ("setting", first, second), as_json=as_json, none="They are the same.")
    sys.exit(_DIFFERENT if rows else 0)


def _find(registry: Registry, name: str) -> Preset:
    stem, _, version = name.partition("@")
    for preset in reversed(registry.presets.get(stem, ())):
        if not version or str(preset.version) == version:
            return preset
    raise click.UsageError(f"There is no preset {name}. Presets: {', '.join(registry.presets)}.")


def _facts(preset: Preset) -> dict[str, Any]:
    return {
        "id": preset.id,
        "status": preset.status,
        "owner": preset.owner,
        "why": preset.why,
        "model": preset.model.name,
        "fallbacks": [model.name for model in preset.fallbacks],
        "system": preset.system,
        "parameters": {name: rule_json(rule) for name, rule in preset.parameters.items()},
        "tools": preset.tools,
        "images": preset.images,
        "redaction": preset.redaction,
        "response_filters": preset.response_filters,
        "on_violation": preset.on_violation,
        "sunset": preset.sunset,
        "successor": preset.successor,
        "digest": preset.digest,
    }
