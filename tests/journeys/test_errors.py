"""Each code of the contract through the real client: the right exception, no retry that cannot help, words that do."""

import json

import openai
import pytest

HELLO = [{"role": "user", "content": "Hello"}]
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\n-----END RSA PRIVATE KEY-----"


class Attempts:
    """Counts what really leaves the client, retries included."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request) -> None:
        self.count += 1


def a_client(gateway, key, **options):
    attempts = Attempts()
    http = openai.DefaultHttpxClient(event_hooks={"request": [attempts]})
    return openai.OpenAI(base_url=gateway.base_url, api_key=key, http_client=http, **options), attempts


def refused(gateway, key, exception, **request):
    client, attempts = a_client(gateway, key)
    with client, pytest.raises(exception) as caught:
        client.chat.completions.create(**({"model": "chat", "messages": HELLO} | request))
    assert attempts.count == 1, "a refusal that time does not heal must not be retried"
    assert caught.value.response.headers["x-should-retry"] == "false"
    error = caught.value.body
    assert set(error) == {"message", "type", "param", "code", "hint", "trace_id", "why"}
    assert error["hint"]
    assert caught.value.response.headers["x-llmguard-trace-id"] == error["trace_id"]
    return caught.value


@pytest.mark.parametrize(
    ("exception", "code", "param", "request_"),
    [
        (openai.BadRequestError, "parameter_not_allowed", "temperature", {"temperature": 1.9}),
        (openai.BadRequestError, "parameter_not_allowed", "seed", {"seed": 1}),
        (openai.BadRequestError, "invalid_request", "messages", {"messages": []}),
        (openai.BadRequestError, "invalid_request", "max_tokens", {"max_tokens": -1}),
        (openai.NotFoundError, "model_not_found", "model", {"model": "gpt-4o"}),
        (openai.PermissionDeniedError, "preset_not_allowed", "model", {"model": "secret"}),
        (openai.PermissionDeniedError, "sensitivity_not_allowed", "model", {"model": "public"}),
        (openai.APIStatusError, "preset_retired", "model", {"model": "old"}),
        (
            openai.BadRequestError,
            "context_length_exceeded",
            "messages",
            {"model": "small", "messages": [{"role": "user", "content": "word " * 200}]},
        ),
        (
            openai.BadRequestError,
            "content_blocked",
            None,
            {"model": "strict", "messages": [{"role": "user", "content": PRIVATE_KEY}]},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refusal_reaches_the_client_as_its_exception(gateway, key, exception, code, param, request_):
    error = refused(gateway, key, exception, **request_)

    assert error.code == code
    assert param is None or error.param == param
    [trace] = [row for row in gateway.traces("--code", code) if row["trace_id"] == error.body["trace_id"]]
    assert trace["status"] == error.status_code


def test_free_model_name_is_answered_with_the_presets_of_this_app(gateway, key):
    error = refused(gateway, key, openai.NotFoundError, model="gpt-4o")

    assert "chat" in error.body["message"] + error.body["hint"]
    assert "secret" not in error.body["message"] + error.body["hint"]


def test_all_reasons_come_at_once(gateway, key):
    error = refused(gateway, key, openai.BadRequestError, temperature=1.9, seed=1)

    assert "temperature" in error.body["message"]
    assert "seed" in error.body["message"]


def test_blocked_content_names_types_and_never_values(gateway, key):
    error = refused(
        gateway, key, openai.BadRequestError, model="strict", messages=[{"role": "user", "content": PRIVATE_KEY}]
    )

    assert "PRIVATE_KEY" in error.body["message"]
    assert "MIIEpAIBAAKCAQEA7bq" not in json.dumps(error.body)
    assert b"MIIEpAIBAAKCAQEA7bq" not in gateway.every_byte()


@pytest.mark.parametrize("key_", ["sk-nonsense", "sk-lg_AAAAAAAAAAAA_" + "B" * 38])
def test_unknown_key_is_refused_without_a_hint_about_others(gateway, key_):
    error = refused(gateway, key_, openai.AuthenticationError)

    assert error.code == "invalid_api_key"


def test_missing_key_is_refused(gateway):
    status, headers, body = gateway.send("POST", "/v1/chat/completions", b"{}")

    assert status == 401
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert headers["x-should-retry"] == "false"


def test_revoked_key_is_soon_refused(gateway):
    key = gateway.issue_key("helpdesk")
    gateway.run("keys", "revoke", key.split("_")[1])

    gateway.wait_until(lambda: gateway.get("/v1/me", key)[0] == 401)

    assert refused(gateway, key, openai.AuthenticationError).code == "key_revoked"


def test_expired_key_is_refused_with_its_date(gateway):
    key = gateway.ask("keys", "issue", "helpdesk", "--ttl", "1s")["key"]
    gateway.wait_until(lambda: json.loads(gateway.get("/v1/me", key)[2]).get("error", {}).get("code") == "key_expired")

    assert "expired on" in refused(gateway, key, openai.AuthenticationError).body["message"]


def test_rotated_key_works_through_its_overlap_and_both_secrets_have_one_id(gateway):
    old = gateway.issue_key("helpdesk")
    new = gateway.ask("keys", "rotate", old.split("_")[1], "--overlap", "1h")["key"]

    gateway.wait_until(lambda: gateway.get("/v1/me", new)[0] == 200)

    assert gateway.get("/v1/me", old)[0] == 200
    assert old.split("_")[1] == new.split("_")[1]
    assert old != new


@pytest.mark.parametrize(("app", "code"), [("stopped", "app_suspended"), ("expired", "app_expired")])
def test_app_that_may_not_be_used_is_refused(gateway, app, code):
    key = gateway.ask("keys", "issue", app)["key"]
    gateway.wait_until(lambda: gateway.get("/v1/me", key)[0] == 403)

    assert refused(gateway, key, openai.PermissionDeniedError, model="echo").code == code


def test_web_page_of_another_origin_is_refused(gateway, key):
    client, _ = a_client(gateway, key, default_headers={"origin": "https://evil.example"})

    with client, pytest.raises(openai.PermissionDeniedError) as refused_:
        client.chat.completions.create(model="echo", messages=HELLO)

    assert refused_.value.code == "origin_not_allowed"


def test_too_large_a_request_is_refused(gateway, key):
    huge = [{"role": "user", "content": "x" * (11 * 1024 * 1024)}]

    assert refused(gateway, key, openai.APIStatusError, messages=huge).code == "request_too_large"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff", b"[" * 50_000, b'{"a": "\\ud800"}'])
def test_garbage_is_refused_in_words(gateway, key, body):
    status, _, answer = gateway.send("POST", "/v1/chat/completions", body, key)

    assert status == 400
    assert json.loads(answer)["error"]["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/chat/completions", 404, "not_found"),
    ],
)
def test_wrong_address_says_which_is_right(gateway, key, method, path, status, code):
    got, headers, body = gateway.send(method, path, None, key)

    assert (got, json.loads(body)["error"]["code"]) == (status, code)
    assert headers["x-should-retry"] == "false"


def test_minute_limit_is_retried_by_the_client_after_the_time_it_is_told(gateway):
    key = gateway.issue_key("other")
    client, _ = a_client(gateway, key, max_retries=0)
    with client, pytest.raises(openai.RateLimitError) as refused_:
        for _ in range(3):
            client.chat.completions.create(model="echo", messages=HELLO, max_tokens=20)

    headers = refused_.value.response.headers
    assert refused_.value.code == "rate_limit_exceeded"
    assert 1 <= int(headers["retry-after"]) <= 61
    assert "x-should-retry" not in headers
    assert headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize(
    ("behaviour", "exception", "code"),
    [
        ("status=500", openai.InternalServerError, "provider_error"),
        ("status=401", openai.InternalServerError, "provider_error"),
        ("garbage", openai.InternalServerError, "provider_error"),
        ("close=before", openai.InternalServerError, "provider_error"),
        ("never", openai.InternalServerError, "provider_timeout"),
        ("status=400+code=context_length_exceeded", openai.BadRequestError, "context_length_exceeded"),
        ("status=400+error_text=sk-upstream-secret", openai.BadRequestError, "invalid_request"),
    ],
)
def test_provider_failure_is_mapped_and_gives_nothing_away(gateway, key, provider, behaviour, exception, code):
    provider.script(behaviour)
    client, _ = a_client(gateway, key, max_retries=0)

    with client, pytest.raises(exception) as failed:
        client.chat.completions.create(model="chat", messages=HELLO)

    assert failed.value.code == code
    shown = json.dumps(failed.value.body) + str(dict(failed.value.response.headers))
    assert "sk-upstream-secret" not in shown
    assert str(provider.base_url) not in shown
    if failed.value.status_code >= 500:
        assert int(failed.value.response.headers["retry-after"]) >= 1
    assert gateway.trace(failed.value.body["trace_id"])["code"] == code


def test_provider_that_recovers_is_retried_without_the_app_noticing(client, provider):
    provider.script("fail=429x1+retry_after=0")

    answer = client.chat.completions.create(model="chat", messages=HELLO)

    assert answer.choices[0].message.content == "Hello"


@pytest.mark.parametrize(
    "behaviour", ["sse_error+chars=1", "close=half+chars=1", "no_finish+chars=1", "garbage+chars=1"]
)
def test_stream_that_breaks_ends_in_an_error_event_one_trace_and_no_hold(gateway, client, provider, behaviour):
    provider.script(behaviour)
    text = ""

    with pytest.raises(openai.APIError) as failed:
        for chunk in client.chat.completions.create(model="chat", messages=HELLO, stream=True):
            text += chunk.choices[0].delta.content or ""

    assert "Hello".startswith(text)
    assert failed.value.code == "provider_error"
    trace = gateway.trace(failed.value.body["trace_id"])
    assert (trace["status"], trace["code"]) == (502, "provider_error")
    assert gateway.standing("helpdesk")["requests_per_minute"]["held"] == 0
