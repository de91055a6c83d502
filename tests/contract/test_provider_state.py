"""Conversations that a provider keeps: only where the preset says so, and only for the app whose they are."""

import json
from dataclasses import replace
from urllib.parse import quote

import openai
import pytest

from llmguard.web.response_ids import ResponseIds
from tests.support.provider_server import ProviderServer
from tests.support.responses_wire import a_message, a_response, events_of
from tests.support.served import SECRET, Served, a_registry_at

ANNA = "Anna is anna.schmidt@example.com"
KEPT = a_response([a_message("Fine.")]) | {"id": "resp_0a1b2c3d4e5f"}


@pytest.fixture(scope="module")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="module")
def client(tmp_path_factory, provider):
    registry = a_registry_at(provider.base_url)
    [preset] = registry.presets["summarise"]
    model = replace(preset.model, api="responses")
    stateful = replace(preset, model=model, provider_state="allowed")
    registry = replace(registry, models={model.name: model}, presets={"summarise": (stateful,)})
    with (
        Served(tmp_path_factory.mktemp("state"), registry=registry) as served,
        openai.OpenAI(base_url=served.base_url, api_key=served.key, max_retries=0) as client,
    ):
        yield client


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_conversation_goes_on_with_the_id_that_the_app_got(client, provider, stream):
    said = f"events={quote(json.dumps(events_of(KEPT)))}" if stream else f"answer={quote(json.dumps(KEPT))}"
    provider.script(said)
    first, second = None, None
    for previous in (None, "first"):
        more = {} if previous is None else {"previous_response_id": first.id}
        answer = client.responses.create(model="summarise", input=ANNA, store=True, stream=stream, **more)
        answer = list(answer)[-1].response if stream else answer
        first, second = first or answer, answer

    sent = provider.received[-1].json
    assert second.output_text == "Fine."
    assert first.id.startswith("resp_0a1b2c3d4e5f")
    assert first.id != "resp_0a1b2c3d4e5f"
    assert (sent["previous_response_id"], sent["store"]) == ("resp_0a1b2c3d4e5f", True)
    assert second.previous_response_id == first.id
    assert "anna.schmidt" not in json.dumps(sent)


def test_id_of_another_app_opens_nothing(client, provider):
    before = len(provider.received)
    ids = ResponseIds(SECRET)
    for stolen in ("resp_0a1b2c3d4e5f", ids.seal("other-app", "resp_0a1b2c3d4e5f"), "resp_" + "0" * 40, "Anna Schmidt"):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="summarise", input="Go on", previous_response_id=stolen)
        assert (caught.value.code, caught.value.param) == ("invalid_request", "previous_response_id")

    assert len(provider.received) == before
