"""`llmguard alerts`: list, dead, retry, test."""

import json

import pytest
from click.testing import CliRunner

from llmguard.alerts.event import Alert
from llmguard.alerts.store import AlertStore
from llmguard.cli.main import cli
from llmguard.domain.alerts import Webhook
from llmguard.domain.clock import SystemClock
from tests.support.gateway import ROOT
from tests.support.registries import a_document, as_source
from tests.support.webhook_receiver import SECRET, Receiver

ALERT = Alert("k", "com.llmguard.limit.reached", "app:a", frozenset({"4711"}), {"message": "80 % are used."})


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def run(tmp_path, receiver, monkeypatch):
    monkeypatch.setenv("OPS_SECRET", SECRET)
    hook = {"url": receiver.url, "secret_env": "OPS_SECRET", "loopback": "allowed"}
    registry = tmp_path / "registry.yaml"
    registry.write_bytes(as_source(a_document() | {"alerts": {"webhooks": {"ops": hook}}}))
    (tmp_path / "data").mkdir()
    places = [f"--registry={registry}", f"--redaction={ROOT / 'redaction'}", f"--data={tmp_path / 'data'}"]
    return lambda *words: CliRunner().invoke(cli, ["alerts", *words, *places])


@pytest.fixture
def alert_id(tmp_path, run):
    store = AlertStore(tmp_path / "data" / "state.db", SystemClock())
    alert_id = store.raise_once(ALERT, [Webhook("ops", "https://x.example", "OPS_SECRET")])
    for delivery in store.due():
        store.mark(delivery, "dead", "refused with 500")
    store.close()
    return alert_id


def test_alerts_and_dead_letters_are_listed_and_sent_again_on_request(run, alert_id):
    [listed] = json.loads(run("list", "--json").stdout)
    assert (listed["id"], listed["message"], listed["arrived"]) == (alert_id, "80 % are used.", "ops: dead")
    [dead] = json.loads(run("dead", "--json").stdout)
    assert (dead["id"], dead["outcome"], dead["attempts"]) == (alert_id, "refused with 500", 1)

    assert json.loads(run("retry", alert_id, "--json").stdout) == {"queued": 1}

    assert json.loads(run("dead", "--json").stdout) == []
    assert "Everything has arrived" in run("dead").stderr
    assert run("retry", alert_id).exit_code == 2
    assert run("retry").exit_code == 2
    assert json.loads(run("retry", "--all", "--json").stdout) == {"queued": 0}


def test_a_test_event_says_at_once_what_came_of_it(run, receiver):
    good = run("test", "ops", "--json")
    receiver.status = 500
    bad = run("test")

    assert (good.exit_code, json.loads(good.stdout)[0]["delivered"]) == (0, True)
    assert (bad.exit_code, "refused with 500" in bad.stdout) == (1, True)
    assert json.loads(receiver.received[0].body)["type"] == "com.llmguard.test"
    assert run("test", "nobody").exit_code == 2
