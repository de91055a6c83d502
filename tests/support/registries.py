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
            "backup_owner": "lee@example.com",
            "cost_center": "4711",
            "status": "approved",
            "ticket": "GOV-118",
            "connectors": ["sharepoint-read"],
            "expires": "2099-12-31",
            "support": "business-hours",
            "runbook": "https://wiki.example.com/expense-triage",
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


# The example that users know the format by.
CONTRACT = """\
version: 1
providers:
  echo:    {kind: echo}                                   # embedded, deterministic
  openai:  {kind: openai, base_url: https://api.openai.com/v1, api_key_env: OPENAI_API_KEY}
  claude:  {kind: litellm, api_key_env: ANTHROPIC_API_KEY}  # any provider that LiteLLM translates
models:
  echo-1:      {provider: echo, target: echo-1, max_sensitivity: restricted, price: {input: 0.15, output: 0.60}}
  gpt-4o-mini: {provider: openai, target: gpt-4o-mini, max_sensitivity: confidential}      # price from LiteLLM's map
presets:
  - name: summarise
    version: 2
    status: approved            # draft, approved, deprecated (sunset: date), retired (successor: name@version)
    owner: coe@example.com
    why: Short summaries need little invention.
    model: gpt-4o-mini
    fallbacks: [echo-1]
    system: You summarise for busy colleagues.
    parameters:                 # what is not named here is refused; on_violation: refuse (default) or clamp
      temperature: {min: 0, max: 0.3, default: 0.1}
      max_tokens:  {max: 800, default: 400}
      top_p: {fixed: 1}
    tools: forbidden            # forbidden, allowed, or a list of names
    images: forbidden
    redaction: standard         # a profile in redaction/
    response: {filters: [no_secrets]}
    on_violation: refuse
apps:
  expense-triage:
    owner: dana@example.com
    backup_owner: lee@example.com
    team: finance-ops
    cost_center: "4711"
    status: approved            # draft, sandbox, approved, suspended, retired
    ticket: GOV-118
    sensitivity: internal       # public < internal < confidential < restricted
    connectors: [sharepoint-read]
    origins: [https://apps.example.com]
    expires: 2027-03-31
    support: business-hours
    runbook: https://wiki.example.com/expense-triage
    presets: [summarise]
    quota: {requests_per_minute: 60, tokens_per_minute: 20000, tokens_per_day: 200000, tokens_per_month: 2000000,
            usd_per_month: 25}
"""
