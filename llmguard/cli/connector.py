"""`llmguard connector`: what other tools import to call a preset: no key in it, and no choice of models."""

import json
from collections.abc import Callable
from pathlib import Path

import click

from llmguard.catalog.connectors import n8n, postman, power_platform
from llmguard.catalog.connectors.contract import BaseUrlInvalid, Contract, checked_base_url
from llmguard.catalog.connectors.openapi import openapi
from llmguard.cli.main import fail
from llmguard.cli.options import place_options, settings_from
from llmguard.cli.registry_file import current_registry, known_app
from llmguard.domain.catalog import App, Preset, Registry
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import SystemClock
from llmguard.policy.decide import app_objections, target_objections
from llmguard.registry.resolve import resolve_preset, usable_presets
from llmguard.settings import Settings

_FORMATS: dict[str, Callable[[Contract], JsonObject]] = {
    "openapi": openapi,
    "power-platform": lambda contract: {
        "apiDefinition.swagger.json": power_platform.api_definition(contract),
        "apiProperties.json": power_platform.api_properties(),
    },
    "n8n": n8n.workflow,
    "postman": postman.collection,
}


@click.group()
def command() -> None:
    """Write connectors for other tools."""


@command.command()
@click.argument("app")
@click.option("--for", "tool", type=click.Choice(list(_FORMATS)), required=True, help="The tool that imports it.")
@click.option("--preset", help="The preset; needed when the app may use more than one.")
@click.option("--base-url", help="Where the tool reaches llmguard, such as https://llmguard.example.com/v1.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write; for power-platform a folder. Default: print it.",
)
@place_options
def export(
    *, app: str, tool: str, preset: str | None, base_url: str | None, output: Path | None, **places: str | None
) -> None:
    """Write a connector of APP for one of its presets. It holds no key; the tool asks for it."""
    settings = settings_from("optional", **places)
    registry = current_registry(settings)
    contract = _contract(settings, registry, known_app(registry, app), preset, base_url)
    written = _FORMATS[tool](contract)
    if output is None:
        click.echo(_text(written), nl=False)
    elif tool == "power-platform":
        for name, content in written.items():
            _write(output / name, _text(content))
    else:
        _write(output, _text(written))


def _contract(
    settings: Settings, registry: Registry, app: App, preset_name: str | None, base_url: str | None
) -> Contract:
    try:
        base = checked_base_url(base_url or f"http://{_host(settings.host)}:{settings.port}/v1")
    except BaseUrlInvalid as error:
        raise click.UsageError(str(error)) from None
    name = preset_name or _only_preset(registry, app)
    today = SystemClock().now().date()
    preset = resolve_preset(registry, app, name, today=today)
    for objection in (*app_objections(app, today), *target_objections(app, preset)):
        click.echo(
            f"Until this is settled, the connector gets no answer: {objection.message} {objection.hint}", err=True
        )
    return Contract(app, preset, name, base)


def _only_preset(registry: Registry, app: App) -> str:
    usable: tuple[Preset, ...] = usable_presets(registry, app, today=SystemClock().now().date())
    if len(usable) != 1:
        names = ", ".join(preset.name for preset in usable) or "none"
        raise click.UsageError(f"Name the preset with --preset. {app.name} may use: {names}.")
    return usable[0].name


def _host(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared
    return f"[{host}]" if ":" in host else host


def _text(content: JsonObject) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}.")
    click.echo(f"Wrote {path}.", err=True)
