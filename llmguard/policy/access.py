"""Rules on the app itself: may it be used at all today, from this origin, with this model."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from llmguard.domain.catalog import App, Model, Preset
from llmguard.domain.errors import RefusalCode


@dataclass(frozen=True, slots=True)
class Objection:
    """A reason against a request, with its code of the contract."""

    code: RefusalCode
    message: str
    hint: str
    param: str | None = None


def app_objections(app: App, today: date) -> Iterator[Objection]:
    """Yield what stands against the app as a whole."""
    if app.status in ("draft", "suspended", "retired"):
        yield Objection(
            "app_not_approved",
            f"The app {app.name} is {app.status} in the catalog.",
            f"Ask the CoE to approve it, or {app.owner}, who owns the app, what happened to it.",
        )
    if app.expires is not None and app.expires < today:
        yield Objection(
            "app_expired",
            f"The app {app.name} expired on {app.expires:%d %B %Y}.",
            f"Ask {app.owner}, who owns the app, to renew it with the CoE.",
        )


def origin_objections(app: App, origin: str | None) -> Iterator[Objection]:
    """Yield an objection when a browser page calls that the catalog does not list for this app."""
    if origin is None or origin in app.origins:
        return
    listed = ", ".join(app.origins) or "none"
    yield Objection(
        "origin_not_allowed",
        f"The app {app.name} may not be called from this web page's origin. Origins in the catalog: {listed}.",
        f"Ask {app.owner}, who owns the app, to add the origin to `origins` in registry.yaml.",
    )


def target_objections(app: App, preset: Preset) -> Iterator[Objection]:
    """Yield an objection when the app's data is too sensitive for the preset's model, or a sandbox leaves the sand."""
    model = preset.model
    if app.sensitivity > model.max_sensitivity:
        yield Objection(
            "sensitivity_not_allowed",
            f"The app {app.name} handles {app.sensitivity.label} data, and the preset {preset.id} uses a model that is "
            f"approved up to {model.max_sensitivity.label}.",
            f"Use a preset for {app.sensitivity.label} data, or ask {preset.owner}, who owns the preset.",
            "model",
        )
    if app.status == "sandbox" and model.provider.kind != "echo":
        yield Objection(
            "app_not_approved",
            f"The app {app.name} is still in the sandbox, where only presets with the echo model answer.",
            f"Try it with an echo preset, or ask the CoE to approve the app. Its owner is {app.owner}.",
            "model",
        )


def allowed_models(app: App, preset: Preset) -> tuple[Model, ...]:
    """Return the models to try in order: the preset's own, then fallbacks approved for this app's data."""
    return (preset.model, *(model for model in preset.fallbacks if app.sensitivity <= model.max_sensitivity))
