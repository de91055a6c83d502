"""HTTP as spreadsheets, n8n, shell scripts and older tools speak it: what they mean is understood, or told back."""

import gzip
import json
import shutil
import subprocess

import pytest

from tests.support.raw_http import Wire, chunked

pytestmark = pytest.mark.client("raw HTTP")
CHAT = "POST /v1/chat/completions HTTP/1.1"
HELLO = {"model": "echo", "messages": [{"role": "user", "content": "Hello there"}]}
BODY = json.dumps(HELLO).encode()


@pytest.fixture
def ask(gateway, key):
    """Send one request with a good key, and return its answer."""

    def ask(first=CHAT, headers=None, body=BODY, *, sized=True):
        given = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"} | (headers or {})
        if sized:
            given["Content-Length"] = str(len(body))
        with Wire(gateway.base_url) as wire:
            wire.send(first, {name: value for name, value in given.items() if value is not None}, body)
            return wire.receive()

    return ask


def said(answer):
    assert answer.status == 200, answer.body
    return answer.json["choices"][0]["message"]["content"]


@pytest.mark.feature("key in Authorization: bearer, api-key or x-api-key")
@pytest.mark.parametrize(
    ("name", "form"),
    [("authorization", "bearer {}"), ("AUTHORIZATION", "BEARER {}"), ("api-key", "{}"), ("X-Api-Key", "{}")],
)
def test_key_is_found_where_tools_put_it(ask, key, name, form):
    assert "Hello there" in said(ask(headers={"Authorization": None, name: form.format(key)}))


def test_authorization_is_what_counts_where_there_are_several(ask, key):
    answer = ask(headers={"Authorization": "Bearer sk-lg_wrong", "api-key": key})

    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


@pytest.mark.feature("body without or with another content-type")
@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_json_is_read_whatever_it_is_called(ask, kind):
    assert "Hello there" in said(ask(headers={"content-type": kind}))


def test_byte_order_mark_is_no_part_of_the_json(ask):
    assert "Hello there" in said(ask(body=b"\xef\xbb\xbf" + BODY))


@pytest.mark.feature("mistakes are told: forms, lost quotes, UTF-16, empty body")
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"model=echo&messages[0][role]=user", "Choose JSON"),
        (b"messages%5B0%5D%5Bcontent%5D=Hello", "Choose JSON"),
        (b'--XyZ\r\nContent-Disposition: form-data; name="model"\r\n\r\necho\r\n--XyZ--', "Choose JSON"),
        (b"'{model:", "--data @file.json"),
        (b"{model: echo}", "--data @file.json"),
        (BODY.decode().encode("utf-16"), "UTF-8"),
        (b"", "Send a JSON object"),
        (BODY[:-3], "Send a JSON object"),
        (b"[1]", "Send an object"),
    ],
    ids=["form", "form, encoded", "multipart", "quoted", "unquoted", "UTF-16", "empty", "cut", "list"],
)
def test_what_is_no_json_is_told_apart(ask, body, told):
    answer = ask(body=body)

    assert (answer.status, answer.error["code"], answer.error["type"]) == (
        400,
        "invalid_request",
        "invalid_request_error",
    )
    assert told in answer.error["hint"]
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.feature("body packed with gzip")
def test_packed_body_is_unpacked(ask):
    assert "Hello there" in said(ask(headers={"content-encoding": "gzip"}, body=gzip.compress(BODY)))


@pytest.mark.parametrize(
    ("encoding", "body", "status", "code"),
    [
        ("br", BODY, 400, "invalid_request"),
        ("gzip", BODY, 400, "invalid_request"),
        ("gzip", gzip.compress(BODY)[:-9], 400, "invalid_request"),
        ("gzip", gzip.compress(b" " * (10 * 1024 * 1024) + BODY), 413, "request_too_large"),
    ],
    ids=["unknown", "not packed", "cut", "a bomb"],
)
def test_body_that_cannot_be_unpacked_is_refused(ask, encoding, body, status, code):
    answer = ask(headers={"content-encoding": encoding}, body=body)

    assert (answer.status, answer.error["code"]) == (status, code)


@pytest.mark.feature("body in chunks, of no announced length")
def test_body_may_come_in_chunks(ask):
    body = chunked(BODY[:9], BODY[9:])

    assert "Hello there" in said(ask(headers={"transfer-encoding": "chunked"}, body=body, sized=False))


@pytest.mark.feature("Expect: 100-continue")
def test_client_that_waits_for_a_go_gets_it(gateway, key):
    headers = {"authorization": f"Bearer {key}", "content-length": str(len(BODY)), "expect": "100-continue"}
    with Wire(gateway.base_url) as wire:
        wire.send(CHAT, headers)
        assert wire.receive().status == 100
        wire.write(BODY)
        assert "Hello there" in said(wire.receive())


def test_stranger_gets_no_go(gateway):
    headers = {"authorization": "Bearer nobody", "content-length": str(len(BODY)), "expect": "100-continue"}
    with Wire(gateway.base_url) as wire:
        wire.send(CHAT, headers)
        assert wire.receive().status == 401


@pytest.mark.feature("HTTP/1.0; streams in chunks, as proxies that speak it read them")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_oldest_http_is_answered(ask, stream):
    body = json.dumps(HELLO | {"stream": stream}).encode()
    answer = ask(first="POST /v1/chat/completions HTTP/1.0", body=body)

    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    if stream:
        assert answer.body.startswith(b"data: {")
        assert answer.body.endswith(b"data: [DONE]\n\n")
    else:
        assert "Hello there" in said(answer)


@pytest.mark.feature("a slash at the end of a path")
@pytest.mark.parametrize("path", ["/v1/models/", "/v1/models/echo/", "/v1/me/"])
def test_slash_at_the_end_changes_nothing(ask, path):
    assert ask(first=f"GET {path} HTTP/1.1", body=b"").json == ask(first=f"GET {path[:-1]} HTTP/1.1", body=b"").json


def test_slash_at_the_end_of_a_post_changes_nothing(ask):
    assert "Hello there" in said(ask(first="POST /v1/chat/completions/ HTTP/1.1"))


@pytest.mark.feature("a wrong base URL is told")
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/v1/chat/completions", "/v1 is there twice: the path is /v1/chat/completions."),
        ("/chat/completions", "The path is /v1/chat/completions: "),
        ("/openai/deployments/echo/chat/completions?api-version=1", "The path is /v1/chat/completions: "),
        ("/v1/chat/completions/chat/completions", "The path is /v1/chat/completions: "),
        ("/v1/audio/speech", "Use POST /v1/chat/completions"),
        ("/v1/Anna%20Schmidt", "Use POST /v1/chat/completions"),
    ],
)
def test_wrong_path_is_answered_with_the_right_one(ask, path, told):
    answer = ask(first=f"POST {path} HTTP/1.1")

    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert answer.error["hint"].startswith(told)


@pytest.mark.feature("another method is told")
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "OPTIONS, POST"),
        ("GET", "/v1/embeddings/", "OPTIONS, POST"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/models/echo", "GET, HEAD, OPTIONS"),
    ],
)
def test_wrong_method_is_answered_with_the_right_one(ask, method, path, allowed):
    answer = ask(first=f"{method} {path} HTTP/1.1", body=b"")

    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.feature("CORS preflight of a listed web page")
def test_preflight_allows_what_clients_in_a_browser_send(ask):
    wanted = "authorization,api-key,content-type,x-stainless-os,x-evil"
    headers = {
        "authorization": None,
        "origin": "https://apps.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": wanted,
    }
    answer = ask(first="OPTIONS /v1/responses HTTP/1.1", headers=headers, body=b"")

    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://apps.example.com"
    assert answer.headers["access-control-allow-headers"] == "authorization, api-key, content-type, x-stainless-os"


@pytest.fixture
def curl(gateway, key):
    """Run curl on a path, and return what it printed."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def curl(path, *words):
        command = [
            "curl",
            "--silent",
            "--show-error",
            f"{gateway.base_url}{path}",
            "-H",
            f"Authorization: Bearer {key}",
        ]
        return subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=True).stdout

    return curl


@pytest.mark.client("curl")
@pytest.mark.feature("whole answers, as -d sends it")
def test_curl_gets_a_whole_answer(curl):
    assert json.loads(curl("/chat/completions", "-d", BODY.decode()))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.client("curl")
@pytest.mark.feature("streams, with -N")
def test_curl_gets_a_stream(curl):
    body = json.dumps(HELLO | {"stream": True})
    events = curl("/chat/completions", "-N", "--json", body).strip().split("\n\n")

    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"
    texts = [json.loads(event[6:])["choices"][0]["delta"].get("content") or "" for event in events[:-1]]
    assert "Hello there" in "".join(texts)


@pytest.mark.client("curl")
@pytest.mark.feature("errors, in words")
def test_curl_gets_an_error_in_words(curl):
    answer = json.loads(curl("/chat/completions", "-d", json.dumps(HELLO | {"seed": 1})))

    assert (answer["error"]["code"], answer["error"]["param"]) == ("parameter_not_allowed", "seed")
    assert "Leave seed out" in answer["error"]["hint"]
