"""What a key may do, whether it works, and if not, why: from the key, its app and the presets, as they are now."""

from datetime import datetime

from llmguard.domain.catalog import App, KeyScope, Registry
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import Refusal
from llmguard.identity.key_store import Key
from llmguard.identity.scopes import ENDPOINTS, may_use, stored
from llmguard.policy.decide import check_app
from llmguard.registry.resolve import usable_presets


def key_json(key: Key, now: datetime) -> JsonObject:
    """Return what is told of a key; never the key."""
    return {
        "key_id": key.key_id,
        "object": "llmguard.key",
        "app": key.app,
        "state": key.state_at(now),
        "scope": stored(key.scope),
        "created_at": key.created_at,
        "issued_by": key.issued_by,
        "expires_at": key.expires_at,
        "rotated_at": key.rotated_at,
        "rotated_by": key.rotated_by,
        "overlap_until": key.overlap_until,
        "revoked_at": key.revoked_at,
        "revoked_by": key.revoked_by,
        "last_used_at": key.last_used_at,
    }


def explain_key(key: Key, registry: Registry, now: datetime) -> JsonObject:
    """Return a key with what it may do now: `works`, `may_call`, `may_use`; or how, and why, it is refused."""
    app = registry.apps.get(key.app)
    refusal = _refusal(key, app, now)
    scope = key.scope or KeyScope()
    presets = usable_presets(registry, app, today=now.date()) if app is not None else ()
    return key_json(key, now) | {
        "owner": None if app is None else app.owner,
        "works": refusal is None,
        "refused_with": None if refusal is None else refusal.code,
        "why": None if refusal is None else refusal.message,
        "what_to_do": None if refusal is None else refusal.hint,
        "environment": scope.environment,
        "may_call": [f"/v1/{name}" for name in ENDPOINTS if scope.endpoints is None or name in scope.endpoints],
        "may_use": [preset.id for preset in presets if may_use(key.scope, preset)],
    }


def scope_problem(scope: KeyScope, app: App, registry: Registry) -> str | None:
    """Return what makes no sense in a scope for a key of this app: presets that there are not, or not for it."""
    for name in scope.presets or ():
        known = any(name in (preset.name, preset.id) for versions in registry.presets.values() for preset in versions)
        if not known:
            return f"There is no preset {name}."
        if name not in app.presets and name.partition("@")[0] not in app.presets and not _names_one(name, app):
            return f"The app {app.name} may not use the preset {name}; it may use: {', '.join(app.presets)}."
    return None


def _names_one(name: str, app: App) -> bool:
    """Whether a name without a version means one that the app may use a version of."""
    return any(one.partition("@")[0] == name for one in app.presets)


def _refusal(key: Key, app: App | None, now: datetime) -> Refusal | None:
    again = f"Issue a new one: `llmguard keys issue {key.app}`."
    match key.state_at(now):
        case "revoked":
            by = f" by {key.revoked_by}" if key.revoked_by else ""
            return Refusal("key_revoked", f"It was revoked on {key.revoked_at:%Y-%m-%d %H:%M} UTC{by}.", hint=again)
        case "expired":
            renew = f"Give it a new secret: `llmguard keys rotate {key.key_id}`."
            return Refusal("key_expired", f"It expired on {key.expires_at:%Y-%m-%d %H:%M} UTC.", hint=renew)
    if app is None:
        words = f"Its app {key.app} is not in the catalog."
        return Refusal("app_not_approved", words, hint="The CoE adds it to registry.yaml; else revoke the key.")
    try:
        check_app(app, today=now.date(), origin=None)
    except Refusal as refusal:
        return refusal
    return None
