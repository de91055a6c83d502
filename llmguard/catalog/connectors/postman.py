"""A Postman collection, version 2.1: ask, list the presets, see the quota; base URL and key are variables.

Source: schema.postman.com, collection format v2.1.0.
"""

import json

from llmguard.catalog.connectors.contract import Contract
from llmguard.domain.chat import JsonObject

_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


def collection(contract: Contract) -> JsonObject:
    """Return the collection; the key's variable is empty."""
    limits = "\n".join(
        f"- `{name}`: {schema['description']}" for name, schema in contract.parameters(structures=True).items()
    )
    return {
        "info": {
            "_postman_id": contract.unique_id("postman"),
            "name": contract.title,
            "description": f"{contract.summary} Put the app's key into the variable apiKey.",
            "schema": _SCHEMA,
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{apiKey}}", "type": "string"}]},
        "variable": [
            {"key": "baseUrl", "value": contract.base_url, "type": "string"},
            {"key": "apiKey", "value": "", "type": "string"},
        ],
        "item": [
            _item(f"Ask {contract.model}", "POST", ["chat", "completions"], _body(contract), limits),
            _item("Presets of this key", "GET", ["models"], None, "What this key may put into `model`."),
            _item("Where this app stands", "GET", ["me"], None, "The app, its presets and its quota."),
        ],
    }


def _item(name: str, method: str, path: list[str], body: JsonObject | None, description: str) -> JsonObject:
    request: JsonObject = {
        "method": method,
        "header": [{"key": "Content-Type", "value": "application/json"}] if body else [],
        "url": {"raw": "/".join(("{{baseUrl}}", *path)), "host": ["{{baseUrl}}"], "path": path},
        "description": description,
    }
    return {"name": name, "request": request | ({"body": body} if body else {}), "response": []}


def _body(contract: Contract) -> JsonObject:
    raw = json.dumps(contract.example(), indent=2, ensure_ascii=False)
    return {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
