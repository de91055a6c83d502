"""Providers that misbehave, seen from the app, through the whole door.

Each ends in the right answer or the right error, with one trace, one settled hold, and nothing given away.
"""

import gzip
import json
import logging
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field, replace
from urllib.parse import quote

import httpx
import pytest

from llmguard.domain.clock import SystemClock
from llmguard.providers.calling import Providers, Waiting
from tests.support.builders import a_quota
from tests.support.calls import KEY
from tests.support.provider_server import ProviderServer
from tests.support.served import Served, a_registry_at

SAID = "Grüße, 😀 how are you?"
LONG = 5_000_000  # characters of one line, which is more than an event may have


@dataclass(frozen=True)
class Case:
    """What the provider does, request by request, and what comes of it."""

    name: str
    does: tuple[str, ...]
    status: int = 200
    code: str | None = None
    outcomes: tuple[str, ...] = ("answered",)
    stream: bool = False
    begun: bool = field(default=False)  # the answer had begun when it failed

    def __str__(self):
        return f"{'stream' if self.stream else 'whole'}: {self.name}"


def raw(content):
    """Return the behaviour of a server that sends these bytes and closes the socket."""
    return f"raw={urlsafe_b64encode(content).decode()}"


def http(content, *lines, kind="application/json"):
    head = ["HTTP/1.1 200 OK", f"content-type: {kind}", *lines]
    return raw("\r\n".join([*head, "", ""]).encode() + content)


def sized(content, *lines, kind="application/json"):
    return http(content, f"content-length: {len(content)}", *lines, kind=kind)


def chunked(*pieces, kind="text/event-stream"):
    return http(b"".join(pieces), "transfer-encoding: chunked", kind=kind)


def piece(content):
    return b"%x\r\n%s\r\n" % (len(content), content)


def event(content):
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]}
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


ANSWER = json.dumps(
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}}]}, ensure_ascii=False
).encode()
CUT_IN_UTF8 = ANSWER.index("ü".encode()) + 1
BOMB = gzip.compress(b" " * 100_000_000, 9)
ERROR = quote(json.dumps({"error": {"message": "the key sk-1 is bad", "code": "server_error"}}))
BROKEN, LOST = ("broken_off",) * 3, ("not_understood",)

WHOLE = [
    Case("slow", ("delay=0.2",)),
    Case("429, then an answer", ("status=429+retry_after=0", ""), outcomes=("429", "answered")),
    Case("500 twice, then an answer", ("status=500", "status=500", ""), outcomes=("500", "500", "answered")),
    Case("closes the socket, then answers", ("close=before", ""), outcomes=("broken_off", "answered")),
    Case("stops half way, then answers", ("close=half", ""), outcomes=("broken_off", "answered")),
    Case("429 for ever", ("status=429",) * 3, 502, "provider_error", ("429",) * 3),
    Case("503 for ever", ("status=503",) * 3, 502, "provider_error", ("503",) * 3),
    Case("never answers", ("never",), 504, "provider_timeout", ("timeout_first_byte",)),
    Case("stalls half way", ("stall",), 504, "provider_timeout", ("timeout_first_byte",)),
    Case("closes the socket", ("close=before",) * 3, 502, "provider_error", BROKEN),
    Case("garbage", ("garbage",), 502, "provider_error", LOST),
    Case("HTML of a proxy", (sized(b"<html>proxy</html>", kind="text/html"),), 502, "provider_error", LOST),
    Case("JSON cut in the middle", (sized(ANSWER[:-9]),), 502, "provider_error", LOST),
    Case("UTF-8 cut in the middle", (sized(ANSWER[:CUT_IN_UTF8]),), 502, "provider_error", LOST),
    Case("JSON shorter than announced", (http(ANSWER, "content-length: 9999"),) * 3, 502, "provider_error", BROKEN),
    Case("an error inside of 200", (f"answer={ERROR}",), 502, "provider_error", ("error_in_answer",)),
    Case("another JSON", (f"answer={quote('[]')}",), 502, "provider_error", LOST),
    Case("nothing", (sized(b""),), 502, "provider_error", LOST),
    Case("a redirect", ("status=302",), 502, "provider_error", ("302",)),
    Case("a bomb", (sized(BOMB, "content-encoding: gzip"),), 502, "provider_error", LOST),
    Case("a wrong chunk", (chunked(piece(ANSWER[:9]), b"zz\r\n"),) * 3, 502, "provider_error", BROKEN),
    Case("no HTTP", (raw(b"\x00\x01 hello\r\n\r\n"),) * 3, 502, "provider_error", BROKEN),
    Case("a huge header", (sized(ANSWER, f"x-huge: {'x' * 100_000}"),) * 3, 502, "provider_error", BROKEN),
    Case("refuses the request", ("status=400",), 400, "invalid_request", ("400",)),
    Case("refuses our key", ("status=401",), 502, "provider_error", ("401",)),
]  # fmt: skip
BEGUN = {"status": 200, "outcomes": ("answered",), "begun": True}
STREAMED = [
    Case("slow", ("delay=0.1+pause=0.02",)),
    Case("cut at each byte", ("bytes=1+chars=1",)),
    Case("CRLF and comments", ("crlf+comments+bytes=3",)),
    Case("no [DONE]", ("no_done",)),
    Case("stays open after [DONE]", ("lingers",)),
    Case("no usage", ("usage=missing",)),
    Case("odd usage", ("usage=garbage",)),
    Case("429, then an answer", ("status=429", ""), outcomes=("429", "answered")),
    Case("never answers", ("never",), 504, "provider_timeout", ("timeout_first_byte",)),
    Case("says nothing", ("empty",) * 3, 502, "provider_error", BROKEN),
    Case("HTML of a proxy", ("type=text/html",), 502, "provider_error", LOST),
    Case("UTF-8 cut at once", (chunked(piece(b'data: {"choices": "\xc3"}\n\n')),), 502, "provider_error", LOST),
    Case("stalls half way", ("stall+chars=2",), code="provider_timeout", **BEGUN),
    Case("closes the socket half way", ("close=half+chars=2",), code="provider_error", **BEGUN),
    Case("ends without an end", ("no_finish+chars=2",), code="provider_error", **BEGUN),
    Case("garbage", ("garbage+chars=2",), code="provider_error", **BEGUN),
    Case("an error object", ("sse_error+chars=2",), code="provider_error", **BEGUN),
    Case("an error event", ("sse_error=named+chars=2",), code="provider_error", **BEGUN),
    Case("a huge line", (f"huge={LONG}+chars={LONG}",), code="provider_error", **BEGUN),
    Case("UTF-8 cut in an event", (chunked(piece(event("Hi")), piece(event("ü").replace(b"\xbc", b""))),),
         code="provider_error", **BEGUN),
    Case("JSON cut in an event", (chunked(piece(event("Hi")), piece(event("x")[:-9] + b"\n\n")),),
         code="provider_error", **BEGUN),
    Case("a wrong chunk, then an answer", (chunked(piece(event("Hi")), b"zz\r\n"), ""),
         outcomes=("broken_off", "answered")),
]  # fmt: skip
CASES = [*WHOLE, *(replace(case, stream=True) for case in STREAMED)]


async def at_once(_):
    """Do not wait."""


@pytest.fixture(scope="module")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="module")
def served(provider, tmp_path_factory):
    registry = a_registry_at(provider.base_url, quota=a_quota(tokens_per_month=10_000_000))
    settings = {
        "first_byte_timeout_seconds": 0.8, "idle_timeout_seconds": 0.8, "max_retries": 2, "api_key_env": "UPSTREAM_KEY",
    }  # fmt: skip
    (preset,) = registry.presets["summarise"]
    model = replace(preset.model, provider=replace(preset.model.provider, **settings))
    registry = replace(registry, presets={"summarise": (replace(preset, model=model),)})
    door = Served(tmp_path_factory.mktemp("door"), registry=registry)
    door.services.providers = Providers(
        environ={"UPSTREAM_KEY": KEY},
        clock=SystemClock(),
        tokens=door.services.tokens,
        waiting=Waiting(sleep=at_once),
    )
    with door:
        yield door


def month(served):
    got = httpx.get(f"{served.base_url}/me", headers={"authorization": f"Bearer {served.key}"}, timeout=60).json()
    return next(quota for quota in got["quota"] if quota["name"] == "tokens_per_month")


def text_of(got, *, stream):
    if not stream:
        return got.json()["choices"][0]["message"]["content"]
    lines = [line.removeprefix("data: ") for line in got.text.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(line) for line in lines]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk.get("choices", []))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_provider_that_misbehaves(served, provider, caplog, case):
    caplog.set_level(logging.DEBUG, logger="llmguard")
    provider.queue(*case.does)
    provider.received.clear()
    used_before = month(served)["used"]
    body = {"model": "summarise", "messages": [{"role": "user", "content": SAID}], "stream": case.stream}

    got = httpx.post(
        f"{served.base_url}/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {served.key}"},
        timeout=60,
    )
    standing = settled(served)

    assert got.status_code == case.status
    assert len(provider.received) == len(case.does)
    trace = served.reader.show(got.headers["x-llmguard-trace-id"])
    assert told(trace) == case.outcomes
    assert trace["code"] == case.code
    assert standing["used"] - used_before == (trace["input_tokens"] or 0) + (trace["output_tokens"] or 0)
    if case.code is None:
        assert text_of(got, stream=case.stream) == SAID
        assert trace["input_tokens"] > 0
    else:
        assert f'"{case.code}"' in got.text
        assert ("[DONE]" in got.text) is False
    if case.begun:
        assert "event: error" in got.text
    everything = f"{got.text} {got.headers} {json.dumps(trace, default=str)} {ours(caplog)}"
    for secret in (KEY, provider.base_url, provider.base_url.split("/")[2], "sk-1", "proxy"):
        assert secret not in everything


def ours(caplog):
    """Return the log lines but those of the test's own client."""
    return " ".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))


def told(trace):
    attempts = trace["decision"].get("attempts")
    return ("answered",) if attempts is None else tuple(attempt["outcome"] for attempt in attempts)


def settled(served):
    deadline = time.monotonic() + 60
    while (standing := month(served))["held"]:
        assert time.monotonic() < deadline, "the hold is still open"
        time.sleep(0.01)
    return standing


def test_nobody_listening_is_a_fault_that_costs_nothing(served, provider, tmp_path):
    registry = a_registry_at("http://127.0.0.1:9/v1", quota=a_quota(tokens_per_month=1_000_000))
    with Served(tmp_path, registry=registry) as door:
        got = httpx.post(
            f"{door.base_url}/chat/completions",
            json={"model": "summarise", "messages": [{"role": "user", "content": SAID}]},
            headers={"authorization": f"Bearer {door.key}"},
        )
        standing = settled(door)
        trace = door.reader.show(got.headers["x-llmguard-trace-id"])

    assert (got.status_code, standing["used"]) == (502, 0)
    assert told(trace) == ("not_connected",)


def test_connections_are_used_again_after_answers_and_streams_that_end_normally(tmp_path):
    with ProviderServer() as server, Served(tmp_path, registry=a_registry_at(server.base_url)) as door:
        with httpx.Client(headers={"authorization": f"Bearer {door.key}"}) as client:
            for number in range(50):
                body = {
                    "model": "summarise",
                    "messages": [{"role": "user", "content": SAID}],
                    "stream": number % 2 == 0,
                }
                assert client.post(f"{door.base_url}/chat/completions", json=body).status_code == 200

        assert len(server.received) == 50
        assert server.connections == 1
