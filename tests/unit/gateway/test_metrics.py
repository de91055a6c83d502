"""What is counted together shows as if each request had been counted by itself."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from llmguard.gateway.metrics import Durations, Metrics
from tests.support.builders import a_trace


def count_some(metrics):
    for milliseconds in (1, 2, 900):
        trace = a_trace(app="bot", preset="p", status=200, code=None, latency_ms=milliseconds)
        trace.input_tokens, trace.output_tokens, trace.cost_nano_usd, trace.entities = 7, 2, 500, {"PERSON": 1}
        metrics.count(trace)


def counted(registry):
    who = {"app": "bot", "preset": "p"}
    return {
        "requests": registry.get_sample_value("llmguard_requests_total", who | {"status": "200", "code": ""}),
        "input": registry.get_sample_value("llmguard_tokens_total", who | {"kind": "input"}),
        "output": registry.get_sample_value("llmguard_tokens_total", who | {"kind": "output"}),
        "cost": registry.get_sample_value("llmguard_cost_usd_total", who),
        "persons": registry.get_sample_value("llmguard_redactions_total", {"entity_type": "PERSON"}),
        "below 1 ms": registry.get_sample_value("llmguard_request_seconds_bucket", {"le": "0.001"}),
        "below 2.5 ms": registry.get_sample_value("llmguard_request_seconds_bucket", {"le": "0.0025"}),
        "all": registry.get_sample_value("llmguard_request_seconds_count"),
    }


ALL = {"requests": 3, "input": 21, "output": 6, "cost": pytest.approx(1.5e-6), "persons": 3, "below 1 ms": 1}
ALL |= {"below 2.5 ms": 2, "all": 3}


async def test_what_was_counted_on_a_loop_shows_soon_by_itself():
    registry = CollectorRegistry()
    count_some(Metrics(registry))

    async with asyncio.timeout(30):
        while counted(registry)["all"] != ALL["all"]:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    assert counted(registry) == ALL


async def test_a_scrape_shows_what_was_counted_before_it():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    count_some(metrics)

    assert b"llmguard_request_seconds_count 3.0" in metrics.exposition(None)
    assert counted(registry) == ALL


async def test_a_count_that_fails_has_no_other_counted_twice(monkeypatch):
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    count_some(metrics)
    counting, done = Counter.inc, []

    def failing_once(counter, amount=1, exemplar=None):
        done.append(amount)
        if len(done) == 3:  # of five
            raise OSError
        counting(counter, amount, exemplar)

    monkeypatch.setattr(Counter, "inc", failing_once)
    with pytest.raises(OSError):  # noqa: PT011 - it has no text
        metrics.flush()
    metrics.flush()

    different = {name for name, value in counted(registry).items() if value != ALL[name]}
    assert len(different) == 1


def test_without_a_loop_each_request_shows_at_once():
    registry = CollectorRegistry()
    count_some(Metrics(registry))

    assert counted(registry) == ALL


def test_many_durations_at_once_are_as_one_after_the_other():
    seconds = [0.0, 0.1, 0.1000001, 0.5, 7.0, 1e9]
    one, many = CollectorRegistry(), CollectorRegistry()
    single = Histogram("d", "D.", buckets=(0.1, 0.5, 1), registry=one)
    for each in seconds:
        single.observe(each)
    Durations("d", "D.", buckets=(0.1, 0.5, 1), registry=many).observe_all(seconds)

    def samples(registry):
        return [
            (sample.name, sample.labels, sample.value)
            for metric in registry.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        ]

    assert samples(many) == samples(one)
