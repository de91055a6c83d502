"""OpenAPI 3.1: for everything that reads an API description, from API gateways to agents' tool boxes.

Source: OpenAPI Specification 3.1.1 (spec.openapis.org, 24 October 2024).
"""

from llmguard.catalog.connectors.contract import Contract
from llmguard.domain.chat import JsonObject

_TEXT: JsonObject = {"type": "string"}
_COUNT: JsonObject = {"type": "integer"}
_NULLABLE_TEXT: JsonObject = {"type": ["string", "null"]}


def openapi(contract: Contract) -> JsonObject:
    """Return the description of one operation: ask the preset."""
    return {
        "openapi": "3.1.0",
        "info": {"title": contract.title, "version": f"{contract.preset.version}.0", "description": contract.summary},
        "servers": [{"url": contract.base_url}],
        "security": [{"appKey": []}],
        "paths": {"/chat/completions": {"post": _operation(contract)}},
        "components": {
            "securitySchemes": {
                "appKey": {"type": "http", "scheme": "bearer", "description": "The app's llmguard key (sk-lg_…)."}
            },
            "schemas": {
                "Request": _request(contract),
                "Message": _message(contract),
                "Answer": _answer(),
                "Error": _error(),
            },
        },
    }


def _operation(contract: Contract) -> JsonObject:
    def content(schema: str) -> JsonObject:
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}

    body = content("Request")
    body["application/json"]["example"] = contract.example()
    refused = {
        "description": "Refused or failed; `message` and `hint` say why, and what would pass.",
        "content": content("Error"),
    }
    return {
        "operationId": "ask",
        "summary": f"Ask {contract.model}",
        "description": contract.summary,
        "requestBody": {"required": True, "content": body},
        "responses": {"200": {"description": "The answer.", "content": content("Answer")}, "default": refused},
    }


def _request(contract: Contract) -> JsonObject:
    properties: JsonObject = {
        "model": {"type": "string", "const": contract.model, "default": contract.model, "description": "The preset."},
        "messages": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Message"}},
        **contract.parameters(structures=True),
    }
    if contract.preset.tools != "forbidden":
        properties["tools"] = {"type": "array", "items": _tool(contract)}
    return {
        "type": "object",
        "required": ["model", "messages"],
        "properties": properties,
        "additionalProperties": False,
    }


def _tool(contract: Contract) -> JsonObject:
    name: JsonObject = dict(_TEXT)
    if isinstance(contract.preset.tools, tuple):
        name["enum"] = list(contract.preset.tools)
    function = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": name, "description": _TEXT, "parameters": {"type": "object"}},
    }
    return {
        "type": "object",
        "required": ["type", "function"],
        "properties": {"type": {"type": "string", "const": "function"}, "function": function},
    }


def _message(contract: Contract) -> JsonObject:
    roles = ["system", "user", "assistant"]
    properties: JsonObject = {"role": {"type": "string", "enum": roles, "default": "user"}, "content": _TEXT}
    if contract.preset.tools != "forbidden":
        roles.append("tool")
        properties |= {
            "content": _NULLABLE_TEXT,
            "tool_calls": {"type": "array", "items": {"type": "object"}},
            "tool_call_id": _TEXT,
        }
    return {"type": "object", "required": ["role"], "properties": properties}


def _answer() -> JsonObject:
    message = {"type": "object", "properties": {"role": _TEXT, "content": _NULLABLE_TEXT}}
    choice = {
        "type": "object",
        "properties": {"index": _COUNT, "message": message, "finish_reason": _NULLABLE_TEXT},
    }
    usage = {
        "type": "object",
        "properties": {"prompt_tokens": _COUNT, "completion_tokens": _COUNT, "total_tokens": _COUNT},
    }
    return {
        "type": "object",
        "required": ["choices"],
        "properties": {"id": _TEXT, "model": _TEXT, "choices": {"type": "array", "items": choice}, "usage": usage},
    }


def _error() -> JsonObject:
    fields = ("message", "type", "code", "hint", "trace_id", "why")
    error = {
        "type": "object",
        "required": ["message"],
        "properties": {**dict.fromkeys(fields, _TEXT), "param": _NULLABLE_TEXT},
    }
    return {"type": "object", "required": ["error"], "properties": {"error": error}}
