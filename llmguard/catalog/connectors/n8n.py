"""A workflow for n8n: a text goes in, the HTTP Request node asks the preset, the answer comes out as `answer`.

Source: docs.n8n.io, "Export and import workflows", "HTTP Request node" (node version 4.2, generic credential
`httpHeaderAuth`), "Edit Fields (Set)" (version 3.4). The credential is named and has no value: n8n asks for it.
"""

import json
from itertools import pairwise

from llmguard.catalog.connectors.contract import EXAMPLE_TEXT, Contract
from llmguard.domain.catalog import JsonScalar
from llmguard.domain.chat import JsonObject

_START, _ASK, _ANSWER = "When clicking Execute", "Text", "Answer"


def workflow(contract: Contract) -> JsonObject:
    """Return the workflow as n8n's Import from File takes it."""
    ask = f"Ask {contract.model}"
    nodes = [
        _node(contract, _START, "n8n-nodes-base.manualTrigger", 1, {}, 0),
        _node(contract, _ASK, "n8n-nodes-base.set", 3.4, _inputs(contract), 1),
        _request(contract, ask),
        _node(contract, _ANSWER, "n8n-nodes-base.set", 3.4, _outputs(contract), 3),
    ]
    order = (_START, _ASK, ask, _ANSWER)
    connections = {
        before: {"main": [[{"node": after, "type": "main", "index": 0}]]} for before, after in pairwise(order)
    }
    return {
        "name": contract.title,
        "nodes": nodes,
        "connections": connections,
        "active": False,
        "settings": {"executionOrder": "v1"},
        "pinData": {},
    }


def _node(contract: Contract, name: str, kind: str, version: float, parameters: JsonObject, column: int) -> JsonObject:
    return {
        "id": contract.unique_id("n8n", name),
        "name": name,
        "type": kind,
        "typeVersion": version,
        "position": [220 * column, 0],
        "parameters": parameters,
    }


def _inputs(contract: Contract) -> JsonObject:
    fields = {"text": EXAMPLE_TEXT, **contract.adjustable()}
    assignments = [
        {"id": contract.unique_id("n8n", "input", name), "name": name, "value": value, "type": _type(value)}
        for name, value in fields.items()
    ]
    return {"assignments": {"assignments": assignments}, "options": {}}


def _outputs(contract: Contract) -> JsonObject:
    answer = {
        "id": contract.unique_id("n8n", "output", "answer"),
        "name": "answer",
        "value": "={{ $json.choices[0].message.content }}",
        "type": "string",
    }
    return {"assignments": {"assignments": [answer]}, "options": {}}


def _request(contract: Contract, name: str) -> JsonObject:
    sent = ", ".join(f"{json.dumps(parameter)}: $json.{parameter}" for parameter in contract.adjustable())
    messages = '"messages": [{"role": "user", "content": $json.text}]'
    body = ", ".join(filter(None, (f'"model": {json.dumps(contract.model)}', messages, sent)))
    parameters = {
        "method": "POST",
        "url": f"{contract.base_url}/chat/completions",
        "authentication": "genericCredentialType",
        "genericAuthType": "httpHeaderAuth",
        "sendBody": True,
        "specifyBody": "json",
        "jsonBody": f"={{{{ JSON.stringify({{{body}}}) }}}}",
        "options": {},
    }
    node = _node(contract, name, "n8n-nodes-base.httpRequest", 4.2, parameters, 2)
    limits = " ".join(
        f"{parameter}: {schema['description']}" for parameter, schema in contract.parameters(structures=False).items()
    )
    return node | {
        "credentials": {"httpHeaderAuth": {"id": "", "name": f"llmguard key of {contract.app.name}"}},
        "notes": f"Header Auth credential: Name Authorization, Value 'Bearer ' and the app's key (sk-lg_…). {limits}",
        "notesInFlow": False,
    }


def _type(value: JsonScalar) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"
