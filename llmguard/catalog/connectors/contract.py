"""What one app may send to one preset, as JSON Schema: what every connector is made of.

A connector names the preset, and nothing else goes into `model`: whoever imports it cannot choose a model. It holds no
key; each tool keeps that where it keeps secrets.
"""

import uuid
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from llmguard.catalog.facts import whole
from llmguard.domain.catalog import App, JsonScalar, ParameterRule, Preset
from llmguard.domain.chat import JsonObject
from llmguard.registry.parameters import PARAMETERS

EXAMPLE_TEXT: Final = "Anna Schmidt (anna.schmidt@example.com) asks for her invoice."
_TYPES: Final = {"number": "number", "integer": "integer", "boolean": "boolean", "text": "string"}
_NAMES: Final = uuid.UUID("5f0c9d0a-6a0e-5d0e-9a55-0b1a2f7c3d11")  # ours: the same export has the same ids, always


class BaseUrlInvalid(ValueError):
    """The base URL cannot be one; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One app's way to one preset.

    Attributes:
        app: who asks.
        preset: what `model` means today.
        model: what goes into `model`: the preset's name, or name@version where that was wanted.
        base_url: where llmguard is, up to and with /v1.
    """

    app: App
    preset: Preset
    model: str
    base_url: str

    @property
    def title(self) -> str:
        """What people see in a list of connectors."""
        return f"{self.app.name}: {self.model} (llmguard)"

    @property
    def summary(self) -> str:
        """What it is, in two sentences."""
        return (
            f"Asks the preset {self.model} of llmguard for the app {self.app.name}. Why this preset: {self.preset.why} "
            f"Questions about the app: {self.app.owner}; about the preset: {self.preset.owner}."
        )

    def unique_id(self, *words: str) -> str:
        """Return a UUID that depends on nothing but what it is for."""
        return str(uuid.uuid5(_NAMES, "/".join((self.app.name, self.model, *words))))

    def parameters(self, *, structures: bool) -> dict[str, JsonObject]:
        """Return the schema of each parameter that the preset allows, by name.

        Args:
            structures: with those that are objects or lists, which a form cannot show.
        """
        return {
            name: parameter_schema(name, rule)
            for name, rule in self.preset.parameters.items()
            if structures or not _is_structure(name)
        }

    def adjustable(self) -> dict[str, JsonScalar]:
        """Return the parameters that may vary and have a default, with it; the others need not be sent."""
        rules = self.preset.parameters.items()
        return {
            name: scalar(rule.default)
            for name, rule in rules
            if rule.default is not None and rule.fixed is None and not _is_structure(name)
        }

    def example(self) -> JsonObject:
        """Return a request that this preset takes."""
        messages = [{"role": "user", "content": EXAMPLE_TEXT}]
        return {"model": self.model, "messages": messages, **self.adjustable()}


def checked_base_url(text: str) -> str:
    """Return the base URL up to and with /v1.

    Raises:
        BaseUrlInvalid: it is no web address, or holds more than one.
    """
    parts = urlsplit(text.strip())
    path = parts.path.rstrip("/")
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or path not in ("", "/v1"):
        raise BaseUrlInvalid(
            "The base URL is the address of llmguard up to /v1, such as https://llmguard.example.com/v1."
        )
    return f"{parts.scheme}://{parts.netloc}/v1"


def parameter_schema(name: str, rule: ParameterRule) -> JsonObject:
    """Return a parameter as JSON Schema: its type, its range by the preset, and its default."""
    facts = PARAMETERS.get(name)
    schema: JsonObject = {}
    if facts is not None and facts.kind in _TYPES:
        schema["type"] = _TYPES[facts.kind]
    if rule.fixed is not None:
        return schema | {
            "enum": [scalar(rule.fixed)],
            "default": scalar(rule.fixed),
            "description": f"{scalar(rule.fixed)}, fixed by the preset.",
        }
    if rule.allowed is not None:
        schema["enum"] = [scalar(value) for value in rule.allowed]
    least = rule.minimum if rule.minimum is not None else facts.least if facts else None
    most = rule.maximum if rule.maximum is not None else facts.most if facts else None
    if rule.allowed is None and least is not None:
        schema["minimum"] = whole(least)
    if rule.allowed is None and most is not None:
        schema["maximum"] = whole(most)
    if rule.default is not None:
        schema["default"] = scalar(rule.default)
    return schema | {"description": _description(schema)}


def scalar(value: JsonScalar) -> JsonScalar:
    """Return 800.0 as 800, as providers and forms want it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _description(schema: JsonObject) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    allowed = "any value"
    if "enum" in schema:
        allowed = "one of " + ", ".join(map(str, schema["enum"]))
    elif least is not None and most is not None:
        allowed = f"from {least} to {most}"
    elif least is not None or most is not None:
        allowed = f"from {least}" if most is None else f"up to {most}"
    default = f"; {schema['default']} when it is left out" if "default" in schema else ""
    return f"{allowed[0].upper()}{allowed[1:]}{default}."


def _is_structure(name: str) -> bool:
    return name not in PARAMETERS or PARAMETERS[name].kind == "structure"
