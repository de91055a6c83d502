"""A custom connector for Power Apps and Power Automate: `apiDefinition.swagger.json` with `apiProperties.json`.

Source: learn.microsoft.com, "Custom connectors", "OpenAPI extensions for custom connectors", and the schemas that the
`paconn` tool is documented with (github.com/microsoft/PowerPlatformConnectors, folder schemas). The designer shows no
untyped values, no nulls in types and no `const`; so what a form cannot show is left out, and the preset decides it.
"""

from urllib.parse import urlsplit

from llmguard.catalog.connectors.contract import EXAMPLE_TEXT, Contract
from llmguard.domain.chat import JsonObject

_OPERATION = "Ask"
_COLOUR = "#1f4e79"


def api_definition(contract: Contract) -> JsonObject:
    """Return the connector's operations in Swagger 2.0, which is what Power Platform reads."""
    place = urlsplit(contract.base_url)
    return {
        "swagger": "2.0",
        "info": {"title": contract.title, "description": contract.summary, "version": f"{contract.preset.version}.0"},
        "host": place.netloc,
        "basePath": place.path,
        "schemes": [place.scheme],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {"api_key": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        "security": [{"api_key": []}],
        "paths": {"/chat/completions": {"post": _operation(contract)}},
        "definitions": {},
    }


def api_properties() -> JsonObject:
    """Return how the connection is made: the maker pastes the key alone, and the connector adds `Bearer`."""
    ui = {
        "displayName": "llmguard key",
        "description": "The app's key, beginning with sk-lg_. Paste the key alone, without Bearer.",
        "tooltip": "Paste the key alone, without Bearer",
        "constraints": {"tabIndex": 2, "clearText": False, "required": "true"},
    }
    bearer = {
        "templateId": "setheader",
        "title": "Send the key as a bearer token",
        "parameters": {
            "x-ms-apimTemplateParameter.name": "Authorization",
            "x-ms-apimTemplateParameter.value": "Bearer @connectionParameters('api_key')",
            "x-ms-apimTemplateParameter.existsAction": "override",
            "x-ms-apimTemplate-policySection": "Request",
        },
    }
    return {
        "properties": {
            "connectionParameters": {"api_key": {"type": "securestring", "uiDefinition": ui}},
            "iconBrandColor": _COLOUR,
            "capabilities": [],
            "policyTemplateInstances": [bearer],
        }
    }


def _operation(contract: Contract) -> JsonObject:
    body = {"name": "body", "in": "body", "required": True, "schema": _request(contract)}
    return {
        "operationId": _OPERATION,
        "summary": f"Ask {contract.model}",
        "description": contract.summary,
        "x-ms-visibility": "important",
        "parameters": [body],
        "responses": {
            "200": {"description": "The answer.", "schema": _answer()},
            "default": {"description": "Refused or failed: message and hint say why.", "schema": _error()},
        },
    }


def _request(contract: Contract) -> JsonObject:
    model = {
        "type": "string",
        "enum": [contract.model],
        "default": contract.model,
        "description": "The preset.",
        "x-ms-visibility": "internal",
    }
    role = {**_field("string", "Role", "Who says it."), "enum": ["user", "assistant", "system"], "default": "user"}
    content = {**_field("string", "Text", "What is said."), "example": EXAMPLE_TEXT}
    message = {"type": "object", "required": ["role", "content"], "properties": {"role": role, "content": content}}
    parameters = {
        name: schema | {"x-ms-summary": _label(name), "x-ms-visibility": "advanced"}
        for name, schema in contract.parameters(structures=False).items()
        if contract.preset.parameters[name].fixed is None
    }
    return {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": model,
            "messages": {
                "type": "array",
                "items": message,
                "x-ms-summary": "Messages",
                "description": "What is said, in order; one message with the role user is enough.",
            },
            **parameters,
        },
    }


def _answer() -> JsonObject:
    message = {
        "type": "object",
        "properties": {
            "role": _field("string", "Role", "Always assistant."),
            "content": _field("string", "Answer", "The text."),
        },
    }
    choice = {
        "type": "object",
        "properties": {
            "index": _field("integer", "Number", "Counted from 0."),
            "finish_reason": _field("string", "Reason to stop", "stop: complete; length: cut at max_tokens."),
            "message": message,
        },
    }
    tokens = ("prompt_tokens", "completion_tokens", "total_tokens")
    usage = {"type": "object", "properties": {name: _field("integer", _label(name), "Counted.") for name in tokens}}
    return {
        "type": "object",
        "properties": {
            "id": _field("string", "Id", "Of the answer."),
            "model": _field("string", "Preset", "Which preset answered."),
            "choices": {"type": "array", "items": choice, "x-ms-summary": "Choices", "description": "Usually one."},
            "usage": usage,
        },
    }


def _error() -> JsonObject:
    words = {
        "message": "What happened.",
        "hint": "What to do next.",
        "code": "For programs.",
        "why": "Where this is explained.",
    }
    fields = {name: _field("string", _label(name), text) for name, text in words.items()}
    return {"type": "object", "properties": {"error": {"type": "object", "properties": fields}}}


def _field(kind: str, summary: str, description: str) -> JsonObject:
    return {"type": kind, "x-ms-summary": summary, "description": description}


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()
