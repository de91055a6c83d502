"""A preset as people read it: what each setting allows, in words; how two versions differ; which apps use it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from llmguard.catalog.facts import whole
from llmguard.domain.catalog import App, ParameterRule, Preset, Registry, ToolsRule
from llmguard.domain.chat import JsonObject
from llmguard.policy.parameters import allowed_words
from llmguard.registry.resolve import usable_presets

Select = Callable[[str, JsonObject], list[JsonObject]]
_SINCE: Final = timedelta(days=30)
USE: Final = """
SELECT app, preset_version AS version, count(*) AS requests FROM traces
WHERE preset = $preset AND app IS NOT NULL AND started_at >= $since::TIMESTAMPTZ
GROUP BY ALL ORDER BY requests DESC, app, version
"""
_MEDIA: Final = ("images", "audio", "files")


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that two versions do not share; None: the version does not have it."""

    setting: str
    before: str | None
    after: str | None


def settings_of(preset: Preset) -> dict[str, str]:
    """Return every setting of a preset by name, in words."""
    settings = {
        "model": preset.model.name,
        "fallbacks": ", ".join(model.name for model in preset.fallbacks) or "none",
        "data up to": preset.model.max_sensitivity.label,
        "system prompt": preset.system or "none",
    }
    settings |= {f"parameter {name}": _parameter(rule) for name, rule in preset.parameters.items()}
    settings |= {"other parameters": ", ".join(preset.extra_parameters) or "refused"}
    settings |= {"tools": _tools(preset.tools)}
    settings |= {name: getattr(preset, name) for name in _MEDIA}
    return settings | {
        "conversations kept by the provider": preset.provider_state,
        "hidden": f"profile {preset.redaction}",
        "answers": ", ".join(preset.response_filters) or "as they come",
        "out of range": "refused" if preset.on_violation == "refuse" else "moved to the nearest limit",
        "out of quota": "refused" if preset.on_quota == "refuse" else "a shorter answer",
    }


def differences(before: Preset, after: Preset) -> list[Difference]:
    """Return what differs between two versions, in the order of the settings; why they are there comes last."""
    old, new = settings_of(before), settings_of(after)
    names = dict.fromkeys((*new, *old))
    found = [Difference(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]
    if before.why != after.why:
        found.append(Difference("why", before.why, after.why))
    return found


def recent_use(select: Select, name: str, now: datetime) -> list[JsonObject]:
    """Return who asked for a preset in the last 30 days: `app`, `version`, `requests`; the most first.

    Raises:
        TraceStoreError, TraceQueryError: the traces cannot be read now.
    """
    return select(USE, {"preset": name, "since": (now - _SINCE).isoformat()})


def users_of(registry: Registry, preset: Preset, today: date) -> list[App]:
    """Return the apps for which this version answers today, by name."""
    apps = sorted(registry.apps.values(), key=lambda app: app.name)
    return [app for app in apps if any(one.id == preset.id for one in usable_presets(registry, app, today=today))]


def _parameter(rule: ParameterRule) -> str:
    usual = "" if rule.default is None else f"; {whole(rule.default)} when it is left out"
    return allowed_words(rule) + usual


def _tools(rule: ToolsRule) -> str:
    return rule if isinstance(rule, str) else "only " + ", ".join(rule)
