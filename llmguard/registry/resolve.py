"""Step 2, resolve: what an app asks for in `model` becomes one preset version, or a refusal in plain words."""

import difflib
import re
from collections.abc import Sequence
from datetime import date
from typing import Final

from llmguard.domain.catalog import App, Preset, Registry
from llmguard.domain.errors import Refusal

_VERSIONED: Final = re.compile(r"([^@]+)@([1-9][0-9]{0,8})")
# What a caller typed is repeated only if it can be a model's name: small letters first, no long number, no address.
_REPEATABLE: Final = re.compile(r"(?!.*\d{6})[a-z][a-z0-9._:/-]{0,63}(?:@\d{1,5})?")


def resolve_preset(registry: Registry, app: App, model: str, *, today: date) -> Preset:
    """Return the preset version that an app means.

    `name` is the newest approved version that the app may use, else the newest deprecated one; `name@2` is that
    version. A deprecated version works up to and with its sunset.

    Args:
        registry: what the CoE decides.
        app: who asks.
        model: what the app put into `model`.
        today: the day in UTC.

    Raises:
        Refusal: model_not_found, preset_not_allowed or preset_retired.
    """
    name, version = split_model_name(model)
    versions = registry.presets.get(name, ())
    if not versions:
        raise _unknown(registry, app, model, today)
    if version is not None and all(preset.version != version for preset in versions):
        raise _unknown_version(registry, app, versions, version, today)
    listed = [preset for preset in versions if _is_listed(app, preset) and version in (None, preset.version)]
    if not listed:
        raise _not_listed(registry, app, model, today)
    chosen = _newest_usable(listed, today)
    if chosen is None:
        raise _not_usable(registry, app, listed, today)
    return chosen


def usable_presets(registry: Registry, app: App, *, today: date) -> tuple[Preset, ...]:
    """Return what each preset name resolves to for this app, by name; names that are refused are left out."""
    chosen = (
        _newest_usable([preset for preset in versions if _is_listed(app, preset)], today)
        for _, versions in sorted(registry.presets.items())
    )
    return tuple(preset for preset in chosen if preset is not None)


def split_model_name(model: str) -> tuple[str, int | None]:
    """Return name and version of `name@version`; anything else is a name, which may well be unknown."""
    match = _VERSIONED.fullmatch(model)
    return (match[1], int(match[2])) if match else (model, None)


def _is_listed(app: App, preset: Preset) -> bool:
    return preset.name in app.presets or preset.id in app.presets


def _newest_usable(versions: Sequence[Preset], today: date) -> Preset | None:
    for status in ("approved", "deprecated"):
        usable = [preset for preset in versions if preset.status == status and not _is_past(preset, today)]
        if usable:
            return max(usable, key=lambda preset: preset.version)
    return None


def _is_past(preset: Preset, today: date) -> bool:
    return preset.status == "deprecated" and preset.sunset is not None and preset.sunset < today


def _unknown(registry: Registry, app: App, model: str, today: date) -> Refusal:
    asked = f"'{model}'" if _REPEATABLE.fullmatch(model) else "what was asked for"
    if model in registry.models:
        what = f"{asked} is a model. Apps do not choose models but presets, which the CoE has approved."
    else:
        what = f"There is no preset named {asked}." if asked.startswith("'") else "There is no preset of that name."
    names = [preset.name for preset in usable_presets(registry, app, today=today)]
    near = difflib.get_close_matches(model.partition("@")[0].lower(), names, n=1)
    meant = f" Did you mean '{near[0]}'?" if near else ""
    return Refusal("model_not_found", f"{what}{meant} {_may_use(app, names)}", hint=_hint(app, names), param="model")


def _unknown_version(registry: Registry, app: App, versions: Sequence[Preset], version: int, today: date) -> Refusal:
    name = versions[0].name
    there = ", ".join(str(preset.version) for preset in versions if preset.status != "draft") or "none that is approved"
    names = [preset.name for preset in usable_presets(registry, app, today=today)]
    message = f"The preset {name} has no version {version}; its versions are: {there}. {_may_use(app, names)}"
    hint = f"Write '{name}' for the newest approved version." if name in names else _hint(app, names)
    return Refusal("model_not_found", message, hint=hint, param="model")


def _not_listed(registry: Registry, app: App, model: str, today: date) -> Refusal:
    names = [preset.name for preset in usable_presets(registry, app, today=today)]
    message = f"The app {app.name} may not use the preset {model}. {_may_use(app, names)}"
    return Refusal("preset_not_allowed", message, hint=_hint(app, names), param="model")


def _not_usable(registry: Registry, app: App, versions: Sequence[Preset], today: date) -> Refusal:
    """Refuse versions that the app is listed for, none of which works: the newest that ever did explains it."""
    names = [preset.name for preset in usable_presets(registry, app, today=today)]
    ended = [preset for preset in versions if preset.status != "draft"]
    if not ended:
        newest = versions[-1]
        message = f"The preset {newest.id} is a draft: nobody may use it before it is approved. {_may_use(app, names)}"
        hint = f"Ask {newest.owner}, who owns the preset, when it will be approved."
        return Refusal("preset_not_allowed", message, hint=hint, param="model")
    preset = ended[-1]
    when = f"was retired on {preset.sunset.isoformat()}" if _is_past(preset, today) and preset.sunset else "is retired"
    successor = preset.successor or next((name for name in names if name == preset.name), None)
    instead = f"Its successor is {successor}." if successor else _may_use(app, names)
    use = f"Put '{successor}' into `model`, or ask" if successor else "Ask"
    hint = f"{use} {preset.owner}, who owns the preset, what to use instead."
    return Refusal("preset_retired", f"The preset {preset.id} {when}. {instead}", hint=hint, param="model")


def _may_use(app: App, names: Sequence[str]) -> str:
    return f"{app.name} may use: {', '.join(names)}." if names else f"{app.name} may use no preset at present."


def _hint(app: App, names: Sequence[str]) -> str:
    ask = f"sk {app.owner}, who owns the app, to have the CoE list the preset for {app.name} in registry.yaml."
    return f"Put '{names[0]}' or another preset of this app into `model`, or a{ask}" if names else f"A{ask}"
