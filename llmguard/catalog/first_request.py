"""A first request to copy, for the tools that people have: it names a preset that the app may use, and holds no key."""

import json
import shlex
from dataclasses import dataclass
from typing import Final

from llmguard.catalog.connectors import n8n
from llmguard.catalog.connectors.contract import EXAMPLE_TEXT, Contract
from llmguard.domain.chat import JsonObject

_KEY: Final = "sk-lg_…"


@dataclass(frozen=True, slots=True)
class Snippet:
    """What is copied, and where it goes."""

    name: str
    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to send the first request."""

    name: str
    lead: str
    snippets: tuple[Snippet, ...]


def first_requests(contract: Contract) -> list[Tool]:
    """Return the same request for each tool."""
    return [_openai(contract), _curl(contract), _n8n(contract), _power_automate(contract)]


def _openai(contract: Contract) -> Tool:
    text = f"""from openai import OpenAI

client = OpenAI(base_url="{contract.base_url}", api_key="{_KEY}")
answer = client.chat.completions.create(
    model="{contract.model}",
    messages=[{{"role": "user", "content": "{EXAMPLE_TEXT}"}}],
)
print(answer.choices[0].message.content)
"""
    lead = "Python, with the official package: pip install openai. Put the app's key where it says sk-lg_."
    return Tool("OpenAI SDK", lead, (Snippet("Python program", text, ""),))


def _curl(contract: Contract) -> Tool:
    body = json.dumps(_body(contract), ensure_ascii=False)
    text = f"""export LLMGUARD_KEY='{_KEY}'
curl {contract.base_url}/chat/completions \\
  -H "Authorization: Bearer $LLMGUARD_KEY" -H 'Content-Type: application/json' \\
  -d {shlex.quote(body)}
"""
    return Tool("curl", "For a terminal: the first line holds the app's key.", (Snippet("curl commands", text, ""),))


def _n8n(contract: Contract) -> Tool:
    lead = (
        "Copy it, click an empty place of a new workflow in n8n, and press Ctrl+V. n8n then asks for a Header Auth "
        "credential: its name is Authorization, its value Bearer, a space, and the app's key."
    )
    text = json.dumps(n8n.workflow(contract), indent=1, ensure_ascii=False)
    return Tool("n8n", lead, (Snippet("workflow for n8n", text, ""),))


def _power_automate(contract: Contract) -> Tool:
    headers = json.dumps({"Authorization": f"Bearer {_KEY}", "Content-Type": "application/json"}, ensure_ascii=False)
    snippets = (
        Snippet("URI", f"{contract.base_url}/chat/completions", "URI, with the method POST"),
        Snippet("headers", headers, "Headers, after “Switch to text mode”"),
        Snippet("body", json.dumps(_body(contract), indent=2, ensure_ascii=False), "Body"),
    )
    lead = (
        "Add the action HTTP to a flow and fill in three boxes. The answer is in "
        "body('HTTP')?['choices']?[0]?['message']?['content']. For a connector with forms: llmguard connector export "
        f"{contract.app.name} --for power-platform."
    )
    return Tool("Power Automate", lead, snippets)


def _body(contract: Contract) -> JsonObject:
    return {"model": contract.model, "messages": [{"role": "user", "content": EXAMPLE_TEXT}]}
