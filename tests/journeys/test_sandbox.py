"""An app that is new: it is in the sandbox, made-up data passes, real data does not, and dear models do not answer."""

import subprocess

import openai
import pytest

from tests.support.gateway import LLMGUARD


@pytest.fixture(scope="module")
def builder(gateway):
    with openai.OpenAI(base_url=gateway.base_url, api_key=gateway.issue_key("builder"), max_retries=0) as client:
        yield client


def say(client, text, model="echo"):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])


def made_up(*words):
    return subprocess.run([LLMGUARD, "sandbox", "data", *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("kind", ["people", "expenses", "tickets"])
def test_made_up_data_passes_and_comes_back(builder, kind):
    rows = made_up("--rows", "10", "--kind", kind)

    raw = builder.chat.completions.with_raw_response.create(
        model="echo", messages=[{"role": "user", "content": f"Sort these:\n{rows}"}]
    )

    assert "PERSON=" in raw.headers["x-llmguard-redactions"]
    assert rows.splitlines()[1].split(",")[0] in raw.parse().choices[0].message.content


@pytest.mark.parametrize("real", ["Anna Schmidt wants her money back.", "Her IBAN is DE89 3704 0044 0532 0130 00."])
def test_real_data_is_refused_and_goes_nowhere(gateway, builder, real):
    with pytest.raises(openai.BadRequestError) as refused:
        say(builder, f"{made_up('--rows', '2')}\n{real}")

    error = refused.value
    assert (error.code, error.param) == ("content_blocked", "messages")
    assert "sandbox data --rows 100" in error.body["hint"]
    assert real.split()[-2] not in str(error.body)
    trace_id = error.body["trace_id"]
    gateway.wait_until(lambda: gateway.run("traces", "show", trace_id).returncode == 0)
    trace = gateway.trace(trace_id)
    assert (trace["request"], trace["provider"], trace["code"]) == (None, None, "content_blocked")


def test_models_that_are_not_for_the_sandbox_do_not_answer(builder):
    with pytest.raises(openai.PermissionDeniedError) as refused:
        say(builder, "Hello", model="chat")

    assert refused.value.code == "app_not_approved"
