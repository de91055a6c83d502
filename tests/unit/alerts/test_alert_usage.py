"""What apps did in six hours, read from a real trace store; then the whole watch over it."""

from datetime import UTC, datetime, timedelta

import pytest

from llmguard.alerts.sending import Sender
from llmguard.alerts.usage import compare, usage_alerts
from llmguard.alerts.watch import Watch
from llmguard.domain.alerts import AlertPolicy, AnomalyRule, Webhook
from llmguard.domain.catalog import Quota, Registry
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.store import TraceStore
from tests.support.builders import FrozenClock, an_app
from tests.support.webhook_receiver import SECRET, Receiver

THURSDAY = datetime(2026, 11, 26, 15, tzinfo=UTC)
INSERT = """
INSERT INTO traces BY NAME
SELECT
    i + $first AS seq, uuid() AS trace_id, $at::TIMESTAMPTZ AS started_at, '/v1/chat/completions' AS endpoint,
    $app AS app, 200 AS status, '{}' AS decision, MAP {'PERSON': 2} AS entities, 90 AS input_tokens,
    10 AS output_tokens, 0.01::DECIMAL(18, 9) AS cost_usd, false AS stream, '{}' AS steps,
    repeat('0', 64) AS payload_digest, repeat('0', 64) AS prev_digest, repeat('0', 64) AS digest
FROM range($count) AS r(i)
"""
RULE = AnomalyRule(minimum_nano_usd=10**9, minimum_tokens=1000)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Thirty days of ten requests at 14:00 Berlin time each day, and today a hundred; clocks changed a month ago."""
    data = tmp_path_factory.mktemp("data")
    places = Places(data)
    places.create()
    store = TraceStore(places)
    try:
        for back in range(31):
            at = (THURSDAY - timedelta(days=back)).replace(hour=13)
            values = {"first": back * 1000, "at": at.isoformat(), "count": 10 if back else 100}
            store.connection.execute(INSERT, values | {"app": "busy"})
        values = {"first": 90_000, "at": (THURSDAY - timedelta(hours=1)).isoformat(), "count": 500}
        store.connection.execute(INSERT, values | {"app": "new"})
    finally:
        store.close()
    return data


APPS = {
    "busy": an_app(name="busy", quota=Quota(time_zone="Europe/Berlin")),
    "new": an_app(name="new"),
    "idle": an_app(name="idle"),
}


def compared(data, ends_at=THURSDAY):
    return {one.app.name: one for one in compare(TraceReader(data), APPS, ends_at)}


def test_sums_of_six_hours_are_those_of_the_traces(data):
    now = compared(data)["busy"].now

    assert (now.requests, now.tokens, now.spend, now.pii) == (100, 10_000, 10**9, 200)
    assert (now.errors, now.refusals, now.day_tokens) == (0, 0, 10_000)


def test_a_working_day_is_compared_with_working_days(data):
    busy = compared(data)["busy"]

    assert (busy.is_weekend, busy.history_days, len(busy.past)) == (False, 28, 20)
    assert {use.requests for use in busy.past} == {10}


def test_hours_without_use_and_apps_without_any_are_not_judged(data):
    assert set(compared(data)) == {"busy", "new"}
    assert compared(data, THURSDAY.replace(hour=12)) == {}


def test_the_event_says_what_was_expected_what_was_seen_and_why(data):
    alerts = dict(usage_alerts(compared(data)["busy"], RULE))

    assert set(alerts) == {"tokens"}  # one dollar is not more than the least excess of one
    message = alerts["tokens"].data["message"]
    assert "used 10,000 tokens from 10:00 to 16:00 on 2026-11-26 (Europe/Berlin)" in message
    assert "Expected was 1,000 tokens, the median of the same six hours on the last 20 working days" in message
    assert "60 times the usual spread" in message


def test_a_new_app_is_not_judged(data):
    new = compared(data)["new"]

    assert (new.history_days, list(usage_alerts(new, RULE))) == (0, [])


async def test_the_watch_tells_an_episode_once_also_after_a_restart(data):
    with Receiver() as receiver:
        policy = AlertPolicy(webhooks=(Webhook("ops", receiver.url, "S", loopback=True),), anomaly=RULE)
        registry = Registry("d", {}, {}, {}, APPS, alerts=policy)
        for hours in (0, 1):
            clock = FrozenClock(THURSDAY + timedelta(hours=hours, minutes=6))
            watch = Watch(data, lambda: registry, Sender({"S": SECRET}), clock)
            watch.look()
            await watch.finish()
            await watch.close()

        assert len(receiver.received) == 1
        assert b"com.llmguard.anomaly.tokens" in receiver.received[0].body
