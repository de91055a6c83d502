"""Registry files for tests: a valid one, changed where the test says so. JSON is YAML, so no writer is needed."""

import copy
import json

PROFILES = ("standard", "strict", "minimal")

_DOCUMENT = {
    "version": 1,
    "providers": {
        "echo": {"kind": "echo"},
        "openai": {"kind": "openai", "base_url": "https://api.openai.com/v1", "api_key_env": "OPENAI_API_KEY"},
    },
    "models": {
        "echo-1": {
            "provider": "echo",
            "target": "echo-1",
            "max_sensitivity": "restricted",
            "price": {"input": 0.15, "output": 0.60},
        },
        "gpt-4o-mini": {"provider": "openai", "target": "gpt-4o-mini", "max_sensitivity": "confidential"},
    },
    "presets": [
        {
            "name": "summarise",
            "version": 1,
            "status": "approved",
            "owner": "coe@example.com",
            "why": "Short summaries need little invention.",
            "model": "echo-1",
            "parameters": {"temperature": {"min": 0, "max": 0.3, "default": 0.1}},
        }
    ],
    "apps": {
        "expense-triage": {
            "owner": "dana@example.com",
            "cost_center": "4711",
            "status": "approved",
            "sensitivity": "internal",
            "presets": ["summarise"],
            "quota": {"tokens_per_day": 200000},
        }
    },
}


def a_document():
    """A registry as plain data; change it freely."""
    return copy.deepcopy(_DOCUMENT)


def a_preset_entry(**changes):
    return a_document()["presets"][0] | changes


def as_source(document):
    """The bytes of a registry file."""
    return json.dumps(document, indent=1).encode()
