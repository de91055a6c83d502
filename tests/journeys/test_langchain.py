"""LangChain: its chat model and its embeddings, as an app sets them up."""

import os

import pydantic
import pytest

from tests.support.gateway import ROOT

pytest.importorskip("langchain_openai", reason="LangChain is in the environment .venv-client: scripts/test")

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

pytestmark = pytest.mark.client("LangChain (langchain-openai)", "langchain-openai")
ANNA = "Anna Schmidt (anna.schmidt@example.com) asks for her invoice."


class City(pydantic.BaseModel):
    """A place."""

    city: str


@tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"Sunny in {city}"


@pytest.fixture
def chat(gateway, key):
    def chat(model, **options):
        return ChatOpenAI(model=model, base_url=gateway.base_url, api_key=key, **options)

    return chat


@pytest.mark.feature("ChatOpenAI.invoke")
def test_invoke(chat):
    answer = chat("chat").invoke(ANNA)

    assert answer.content == ANNA
    assert answer.usage_metadata["total_tokens"] > 0


@pytest.mark.feature("a preset with no parameters")
def test_preset_without_parameters_takes_what_langchain_sends_by_itself(chat):
    assert ANNA in chat("echo").invoke(ANNA).content


@pytest.mark.feature("ChatOpenAI.stream")
def test_stream(chat):
    assert "".join(chunk.content for chunk in chat("by-char").stream(ANNA)) == ANNA


@pytest.mark.feature("tools, there and back")
def test_tools(chat, provider):
    provider.queue("tools", "text=Sunny")
    model = chat("agent").bind_tools([get_weather])
    asked = [HumanMessage(ANNA)]
    called = model.invoke(asked)
    [call] = called.tool_calls
    answer = model.invoke([*asked, called, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])])

    assert call["args"] == {"city": ANNA}
    assert answer.content == "Sunny"


@pytest.mark.feature("with_structured_output")
def test_structured_output(chat, provider):
    provider.queue('text={"city": "Bremen"}')

    assert chat("agent").with_structured_output(City).invoke(ANNA) == City(city="Bremen")


@pytest.mark.feature("with_structured_output by a function call")
def test_structured_output_by_a_function(chat, provider):
    provider.queue("tools")
    model = chat("agent").with_structured_output(City, method="function_calling")

    assert model.invoke(ANNA) == City(city=ANNA)


@pytest.mark.feature("ChatOpenAI over the Responses API")
def test_responses(chat):
    model = chat("chat", use_responses_api=True)

    assert model.invoke(ANNA).text == ANNA
    assert "".join(chunk.text for chunk in model.stream(ANNA)) == ANNA


@pytest.fixture
def _encodings(monkeypatch):
    """Let tiktoken find its encodings on this machine, where LiteLLM brings them: tests reach no network."""
    [folder] = (ROOT / ".venv" / "lib").glob("python*/site-packages/litellm/litellm_core_utils/tokenizers")
    monkeypatch.setitem(os.environ, "TIKTOKEN_CACHE_DIR", str(folder))


@pytest.mark.feature("OpenAIEmbeddings, which sends tokens")
@pytest.mark.usefixtures("_encodings")
def test_embeddings(gateway, key, provider):
    embeddings = OpenAIEmbeddings(model="vectors", base_url=gateway.base_url, api_key=key)
    vectors = embeddings.embed_documents(["Hello", "there"])

    assert vectors == [[2.5, 36.0, 50.5], [2.5, 58.0, 52.0]]
    assert provider.received[-1].json["input"] == ["Hello", "there"]
