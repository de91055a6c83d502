"""Alerts over real sockets and a real state.db: each once, at least once delivered, and never where they may not go."""

import asyncio
import json
import multiprocessing
from dataclasses import replace

import pytest

from llmguard.alerts.delivery import MOST_ATTEMPTS, Courier, wait_seconds
from llmguard.alerts.event import Alert
from llmguard.alerts.sending import Sender
from llmguard.alerts.store import AlertStore
from llmguard.domain.alerts import Webhook
from llmguard.domain.clock import SystemClock
from tests.support.builders import FrozenClock
from tests.support.signatures import is_signed
from tests.support.webhook_receiver import SECRET, Receiver

ENVIRON = {"OPS_SECRET": SECRET}
ALERT = Alert("limit|app:a|tokens_per_day|x|0|80", "com.llmguard.limit.reached", "app:a", frozenset({"4711"}), {"n": 1})


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def clock():
    return FrozenClock(SystemClock().now())


@pytest.fixture
def store(tmp_path, clock):
    store = AlertStore(tmp_path / "state.db", clock)
    yield store
    store.close()


def a_webhook(receiver, **changes):
    return replace(Webhook("ops", receiver.url, "OPS_SECRET", loopback=True), **changes)


async def deliver(store, clock, *webhooks, patience=5.0):
    courier = Courier(store, Sender(ENVIRON, patience_seconds=patience), clock)
    courier.start_due({webhook.name: webhook for webhook in webhooks})
    await courier.finish()


def fate(store):
    [row] = store.newest(1)
    return row["deliveries"]["ops"]


async def test_an_event_arrives_signed_and_its_row_says_so(store, clock, receiver):
    webhook = a_webhook(receiver)
    alert_id = store.raise_once(ALERT, [webhook])

    await deliver(store, clock, webhook)

    [posted] = receiver.received
    assert is_signed(posted, SECRET)
    assert posted.headers["webhook-id"] == json.loads(posted.body)["id"] == alert_id
    assert not is_signed(replace(posted, body=posted.body + b" "), SECRET)
    assert (fate(store)["state"], store.due()) == ("delivered", [])


async def test_failures_are_tried_again_under_the_same_id_until_it_is_accepted(store, clock, receiver):
    webhook = a_webhook(receiver)
    receiver.queue.extend([500, "close", 302, 429])
    store.raise_once(ALERT, [webhook])

    for _ in range(5):
        await deliver(store, clock, webhook)
        assert store.due() == []  # not at once again
        clock.advance(hours=7)

    assert len(set(receiver.ids())) == 1
    assert (len(receiver.received), fate(store)["state"], fate(store)["attempts"]) == (5, "delivered", 5)


async def test_after_the_last_try_it_is_a_dead_letter_and_can_be_sent_again(store, clock, receiver):
    webhook = a_webhook(receiver)
    receiver.status = 503
    alert_id = store.raise_once(ALERT, [webhook])

    for _ in range(MOST_ATTEMPTS + 2):
        await deliver(store, clock, webhook)
        clock.advance(hours=9)
    assert len(receiver.received) == MOST_ATTEMPTS
    assert [(row["id"], row["webhook"]) for row in store.dead()] == [(alert_id, "ops")]

    receiver.status = 200
    assert store.retry(alert_id) == 1
    await deliver(store, clock, webhook)
    assert (store.dead(), fate(store)["state"]) == ([], "delivered")


async def test_a_receiver_that_is_gone_is_not_asked_again(store, clock, receiver):
    receiver.status = 410
    store.raise_once(ALERT, [a_webhook(receiver)])

    await deliver(store, clock, a_webhook(receiver))
    clock.advance(hours=9)
    await deliver(store, clock, a_webhook(receiver))

    assert (len(receiver.received), len(store.dead())) == (1, 1)


async def test_a_receiver_that_hangs_keeps_no_other_waiting(store, clock, receiver):
    with Receiver(status="hang") as hanging:
        slow, good = a_webhook(hanging, name="slow"), a_webhook(receiver)
        store.raise_once(ALERT, [slow, good])
        courier = Courier(store, Sender(ENVIRON), clock)

        courier.start_due({"slow": slow, "ops": good})

        await asyncio.to_thread(receiver.wait_for, 1)
        await asyncio.to_thread(hanging.wait_for, 1)
        await courier.stop()


async def test_a_receiver_that_hangs_is_waited_for_so_long_and_tried_again(store, clock):
    with Receiver(status="hang") as hanging:
        store.raise_once(ALERT, [a_webhook(hanging)])
        await deliver(store, clock, a_webhook(hanging), patience=0.2)

    assert (fate(store)["state"], fate(store)["outcome"]) == ("waiting", "no answer within 0.2 seconds")


async def test_an_answer_without_end_is_not_read(store, clock, receiver):
    receiver.status = "drip"
    store.raise_once(ALERT, [a_webhook(receiver)])

    async with asyncio.timeout(5):
        await deliver(store, clock, a_webhook(receiver))

    assert fate(store)["state"] == "delivered"


async def test_redirects_are_not_followed(store, clock, receiver):
    with Receiver() as other:
        receiver.status, receiver.headers = 307, {"location": other.url}
        store.raise_once(ALERT, [a_webhook(receiver)])
        await deliver(store, clock, a_webhook(receiver))

        assert other.received == []
    assert "not followed" in fate(store)["outcome"]


@pytest.mark.parametrize(
    ("host", "loopback", "words"),
    [
        ("127.0.0.1", False, "this machine"),
        ("localhost", False, "this machine"),
        ("[::ffff:127.0.0.1]", False, "this machine"),
        ("169.254.169.254", True, "metadata"),
        ("[::ffff:a9fe:a9fe]", True, "metadata"),
    ],
)
async def test_forbidden_addresses_are_never_connected_to(receiver, host, loopback, words):
    webhook = Webhook("ops", f"http://{host}:{receiver.port}/", "OPS_SECRET", loopback=loopback)

    answer = await Sender(ENVIRON).send(webhook, "id", "{}", SystemClock().now())

    assert (answer.delivered, words in answer.outcome, receiver.received) == (False, True, [])


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1"])
async def test_other_spellings_of_this_machine_lead_nowhere_either(receiver, host):
    webhook = Webhook("ops", f"http://{host}:{receiver.port}/", "OPS_SECRET")

    answer = await Sender(ENVIRON).send(webhook, "id", "{}", SystemClock().now())

    assert (answer.delivered, receiver.received) == (False, [])


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "no base64 at all!"])
async def test_without_a_secret_nothing_is_sent_and_the_variable_is_named(receiver, secret):
    answer = await Sender({"OPS_SECRET": secret}).send(a_webhook(receiver), "id", "{}", SystemClock().now())

    assert answer.outcome.startswith("OPS_SECRET holds no signing secret")
    assert receiver.received == []


async def test_a_webhook_that_the_registry_no_longer_names_gets_a_dead_letter(store, clock, receiver):
    store.raise_once(ALERT, [a_webhook(receiver)])

    await deliver(store, clock)

    assert [row["webhook"] for row in store.dead()] == ["ops"]


def raise_and_send(path, webhook):
    async def main():
        store = AlertStore(path, SystemClock())
        store.raise_once(ALERT, [webhook])
        courier = Courier(store, Sender(ENVIRON), SystemClock())
        courier.start_due({webhook.name: webhook})
        await courier.finish()

    asyncio.run(main())


async def test_what_was_queued_before_a_kill_is_delivered_after_it(tmp_path, receiver):
    receiver.queue.append("hang")
    webhook, path = a_webhook(receiver), tmp_path / "state.db"
    process = multiprocessing.get_context("spawn").Process(target=raise_and_send, args=(path, webhook))
    process.start()
    await asyncio.to_thread(receiver.wait_for, 1)  # it was sent, and no answer has come
    process.kill()
    await asyncio.to_thread(process.join, 30)

    store = AlertStore(path, SystemClock())
    assert store.raise_once(ALERT, [webhook]) is None
    await deliver(store, SystemClock(), webhook)
    first, second = receiver.ids()
    assert (first, fate(store)["state"]) == (second, "delivered")
    store.close()


def race(path, barrier, told):
    store = AlertStore(path, SystemClock())
    barrier.wait()
    for percent in (50, 80, 95, 100):
        lower = tuple(f"window|{one}" for one in (50, 80, 95) if one < percent)
        alert = replace(ALERT, key=f"window|{percent}", covers=lower)
        if store.raise_once(alert, [Webhook("ops", "https://x.example", "OPS_SECRET")]):
            told.put(percent)
    store.close()


def test_two_processes_that_race_raise_each_threshold_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier, told = spawn.Barrier(2), spawn.Queue()
    racers = [spawn.Process(target=race, args=(tmp_path / "state.db", barrier, told)) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(180)

    assert [racer.exitcode for racer in racers] == [0, 0]
    store = AlertStore(tmp_path / "state.db", SystemClock())
    queued = len(store.due())
    store.close()
    raised = [told.get(timeout=60) for _ in range(queued)]
    assert len(raised) == len(set(raised))
    assert 100 in raised
    assert told.empty()


def test_a_lesser_threshold_is_not_told_after_a_greater_one(store):
    assert store.raise_once(replace(ALERT, key="w|80", covers=("w|50",)), [])
    assert store.raise_once(replace(ALERT, key="w|50"), []) is None
    assert len(store.newest(10)) == 1


def test_receivers_get_their_kinds_and_cost_centers_only(store, receiver):
    webhooks = [
        a_webhook(receiver, name="all"),
        a_webhook(receiver, name="expiry", kinds=("expiry",)),
        a_webhook(receiver, name="4711", cost_centers=("4711",)),
        a_webhook(receiver, name="1200", cost_centers=("1200",)),
    ]
    store.raise_once(ALERT, webhooks)

    assert sorted(delivery.webhook for delivery in store.due()) == ["4711", "all"]


def test_waits_grow_from_seconds_to_hours_and_are_not_all_the_same():
    middles = [wait_seconds(attempt, 0.5) for attempt in range(1, MOST_ATTEMPTS)]

    assert middles[:3] == [5, 20, 80]
    assert max(middles) == 6 * 3600
    assert 12 < sum(middles) / 3600 < 30
    assert wait_seconds(1, 0.0) < wait_seconds(1, 1.0)
