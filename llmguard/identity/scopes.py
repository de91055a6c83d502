"""What one key may do of what its app may: some endpoints, some presets, the sandbox alone. Most keys have no limits.

A key can only have less than its app, never more: the app's own rules count besides.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, Final

from llmguard.domain.catalog import Caller, KeyScope, Preset, Registry
from llmguard.domain.errors import Refusal

ENDPOINTS: Final = ("chat/completions", "responses", "completions", "embeddings", "me/overage")
PROVIDER_ORIGIN: Final = "idp:"  # in the place of a key id: the token came from this identity provider
_ASK: Final = "ask whoever runs llmguard for a key that may (`llmguard keys issue`)."


def scope_of(value: dict[str, Any] | None) -> KeyScope | None:  # Any: JSON
    """Return the scope that was stored, or None for a key that may do what its app may."""
    if value is None:
        return None
    endpoints, presets = value.get("endpoints"), value.get("presets")
    return KeyScope(
        None if endpoints is None else tuple(endpoints),
        None if presets is None else tuple(presets),
        value.get("environment", "production"),
    )


def stored(scope: KeyScope | None) -> dict[str, Any] | None:  # Any: JSON
    """Return a scope as it is stored, and shown; None where it limits nothing."""
    return None if scope is None or scope == KeyScope() else asdict(scope)


def narrowed(scope: KeyScope | None, wanted: KeyScope) -> KeyScope:
    """Return what is wanted, within what is held.

    Raises:
        ValueError: more is wanted than is held; the text names what.
    """
    held = scope or KeyScope()
    endpoints = _both(held.endpoints, wanted.endpoints, "endpoints")
    presets = _both(held.presets, wanted.presets, "presets")  # summarise@2 is within summarise
    sandbox = "sandbox" in (held.environment, wanted.environment)
    return KeyScope(endpoints, presets, "sandbox" if sandbox else "production")


def in_scope(caller: Caller, endpoint: str, registry: Registry) -> Caller:
    """Return a caller whose key may call this endpoint; with a key for the sandbox, its app is in the sandbox.

    A token that came from an identity provider ends when registry.yaml no longer lets that provider speak for the app.

    Listings (`/v1/models`, `/v1/me`) are open to every key: they show what it may.

    Raises:
        Refusal: scope_missing; key_revoked.
    """
    scope, name = caller.scope, endpoint.removeprefix("/v1/")
    if scope is None:
        return caller
    if caller.key_id.startswith(PROVIDER_ORIGIN):
        _check_provider(caller, registry)
    if scope.endpoints is not None and name in ENDPOINTS and name not in scope.endpoints:
        raise Refusal(
            "scope_missing",
            f"Key {caller.key_id} may not call {endpoint}. It may call: {_paths(scope.endpoints)}.",
            hint=f"Call one of these, or {_ASK}",
        )
    if scope.environment == "sandbox" and caller.app.status == "approved":
        return caller._replace(app=replace(caller.app, status="sandbox"))
    return caller


def check_preset(caller: Caller, preset: Preset) -> None:
    """Do nothing for a preset that the key may use.

    Raises:
        Refusal: scope_missing.
    """
    scope = caller.scope
    if scope is None:
        return
    if not scope.covers(preset):
        raise Refusal(
            "scope_missing",
            f"Key {caller.key_id} may not use the preset {preset.id}. It may use: {', '.join(scope.presets or ())}.",
            hint=f"Put one of these into `model`, or {_ASK}",
            param="model",
        )
    if scope.environment == "sandbox" and not _answers_in_sandbox(preset):
        raise Refusal(
            "scope_missing",
            f"Key {caller.key_id} is for the sandbox, where only echo models, and those for the sandbox, "
            f"answer, and {preset.id} has another.",
            hint=f"Use a preset with the echo model, or {_ASK}",
            param="model",
        )


def _check_provider(caller: Caller, registry: Registry) -> None:
    name = caller.key_id.removeprefix(PROVIDER_ORIGIN)
    provider = registry.identity_providers.get(name)
    if provider is None or caller.app.name not in provider.apps.values():
        raise Refusal(
            "key_revoked",
            f"The identity provider {name} no longer speaks for the app {caller.app.name}.",
            hint="Ask the CoE: `identity_providers` in registry.yaml names the apps of each.",
        )


def may_use(scope: KeyScope | None, preset: Preset) -> bool:
    """Whether a key of this scope may use a preset that its app may use."""
    if scope is None:
        return True
    return scope.covers(preset) and (scope.environment == "production" or _answers_in_sandbox(preset))


def _answers_in_sandbox(preset: Preset) -> bool:
    return any(target.is_for_sandbox for target in preset.model.targets)


def _both(held: tuple[str, ...] | None, wanted: tuple[str, ...] | None, what: str) -> tuple[str, ...] | None:
    if held is None or wanted is None:
        return held if wanted is None else wanted
    if any(name not in held and name.partition("@")[0] not in held for name in wanted):
        raise ValueError(what)
    return wanted


def _paths(names: Iterable[str]) -> str:
    return ", ".join(f"/v1/{name}" for name in names)
