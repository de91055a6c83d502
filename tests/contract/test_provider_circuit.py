"""Targets that fail are left alone for a while, and several targets of one model share its requests."""

import asyncio
import random
from dataclasses import replace
from itertools import chain, repeat

import pytest
from prometheus_client import CollectorRegistry

from llmguard.domain.catalog import CircuitRule
from llmguard.gateway.metrics import Metrics
from llmguard.providers.calling import Providers, Waiting
from tests.support.builders import a_model
from tests.support.calls import KEY, SAID, TRACE, Pauses, a_body, a_remote, collect, failure_of

RULE = CircuitRule(consecutive_failures=3, cool_down_seconds=30.0)


class Door:
    """Providers with one worker's metrics, and a clock that only tests move."""

    def __init__(self, tokens, draw=lambda: 0.5):
        self.pauses = Pauses()
        self.clock = self.pauses.clock
        self.metrics = Metrics(CollectorRegistry())
        self.providers = Providers(
            environ={"UPSTREAM_KEY": KEY},
            clock=self.clock,
            tokens=tokens,
            waiting=Waiting(sleep=self.pauses.sleep, random=draw),
            on_circuit=self.metrics.count_circuit,
        )

    async def ask(self, *models, **body):
        call = self.providers.call(models, a_body(**body), trace_id=TRACE)
        await collect(call)
        return call

    async def fail(self, *models, **body):
        call = self.providers.call(models, a_body(**body), trace_id=TRACE)
        return call, await failure_of(call)

    def open_circuits(self, model):
        for line in self.metrics.exposition(None).decode().splitlines():
            if line.startswith("llmguard_provider_circuit_open{") and f'model="{model.name}"' in line:
                assert f'provider="{model.provider.name}"' in line
                return float(line.split()[-1])
        return 0.0


@pytest.fixture
async def door(tokens):
    running = Door(tokens)
    yield running
    await running.providers.close()


def remote(server, name="first", **changes):
    return a_remote(server, name=name, **({"max_retries": 0, "circuit": RULE} | changes))


def outcomes(call):
    return [attempt.outcome for attempt in call.attempts]


async def opened(door, server, model):
    """Let a model fail until its circuit is open, and the server be well again."""
    server.script("status=500")
    for _ in range(RULE.consecutive_failures):
        await door.fail(model)
    server.script("")
    server.received.clear()


async def test_target_that_fails_again_and_again_is_not_asked_any_more(door, server):
    model = remote(server)
    await opened(door, server, model)
    assert door.open_circuits(model) == 1

    call, fault = await door.fail(model)

    assert (fault.code, fault.status, fault.retry_after_seconds) == ("overloaded", 503, 30.0)
    assert (call.reached, call.may_have_cost, outcomes(call)) == (False, False, ["circuit_open"])
    assert server.received == []


async def test_next_model_answers_at_once_while_the_first_is_left_alone(door, server):
    first, second = remote(server), remote(server, "second", base_url=server.base_url + "/")
    await opened(door, server, first)

    call = await door.ask(first, replace(second, target="gpt-4o"))

    assert [(attempt.model, attempt.outcome) for attempt in call.attempts] == [
        ("first", "circuit_open"),
        ("second", "answered"),
    ]
    assert len(server.received) == 1
    assert door.pauses.seconds == []


async def test_earliest_reopening_is_told_when_nothing_is_left(door, server):
    late = remote(server, circuit=replace(RULE, cool_down_seconds=60))
    early = replace(remote(server, "second"), target="gpt-4o")
    await opened(door, server, late)
    await opened(door, server, early)
    door.clock.advance(seconds=10)

    _, fault = await door.fail(late, early)

    assert (fault.code, fault.retry_after_seconds) == ("overloaded", 20.0)
    assert "second" in fault.message


async def test_error_of_a_target_that_was_asked_is_told_before_that_of_one_that_was_not(door, server):
    first, second = remote(server), a_remote(server, "status=401", name="second", circuit=RULE)
    await opened(door, server, first)

    call, fault = await door.fail(first, second)

    assert fault.code == "provider_error"
    assert outcomes(call) == ["circuit_open", "401"]


async def test_one_request_tries_after_the_cool_down_and_its_answer_closes_the_circuit(door, server):
    model = remote(server)
    await opened(door, server, model)
    door.clock.advance(seconds=30)
    server.script("delay=0.1")

    first = asyncio.create_task(door.ask(model))
    assert await asyncio.to_thread(server.wait_for, lambda: server.received)
    _, fault = await door.fail(model)  # while the first one tries
    await first
    await door.ask(model)

    assert (fault.code, fault.retry_after_seconds) == ("overloaded", 1.0)
    assert len(server.received) == 2
    assert door.open_circuits(model) == 0


async def test_try_that_fails_begins_another_cool_down(door, server):
    model = remote(server)
    await opened(door, server, model)
    door.clock.advance(seconds=31)
    server.script("status=500")

    _, tried = await door.fail(model)
    _, fault = await door.fail(model)

    assert (tried.code, fault.code, fault.retry_after_seconds) == ("provider_error", "overloaded", 30.0)
    assert len(server.received) == 1
    assert door.open_circuits(model) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_app_that_hangs_up_lets_the_next_one_try(door, server, stream):
    model = remote(server)
    await opened(door, server, model)
    door.clock.advance(seconds=31)
    server.queue("never")
    running = asyncio.create_task(door.ask(model, stream=stream))
    assert await asyncio.to_thread(server.wait_for, lambda: server.received)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    call = await door.ask(model)

    assert outcomes(call) == ["answered"]
    assert door.open_circuits(model) == 0


@pytest.mark.parametrize(
    "behaviour",
    ["status=400", "status=413", "status=422", "status=400+code=context_length_exceeded", "status=401", "status=403",
     "status=404", "status=429+code=insufficient_quota"],
)  # fmt: skip
async def test_what_is_not_the_targets_health_never_opens_it(door, server, behaviour):
    model = remote(server)
    server.script(behaviour)

    faults = [(await door.fail(model))[1] for _ in range(10)]

    assert {fault.code for fault in faults} & {"overloaded"} == set()
    assert len(server.received) == 10


async def test_apps_that_hang_up_never_open_it(door, server):
    model = remote(server)
    server.script("chars=1+pause=0.02")
    for _ in range(5):
        async with door.providers.call([model], a_body(stream=True), trace_id=TRACE) as call:
            await anext(call.answer)
    server.script("never")
    for count in range(6, 11):
        running = asyncio.create_task(door.ask(model))
        assert await asyncio.to_thread(server.wait_for, lambda: len(server.received) == count)  # noqa: B023
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    server.script("")

    assert outcomes(await door.ask(model)) == ["answered"]


@pytest.mark.parametrize(
    "behaviour",
    ["status=500", "status=503", "status=529", "status=302", "close=before", "garbage", "never", "sse_error", "stall",
     "close=half", "no_finish"],
)  # fmt: skip
async def test_every_sickness_of_a_target_opens_it(door, server, behaviour):
    model = remote(server, first_byte_timeout_seconds=0.3, idle_timeout_seconds=0.05)
    server.script(behaviour)
    stream = behaviour in {"sse_error", "stall", "close=half", "no_finish"}

    for _ in range(RULE.consecutive_failures):
        await door.fail(model, stream=stream)
    _, fault = await door.fail(model, stream=stream)

    assert fault.code == "overloaded"
    assert len(server.received) == RULE.consecutive_failures


async def test_answer_in_between_begins_the_count_anew(door, server):
    model = remote(server)
    for _ in range(3):
        server.queue("status=500", "status=500", "")
        await door.fail(model)
        await door.fail(model)
        await door.ask(model)

    assert len(server.received) == 9


async def test_share_of_failures_opens_it_once_there_are_enough_requests(door, server):
    rule = CircuitRule(consecutive_failures=100, failure_rate=0.5, minimum_requests=6, window_seconds=60)
    model = remote(server, circuit=rule)
    for behaviour in ["", "status=500", "", "status=500", "", "status=500"]:
        server.queue(behaviour)
        await (door.fail(model) if behaviour else door.ask(model))

    _, fault = await door.fail(model)

    assert fault.code == "overloaded"
    assert len(server.received) == 6


async def test_failures_of_long_ago_do_not_count(door, server):
    rule = CircuitRule(consecutive_failures=100, failure_rate=0.5, minimum_requests=6, window_seconds=60)
    model = remote(server, circuit=rule)
    server.script("status=500")
    for _ in range(5):
        await door.fail(model)
    door.clock.advance(seconds=61)

    for _ in range(5):
        await door.fail(model)

    assert len(server.received) == 10


async def test_provider_that_asks_for_time_is_left_alone_for_that_long(door, server):
    model = remote(server)
    server.queue("status=429+retry_after=45")
    await door.fail(model)
    door.clock.advance(seconds=40)

    _, fault = await door.fail(model)
    door.clock.advance(seconds=5)
    await door.ask(model)

    assert (fault.code, fault.retry_after_seconds) == ("overloaded", 5.0)
    assert len(server.received) == 2


async def test_nobody_is_left_alone_for_longer_than_ten_minutes(door, server):
    model = remote(server)
    server.queue("status=429+retry_after=86400")
    await door.fail(model)

    _, fault = await door.fail(model)

    assert fault.retry_after_seconds == 600.0


async def test_request_stops_its_retries_when_the_circuit_opens(door, server):
    model = remote(server, max_retries=10)
    server.script("status=500")

    call, fault = await door.fail(model)

    assert (fault.code, fault.status) == ("provider_error", 502)  # what it saw itself
    assert outcomes(call) == ["500"] * 3


async def test_changed_settings_and_forgotten_targets_begin_with_a_closed_circuit(door, server):
    model = remote(server)
    await opened(door, server, model)
    changed = remote(server, max_retries=1)

    await door.ask(changed)
    assert door.open_circuits(model) == 0

    await opened(door, server, model)
    door.providers.keep([model])
    assert door.open_circuits(model) == 1
    door.providers.keep([])
    assert door.open_circuits(model) == 0
    await door.ask(model)


async def test_echo_has_no_circuit(door):
    for _ in range(10):
        await door.fail(a_model(context_tokens=1))

    await door.ask(a_model())


def shared(server, *weights, **changes):
    """Return the targets of one model, as the registry makes them."""
    targets = [
        replace(remote(server, "shared", **changes), target=f"gpt-{number}", weight=weight)
        for number, weight in enumerate(weights)
    ]
    return replace(targets[0], siblings=tuple(targets[1:])).targets


async def test_targets_share_the_requests_by_their_weights(tokens, server):
    door = Door(tokens, draw=random.Random(7).random)

    for _ in range(200):
        await door.ask(*shared(server, 3, 1))

    asked = [got.json["model"] for got in server.received]
    assert 135 <= asked.count("gpt-0") <= 165  # 150 by the weights; 6 is one standard deviation
    assert asked.count("gpt-1") == 200 - asked.count("gpt-0")
    await door.providers.close()


async def test_other_targets_of_a_model_come_before_its_fallbacks(tokens, server):
    door = Door(tokens, draw=chain([0.2, 0.1, 0.9], repeat(0.5)).__next__)  # the third first, then the first
    fallback = a_remote(server, "text=fallback", name="fallback")
    server.queue("status=500", "status=500", "status=500")

    call = await door.ask(*shared(server, 1, 1, 1), fallback)

    assert [got.json["model"] for got in server.received] == ["gpt-2", "gpt-0", "gpt-1", fallback.target]
    assert [attempt.model for attempt in call.attempts] == ["shared", "shared", "shared", "fallback"]
    await door.providers.close()


async def test_target_that_is_left_alone_gives_its_share_to_the_others(door, server):
    first, second = shared(server, 1000, 1)
    await opened(door, server, first)

    call = await door.ask(first, second)

    assert outcomes(call) == ["circuit_open", "answered"]
    assert call.model is second
    assert [got.json["model"] for got in server.received] == ["gpt-1"]


async def test_model_with_one_target_draws_nothing(tokens, server):
    door = Door(tokens, draw=iter([]).__next__)

    answers = await door.ask(remote(server))

    assert outcomes(answers) == ["answered"]
    assert server.received[0].json["messages"][0]["content"] == SAID
    await door.providers.close()
