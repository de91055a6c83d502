"""Calls of step 6 in tests: whom to call, what to ask, and what came back."""

import pytest

from llmguard.domain.errors import GuardError
from llmguard.providers.calling import Waiting
from tests.support.builders import FrozenClock, a_model, a_provider

TRACE = "019aafd0-0000-7000-8000-000000000001"
KEY = "sk-upstream-secret-1234567890"
SAID = "Grüße an Dana Müller, dana@example.com, 😀"


_OF_MODELS = ("max_tokens_field", "context_tokens", "api", "mode")


class Pauses:
    """Records the pauses between attempts instead of sleeping, and moves its clock; draws always 0.5."""

    def __init__(self):
        self.seconds = []
        self.clock = FrozenClock()

    async def sleep(self, seconds):
        self.seconds.append(seconds)
        self.clock.advance(seconds=seconds)

    @property
    def waiting(self):
        return Waiting(sleep=self.sleep, random=lambda: 0.5)


def a_remote(server, behaviour="", *, name="gpt-4o-mini", **changes):
    model = {field: changes.pop(field) for field in _OF_MODELS if field in changes}
    facts = {"name": "openai", "kind": "openai", "base_url": server.base_url, "api_key_env": "UPSTREAM_KEY"}
    target = f"gpt-4o-mini+{behaviour}" if behaviour else "gpt-4o-mini"
    return a_model(name=name, target=target, provider=a_provider(**(facts | changes)), **model)


def a_body(text=SAID, **more):
    return {"model": "summarise", "messages": [{"role": "user", "content": text}], **more}


def a_tool(name="lookup"):
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


async def collect(call):
    async with call:
        return [chunk async for came in call.answer for chunk in came]


def text_of(chunks):
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def failure_of(call):
    with pytest.raises(GuardError) as caught:
        await collect(call)
    return caught.value
