"""Clients for Node: OpenAI's own and the Vercel AI SDK. One Node process runs every check (tests/clients/node)."""

import json
import os
import shutil
import subprocess

import pytest

from tests.support.compatibility import NODE

CHAT = ["generateText", "streamText", "tools in a loop", "tools, streamed", "structured output", "errors"]
SDK = [*CHAT, "a preset with no parameters"]
FEATURES = {
    "openai": [
        *("chat", "chat, streamed", "tools, streamed", "structured output", "responses", "responses, streamed"),
        *("embeddings", "models", "errors", "error in a stream"),
    ],
    "@ai-sdk/openai": [
        *SDK,
        *(f"{feature}, .chat()" for feature in SDK),
        "embedMany",
        "a conversation goes on, with store: false",
        "a conversation goes on by ids: refused, saying store: false",
    ],
    "@ai-sdk/openai-compatible": [*SDK, "embedMany"],
}
NAMES = {
    "openai": "openai for Node",
    "@ai-sdk/openai": "Vercel AI SDK (@ai-sdk/openai)",
    "@ai-sdk/openai-compatible": "Vercel AI SDK (@ai-sdk/openai-compatible)",
}


@pytest.fixture(scope="session")
def outcomes(gateway, key, provider):
    """Run every check once, and return what came of each."""
    if shutil.which("node") is None or not (NODE / "node_modules").is_dir():
        pytest.skip(f"no Node clients here: install Node and npm, then run `npm ci` in {NODE}, or scripts/test again")
    environ = {**os.environ, "BASE_URL": gateway.base_url, "API_KEY": key, "PROVIDER_URL": provider.base_url}
    command = ["node", NODE / "checks.mjs"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return {(row["client"], row["feature"]): row["error"] for row in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("client", "feature"),
    [
        pytest.param(
            name,
            feature,
            marks=[pytest.mark.client(NAMES[name], f"npm:{name}"), pytest.mark.feature(feature)],
            id=f"{name}: {feature}",
        )
        for name, features in FEATURES.items()
        for feature in features
    ],
)
def test_node_client(outcomes, client, feature):
    assert outcomes[client, feature] is None, outcomes[client, feature]


def test_every_check_is_in_the_table(outcomes):
    assert set(outcomes) == {(name, feature) for name, features in FEATURES.items() for feature in features}
