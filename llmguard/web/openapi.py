"""`GET /openapi.json`: this installation's surface for people and tools, with nothing about any app in it.

The paths and shapes are in openapi.yaml; refusals come from the codes themselves, so that none can be forgotten.
"""

import json
from collections.abc import Iterable
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

import ryaml
from starlette.requests import Request
from starlette.responses import Response

from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import CODES

_OWN_ERRORS: Final = "security"  # what is open to everybody has its errors in openapi.yaml
_RETRY: Final[JsonObject] = {
    "x-should-retry": {"description": "`false`: time does not heal it.", "schema": {"const": "false"}},
    "retry-after": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^\\d+$"}},
    "retry-after-ms": {"description": "The same in ms.", "schema": {"type": "string", "pattern": "^\\d+$"}},
}


def describe() -> JsonObject:
    """Return the OpenAPI 3.1 document."""
    text = files("llmguard.web").joinpath("openapi.yaml").read_text("utf-8")
    document: JsonObject = ryaml.loads(text)  # type: ignore[attr-defined]  # ryaml re-exports without saying so
    document["info"]["version"] = version("llmguard")
    components = document["components"]
    answer_headers = {name: {"$ref": f"#/components/headers/{name}"} for name in components["headers"]}
    components["responses"] = {f"Error{status}": _error(status) for status in _statuses()}
    for status in _statuses():
        components["responses"][f"Error{status}"]["headers"] = answer_headers | _RETRY
    components["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"] = sorted(CODES)
    for operation in _operations(document):
        for answer in operation["responses"].values():
            if "headers" in answer:
                answer["headers"] = answer_headers
        if _OWN_ERRORS not in operation:
            refusals = {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in _statuses()}
            operation["responses"] |= refusals
    return document


class Describe:
    """Answers with the document, made once."""

    def __init__(self) -> None:
        self._body = json.dumps(describe(), ensure_ascii=False, separators=(",", ":")).encode()

    async def __call__(self, request: Request) -> Response:
        """Serve one request; any web page may read it."""
        del request
        headers = {"access-control-allow-origin": "*", "cache-control": "max-age=300"}
        return Response(self._body, media_type="application/json", headers=headers)


def _statuses() -> list[int]:
    return sorted({facts.status for facts in CODES.values()})


def _error(status: int) -> JsonObject:
    codes = ", ".join(f"`{code}`" for code, facts in CODES.items() if facts.status == status)
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": f"One of {codes}.", "content": {"application/json": {"schema": schema}}}


def _operations(document: JsonObject) -> Iterable[dict[str, Any]]:  # Any: JSON
    return (operation for path in document["paths"].values() for operation in path.values())
