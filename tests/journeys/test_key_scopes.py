"""Keys that may do less than their app, through the real client: what is outside is refused, what is inside passes."""

import openai
import pytest

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def narrow(gateway):
    """A client whose key may call chat completions with the preset `echo`."""
    key = gateway.issue_key("helpdesk", "--preset", "echo", "--endpoint", "chat/completions")
    with openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
        yield client


def refusal_of(act, **given):
    with pytest.raises(openai.PermissionDeniedError) as caught:
        act(**given)
    assert caught.value.code == "scope_missing"
    return caught.value


def test_inside_its_scope_a_key_works_and_sees_only_that(narrow):
    answer = narrow.chat.completions.create(model="echo", messages=HELLO)
    me = narrow.get("/me", cast_to=object)

    assert answer.choices[0].message.content
    assert [model.id for model in narrow.models.list()] == ["echo"]
    assert (me["scope"]["endpoints"], me["presets"]) == (["chat/completions"], ["echo@1"])


def test_outside_its_scope_a_key_is_refused_and_told_what_it_may(gateway, narrow):
    endpoint = refusal_of(narrow.responses.create, model="echo", input="Hello")
    preset = refusal_of(narrow.chat.completions.create, model="chat", messages=HELLO)
    refusal_of(narrow.models.retrieve, model="chat")

    assert "/v1/chat/completions" in endpoint.message
    assert "It may use: echo." in preset.message
    trace_id = preset.body["trace_id"]
    gateway.wait_until(lambda: gateway.run("traces", "show", trace_id).returncode == 0)
    trace = gateway.trace(trace_id)
    assert (trace["app"], trace["code"], trace["provider"]) == ("helpdesk", "scope_missing", None)


def test_answer_that_another_key_of_the_app_got_is_not_repeated_to_a_narrow_one(client, narrow):
    given = {"model": "chat", "messages": HELLO, "extra_headers": {"Idempotency-Key": "of-the-wide-key"}}
    client.chat.completions.create(**given)

    refusal_of(narrow.chat.completions.create, **given)


def test_key_for_the_sandbox_is_answered_by_echo_models_only(gateway):
    key = gateway.issue_key("helpdesk", "--environment", "sandbox")
    with openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
        refusal = refusal_of(client.chat.completions.create, model="chat", messages=HELLO)
        answer = client.chat.completions.create(model="echo", messages=HELLO)

    assert "only echo models, and those for the sandbox" in refusal.message
    assert answer.choices[0].message.content
