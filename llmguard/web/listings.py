"""What an app can ask about itself: its presets as OpenAI models, and where it stands."""

import asyncio

from starlette.types import Receive, Scope, Send

from llmguard.catalog.facts import rule_json, standing_json
from llmguard.catalog.overage import grant_json
from llmguard.domain.catalog import Caller, Preset
from llmguard.domain.chat import JsonObject
from llmguard.gateway.recorder import Record
from llmguard.gateway.services import Services
from llmguard.identity.scopes import check_preset, may_use, stored
from llmguard.registry.resolve import resolve_preset, usable_presets
from llmguard.web.data_plane import Listing

_CREATED = 1_760_000_000  # OpenAI's clients want a number; a preset has no birthday


async def list_models(services: Services, record: Record, caller: Caller) -> JsonObject:
    """Return the presets that this key may use, as `GET /v1/models` lists models."""
    del record
    return {"object": "list", "data": [as_model(preset) for preset in _presets_of(services, caller)]}


async def show_standing(services: Services, record: Record, caller: Caller) -> JsonObject:
    """Return the app, its presets and its quota, as `GET /v1/me` shows them."""
    app = caller.app
    record.standings = await services.ledger.standings(app)
    return {
        "object": "llmguard.me",
        "app": {
            "name": app.name,
            "owner": app.owner,
            "status": app.status,
            "sensitivity": app.sensitivity.label,
            "cost_center": app.cost_center,
            "expires": app.expires,
        },
        "key_id": caller.key_id,
        "scope": stored(caller.scope),
        "presets": [preset.id for preset in _presets_of(services, caller)],
        "quota": [standing_json(standing) for standing in record.standings],
        "grants": [grant_json(grant) for grant in await asyncio.to_thread(services.overage.grants, app)],
    }


def _presets_of(services: Services, caller: Caller) -> list[Preset]:
    presets = usable_presets(services.registry, caller.app, today=services.clock.now().date())
    return [preset for preset in presets if may_use(caller.scope, preset)]


class ShowModel:
    """`GET /v1/models/{id}`: one preset, by name or name@version."""

    def __init__(self, services: Services) -> None:
        """Answer with these services."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        model: str = scope["path_params"]["model"].rstrip("/")

        async def show(services: Services, record: Record, caller: Caller) -> JsonObject:
            preset = resolve_preset(services.registry, caller.app, model, today=services.clock.now().date())
            record.resolved(preset, stream=False)
            check_preset(caller, preset)
            return as_model(preset, model)

        await Listing(self._services, "/v1/models/{id}", show)(scope, receive, send)


def as_model(preset: Preset, name: str | None = None) -> JsonObject:
    """Return a preset in the shape of an OpenAI model, with what it allows under `llmguard`."""
    return {
        "id": name or preset.name,
        "object": "model",
        "created": _CREATED,
        "owned_by": preset.owner,
        "llmguard": {
            "preset": preset.id,
            "status": preset.status,
            "why": preset.why,
            "mode": preset.model.mode,
            "context_tokens": preset.model.context_tokens,
            "max_output_tokens": preset.model.max_output_tokens,
            "parameters": {rule_name: rule_json(rule) for rule_name, rule in preset.parameters.items()},
            "on_violation": preset.on_violation,
            "tools": preset.tools,
            "images": preset.images,
            "audio": preset.audio,
            "files": preset.files,
            "extra_parameters": preset.extra_parameters,
            "sunset": preset.sunset,
        },
    }
