"""Digests that depend on what is said and not on how it is written."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmguard.registry.entries import PresetEntry
from llmguard.registry.parameters import MAX_COMPLETION_TOKENS, MAX_TOKENS


@dataclass(frozen=True, slots=True)
class Target:
    """One place where a model of the registry answers, as far as the behaviour of a preset depends on it."""

    provider: str
    kind: str
    target: str


def content_digest(content: dict[str, Any]) -> str:
    """Return the SHA-256, in hex, of plain content in canonical form: no order of keys, no comments, 1.0 is 1."""
    text = json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def preset_digest(preset: PresetEntry, targets_of: Callable[[str], list[Target]]) -> str:
    """Return the digest of what decides how a preset version behaves; two versions that behave alike share it.

    In: the targets that its model and fallbacks stand for, parameters, system prompt, tools, media, provider_state,
    redaction profile, extra parameters, response filters, on_violation, on_quota. Out: status, sunset, successor, owner
    and why, which may change; the provider's base URL, key, time-outs and prices, and the weights and the API of
    targets, which are operations (the digest of the registry has them); the names of models. Settings that have their
    default are left out, so that a setting that llmguard learns later changes no digest of today, and no default may
    ever change.
    """
    content: dict[str, Any] = {  # plain values, as JSON has them
        "target": _targets(targets_of(preset.model)),
        "fallbacks": [_targets(targets_of(name)) for name in preset.fallbacks],
        "system": preset.system,
        "parameters": {
            MAX_TOKENS if name == MAX_COMPLETION_TOKENS else name: rule.model_dump(exclude_unset=True)
            for name, rule in preset.parameters.items()
        },
        "tools": sorted(preset.tools) if isinstance(preset.tools, tuple) else preset.tools,
        "images": preset.images,
        "audio": preset.audio,
        "files": preset.files,
        "extra_parameters": sorted(preset.extra_parameters),
        "provider_state": preset.provider_state,
        "redaction": preset.redaction,
        "response_filters": sorted(preset.response.filters),
        "on_violation": preset.on_violation,
        "on_quota": preset.on_quota,
    }
    defaults: dict[str, Any] = {
        "fallbacks": [],
        "system": None,
        "parameters": {},
        "tools": "forbidden",
        "images": "forbidden",
        "audio": "forbidden",
        "files": "forbidden",
        "extra_parameters": [],
        "provider_state": "forbidden",
        "redaction": "standard",
        "response_filters": [],
        "on_violation": "refuse",
        "on_quota": "refuse",
    }
    return content_digest(
        {key: value for key, value in content.items() if key not in defaults or value != defaults[key]}
    )


def _targets(targets: list[Target]) -> list[str] | list[list[str]]:
    """Return one target as it is, and several in an order that depends on nothing but themselves."""
    plain = sorted([target.provider, target.kind, target.target] for target in targets)
    return plain[0] if len(plain) == 1 else plain


def _canonical(value: Any) -> Any:  # plain values, as JSON has them
    kind = type(value)  # cheaper than isinstance, and the values are of exactly these types
    if kind is str or kind is int or kind is bool:
        return value
    if kind is dict:
        return {key: _canonical(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_canonical(item) for item in value]
    if kind is float:
        return int(value) if value.is_integer() else value
    return format(value.normalize(), "f") if kind is Decimal else value
