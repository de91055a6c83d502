"""The calling step against a real server that fails: retries, fallbacks, time-outs, and what the app is told."""

import contextlib
import socket

import pytest

from llmguard.providers.calling import Providers, Waiting
from tests.support.builders import FrozenClock, a_model, a_provider
from tests.support.calls import KEY, SAID, TRACE, a_body, a_remote, collect, failure_of, text_of


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_passing_trouble_is_tried_again(providers, server, pauses, status):
    call = providers.call([a_remote(server, f"fail={status}x2")], a_body(), trace_id=TRACE)

    answers = await collect(call)

    assert answers[0]["choices"][0]["message"]["content"] == SAID
    assert [attempt.outcome for attempt in call.attempts] == [str(status), str(status), "answered"]
    assert pauses.seconds == [0.125, 0.25]
    assert {got.request_id for got in server.received} == {TRACE}


async def test_retry_waits_as_long_as_the_provider_asks(providers, server, pauses):
    await collect(providers.call([a_remote(server, "fail=429x1+retry_after=3")], a_body(), trace_id=TRACE))

    assert pauses.seconds == [3.0]


async def test_provider_that_asks_for_too_long_a_wait_is_not_waited_for(providers, server, pauses):
    call = providers.call([a_remote(server, "status=429+retry_after=3600")], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, fault.retry_after_seconds, pauses.seconds) == ("provider_error", 3600.0, [])
    assert len(server.received) == 1
    assert call.reached
    assert not call.may_have_cost


async def test_provider_that_says_no_to_retries_is_obeyed(providers, server):
    await failure_of(providers.call([a_remote(server, "status=500+no_retry")], a_body(), trace_id=TRACE))

    assert len(server.received) == 1


async def test_retries_end(providers, server, pauses):
    call = providers.call([a_remote(server, "status=500", max_retries=3)], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, fault.status, len(server.received), len(pauses.seconds)) == ("provider_error", 502, 4, 3)
    assert call.may_have_cost


@pytest.mark.parametrize(
    "behaviour",
    ["status=500", "status=401", "status=403", "status=404", "status=302", "status=429+code=insufficient_quota",
     "close=before", "close=half", "garbage", "never", "stall", "usage=missing+type=text/html+stream"],
)  # fmt: skip
async def test_next_model_answers_when_the_first_cannot(providers, server, behaviour):
    first = a_remote(server, behaviour, name="first", max_retries=0, first_byte_timeout_seconds=0.2)
    second = a_remote(server, "prefix=4", name="second")
    stream = behaviour.endswith("stream")
    if stream:
        first = a_remote(server, "type=text/html", name="first")
    call = providers.call([first, second], a_body(stream=stream), trace_id=TRACE)

    answers = await collect(call)

    answered = text_of(answers) if stream else answers[0]["choices"][0]["message"]["content"]
    assert answered == SAID[:4]
    assert call.model is second
    assert call.body["model"] == second.target
    assert [(attempt.model, attempt.outcome) for attempt in call.attempts][-1] == ("second", "answered")
    assert len(call.attempts) == 2


async def test_request_that_is_wrong_everywhere_is_not_sent_to_the_next_model(providers, server):
    models = [a_remote(server, "status=400+code=invalid_value+param=tools[0].function"), a_remote(server)]
    call = providers.call(models, a_body(), trace_id=TRACE)

    refusal = await failure_of(call)

    assert (refusal.code, refusal.param) == ("invalid_request", "tools[0].function")
    assert "invalid_value" in refusal.message
    assert len(server.received) == 1
    assert call.reached
    assert not call.may_have_cost


@pytest.mark.parametrize(
    ("behaviour", "code", "status"),
    [
        ("status=400", "invalid_request", 400),
        ("status=422", "invalid_request", 400),
        ("status=400+code=context_length_exceeded", "context_length_exceeded", 400),
        ("status=413", "request_too_large", 413),
        ("status=401", "provider_error", 502),
        ("status=403", "provider_error", 502),
        ("status=404", "provider_error", 502),
        ("status=302", "provider_error", 502),
        ("status=429", "provider_error", 502),
        ("status=429+code=insufficient_quota", "provider_error", 502),
        ("status=500", "provider_error", 502),
        ("close=before", "provider_error", 502),
        ("close=half", "provider_error", 502),
        ("garbage", "provider_error", 502),
        ("never", "provider_timeout", 504),
        ("stall", "provider_timeout", 504),
    ],
)
async def test_failure_has_its_code_and_gives_nothing_away(providers, server, caplog, behaviour, code, status):
    seconds = 0.2 if behaviour in {"never", "stall"} else 60.0
    model = a_remote(server, behaviour, max_retries=0, first_byte_timeout_seconds=seconds)
    call = providers.call([model], a_body(), trace_id=TRACE)

    failure = await failure_of(call)

    assert (failure.code, failure.status) == (code, status)
    shown = f"{failure} {failure!r} {failure.hint} {failure.param} {call!r} {call.attempts} {caplog.text}"
    for secret in (KEY, "dana@example.com", "127.0.0.1", server.base_url):
        assert secret not in shown
    assert failure.__cause__ is None
    assert failure.__suppress_context__ or failure.__context__ is None


async def test_credentials_that_the_provider_refuses_are_named_by_their_variable(providers, server):
    fault = await failure_of(providers.call([a_remote(server, "status=401")], a_body(), trace_id=TRACE))

    assert "llmguard's own credentials" in fault.message
    assert "UPSTREAM_KEY" in fault.hint


@pytest.mark.parametrize("key", [None, "", "  ", "line\nbreak", "schlüssel"])
async def test_key_that_is_missing_or_unusable_reaches_nobody(tokens, server, key):
    environ = {} if key is None else {"UPSTREAM_KEY": key}
    providers = Providers(environ=environ, clock=FrozenClock(), tokens=tokens)
    call = providers.call([a_remote(server)], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert (fault.code, call.reached, call.may_have_cost) == ("provider_error", False, False)
    assert "UPSTREAM_KEY" in fault.message
    assert server.received == []
    await providers.close()


async def test_key_is_read_at_each_call(tokens, server):
    environ = {}
    providers = Providers(environ=environ, clock=FrozenClock(), tokens=tokens)
    await failure_of(providers.call([a_remote(server)], a_body(), trace_id=TRACE))
    environ["UPSTREAM_KEY"] = "sk-new\n"

    await collect(providers.call([a_remote(server)], a_body(), trace_id=TRACE))

    assert server.received[0].headers["authorization"] == "Bearer sk-new"
    await providers.close()


async def test_nobody_listening_is_not_reached_and_tried_again(providers, pauses):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        model = a_model(provider=a_provider(kind="openai", base_url=base_url))
        call = providers.call([model], a_body(), trace_id=TRACE)

        fault = await failure_of(call)

    assert (fault.code, call.reached, call.may_have_cost) == ("provider_error", False, False)
    assert [attempt.outcome for attempt in call.attempts] == ["not_connected"] * 3
    assert len(pauses.seconds) == 2


async def test_full_backlog_is_a_timeout_that_reached_nobody(providers):
    with socket.socket() as full, contextlib.ExitStack() as fillers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - the standard library's signature
            filler.connect_ex(full.getsockname())
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        provider = a_provider(kind="openai", base_url=base_url, connect_timeout_seconds=0.1, max_retries=0)
        call = providers.call([a_model(provider=provider)], a_body(), trace_id=TRACE)

        fault = await failure_of(call)

    assert (fault.code, call.reached) == ("provider_timeout", False)
    assert call.attempts[0].outcome == "timeout_connection"


@pytest.mark.parametrize(
    "base_url", ["nonsense", "http://", "ftp://example.invalid/v1", "http://[::1", "http://a b/v1"]
)
async def test_address_that_makes_no_sense_is_the_operators_fault(providers, base_url):
    provider = a_provider(kind="openai", base_url=base_url, max_retries=0)
    call = providers.call([a_model(provider=provider)], a_body(), trace_id=TRACE)

    fault = await failure_of(call)

    assert fault.code == "provider_error"
    assert base_url not in f"{fault} {fault.hint}"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("Mon, 23 Nov 2026 12:00:04 GMT", 4.0), ("Mon, 23 Nov 2026 11:00:00 GMT", 0.125), ("soon", 0.125), ("inf", None)],
)
async def test_retry_after_is_read_in_every_form(providers, server, pauses, asked, seconds):
    model = a_remote(server, f"fail=429x1+retry_after={asked.replace(' ', '%20')}")
    call = providers.call([model], a_body(), trace_id=TRACE)

    if seconds is None:
        assert (await failure_of(call)).retry_after_seconds == 24 * 3600
    else:
        await collect(call)
        assert pauses.seconds == [seconds]


async def test_whole_answer_may_have_less_time_than_the_first_byte(providers, server):
    model = a_remote(server, "never", total_timeout_seconds=0.1)

    fault = await failure_of(providers.call([model], a_body(), trace_id=TRACE))

    assert fault.code == "provider_timeout"
    assert "whole answer" in fault.message


async def test_total_time_covers_the_retries(tokens, server):
    providers = Providers(environ={}, clock=FrozenClock(), tokens=tokens, waiting=Waiting(random=lambda: 1.0))
    model = a_remote(server, "status=503+retry_after=5", api_key_env=None, total_timeout_seconds=3.0)

    await failure_of(providers.call([model], a_body(), trace_id=TRACE))

    assert len(server.received) == 1
    await providers.close()


async def test_call_with_no_model_is_a_defect(providers):
    with pytest.raises(IndexError):
        providers.call([], a_body(), trace_id=TRACE)
