"""pydantic-ai: agents with tools and typed answers, over chat completions and over responses."""

import asyncio

import pydantic
import pytest

pytest.importorskip("pydantic_ai", reason="pydantic-ai is in the environment .venv-client: scripts/test")

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

pytestmark = pytest.mark.client("pydantic-ai", "pydantic-ai-slim")
ANNA = "Anna Schmidt (anna.schmidt@example.com) asks for her invoice."
KINDS = pytest.mark.parametrize("kind", [OpenAIChatModel, OpenAIResponsesModel], ids=["chat", "responses"])


class City(pydantic.BaseModel):
    city: str


@pytest.fixture
def agent(gateway, key):
    def agent(kind, model, **options):
        provider = OpenAIProvider(base_url=gateway.base_url, api_key=key)
        return Agent(kind(model, provider=provider), **options)

    return agent


@pytest.mark.feature("run, over chat and responses")
@KINDS
def test_run(agent, kind):
    done = agent(kind, "chat", instructions="Be kind.").run_sync(ANNA)

    assert done.output == ANNA
    assert done.usage.total_tokens > 0


@pytest.mark.feature("a preset with no parameters, over chat and responses")
@KINDS
def test_preset_without_parameters_takes_what_pydantic_ai_sends_by_itself(agent, kind):
    assert ANNA in agent(kind, "echo").run_sync(ANNA).output


@pytest.mark.feature("run_stream, over chat and responses")
@KINDS
def test_stream(agent, kind):
    async def read():
        async with agent(kind, "by-char").run_stream(ANNA) as stream:
            return [text async for text in stream.stream_text(delta=True, debounce_by=None)]

    pieces = asyncio.run(read())
    assert "".join(pieces) == ANNA
    assert len(pieces) > 1


@pytest.mark.feature("tools in a loop, over chat and responses")
@KINDS
def test_tools(agent, provider, kind):
    asked = []

    def get_weather(city: str) -> str:
        asked.append(city)
        return f"Sunny in {city}"

    provider.queue("tools", "text=Sunny")
    done = agent(kind, "agent", tools=[get_weather]).run_sync(ANNA)

    assert asked == [ANNA]
    assert done.output == "Sunny"


@pytest.mark.feature("typed output by a function call, over chat and responses")
@KINDS
def test_typed_output(agent, provider, kind):
    provider.queue("tools")

    assert agent(kind, "agent", output_type=City).run_sync(ANNA).output == City(city=ANNA)
