"""Replays through a real gateway and its commands: a thousand answers from the store, and some from the models."""

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from urllib.parse import urlsplit

import duckdb
import pytest

from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry
from tests.support.rego_text import a_rule

COUNT = 1_000
CLIENTS = 8
CHAT = "/v1/chat/completions"
ANA = "ana@example.com"
LIVE = ("--live", "--as", ANA)
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {"q": {}}}}}
WRITTEN_BY_THE_MODEL = "text=Bob%20Miller,%20bob.miller@example.net"
NEWER_PRESET = """\
presets:
  - name: chat
    version: 2
    status: approved
    owner: coe@example.com
    why: Less is enough.
    model: remote
    parameters: {temperature: {max: 0.1}, max_tokens: {max: 300}}
"""


def a_request(number):
    """Return one of six kinds: an answer, a stream, tool calls, a stream of them, and two refusals."""
    kinds = (
        {"model": "echo"},
        {"model": "echo", "stream": True},
        {"model": "tools", "tools": [TOOL]},
        {"model": "tools", "tools": [TOOL], "stream": True},
        {"model": "chat", "temperature": 0.9},
        {"model": "secret"},
    )
    who = "Anna Schmidt" if number % len(kinds) < 2 else "it"  # streams of tools have a chunk a character
    text = f"Find {who} {number % 24}"  # texts that came before are not read anew
    return {"messages": [{"role": "user", "content": text}]} | kinds[number % len(kinds)]


def ask_many(gateway, key, numbers):
    """Return how each request was answered, over one connection."""
    address = urlsplit(gateway.base_url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    statuses = []
    for number in numbers:
        connection.request("POST", CHAT, json.dumps(a_request(number)), headers)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    return statuses


@pytest.fixture(scope="module")
def own(tmp_path_factory, provider):
    """A gateway of this file's own, since it is stopped in the end."""
    with Gateway(tmp_path_factory.mktemp("replay"), a_registry(provider.base_url, patience_seconds=60)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def own_key(own):
    return own.issue_key("helpdesk")


@pytest.fixture(scope="module")
def thousand(own, own_key):
    """The statuses of a thousand mixed requests, by several clients at once."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = [range(first, COUNT, CLIENTS) for first in range(CLIENTS)]
        return [status for part in pool.map(lambda part: ask_many(own, own_key, part), parts) for status in part]


@pytest.fixture
def asked(own, own_key):
    """Asks once, and returns the trace id."""

    def asked(**body):
        body = {"messages": [{"role": "user", "content": "Write to Anna Schmidt"}]} | body
        _, headers, _ = own.send("POST", CHAT, json.dumps(body).encode(), own_key)
        return {name.lower(): value for name, value in headers.items()}["x-llmguard-trace-id"]

    return asked


def replayed(gateway, *words, code=0):
    done = gateway.run("replay", *words, "--json")
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_a_thousand_mixed_traces_come_back_from_the_store_without_a_call(own, thousand, provider):
    calls = len(provider.received)

    answers = replayed(own, "--where", "--endpoint", CHAT, "--offline")

    assert answers["counts"] == {"equal": COUNT, "changed": 0, "erased": 0}
    traces = answers["traces"]
    assert sorted(trace["status"] for trace in traces) == sorted(thousand)
    assert {status: thousand.count(status) > 100 for status in set(thousand)} == {200: True, 400: True, 403: True}
    chunked = [trace for trace in traces if trace["stream"]]
    assert len(chunked) > 300
    assert all(len(trace["answer"]) > 2 for trace in chunked)
    assert all(bool(trace["answer"]) == (trace["status"] == 200) for trace in traces)
    assert len(provider.received) == calls


def test_asked_again_all_kinds_of_traces_give_the_same_and_the_responder_pays(own, asked, provider):
    bodies = (
        {"model": "chat"},
        {"model": "by-char", "stream": True},
        {"model": "tools", "tools": [TOOL]},
        {"model": "tools", "tools": [TOOL], "stream": True},
    )
    traces = [asked(**body) for body in bodies]
    refused = asked(model="chat", temperature=0.9)
    calls = len(provider.received)

    answers = replayed(own, *LIVE, "-n", "2", *traces, refused)

    assert answers["counts"] == {"same": 4, "different": 0, "not_replayed": 1}
    assert answers["agreement"] == 1.0
    assert "400 parameter_not_allowed before anything was sent" in answers["traces"][-1]["reason"]
    sent = [request.body for request in provider.received[calls - 4 :]]
    assert sent[4:] == [body for body in sent[:4] for _ in range(2)]
    mine = own.traces("--app", f"responder:{ANA}")
    assert sorted(trace["replay_of"] for trace in mine) == sorted(traces * 2)
    assert {(trace["owner"], trace["cost_center"]) for trace in mine} == {(ANA, "9000")}
    tokens = sum(trace["input_tokens"] + trace["output_tokens"] for trace in mine)
    assert own.standing(f"responder:{ANA}")["tokens_per_day"]["used"] == tokens
    costs = {row["app"]: Decimal(row["cost_usd"]) for row in own.ask("finance", "report", "--by", "app")["rows"]}
    assert costs[f"responder:{ANA}"] == sum(Decimal(trace["cost_usd"]) for trace in mine)
    theirs = own.traces("--app", "helpdesk")
    assert costs["helpdesk"] == sum(Decimal(trace["cost_usd"] or 0) for trace in theirs)
    assert not any(trace["replay_of"] for trace in theirs)


def test_cases_hold_until_a_preset_changes_and_answers_are_compared_live(own, asked, provider):
    answered, refused = asked(model="chat", temperature=0.4), asked(model="chat", temperature=0.9)
    assert own.run("replay", answered, refused, asked(model="secret"), "--save-case").returncode == 0
    assert own.ask("check", "--cases") == {"ok": True, "findings": [], "cases": 3}
    provider.script("text=Else")

    done = own.run("check", "--cases", "--live", "--as", ANA)

    assert (done.returncode, done.stdout.count("its text differs"), done.stderr) == (1, 1, "1 findings.\n")
    own.registry.write_text(own.registry.read_text().replace("presets:\n", NEWER_PRESET, 1))
    done = own.run("check", "--cases")
    assert done.returncode == 1
    assert f"{answered}.yaml: helpdesk under chat@2 (it was chat@1): it is decided 400" in done.stdout


@pytest.fixture(scope="module")
def stopped(own, thousand):
    own.stop()
    return own


def test_while_no_gateway_runs_a_difference_is_shown_side_by_side_and_redacted(stopped, provider):
    [newest] = stopped.ask(
        "traces", "list", "--app", "helpdesk", "--preset", "chat@1", "--status", "200", "--limit", "1"
    )
    provider.script(WRITTEN_BY_THE_MODEL)

    done = stopped.run("replay", *LIVE, newest["trace_id"])

    assert done.returncode == 1
    assert "then, and now (similarity" in done.stdout
    assert "<EMAIL_ADDRESS_" in done.stdout
    assert done.stderr == "0 same, 1 different, 0 not replayed; agreement 0%\n"
    assert not list((stopped.data / "spool").iterdir())
    [trace] = stopped.traces("--replay-of", newest["trace_id"], "--since", "5m")[:1]
    assert trace["trace_id"] in done.stdout
    assert "Miller" not in done.stdout
    assert "Bob" not in json.dumps(stopped.trace(trace["trace_id"]))
    assert b"bob.miller" not in stopped.every_byte()
    assert b"Bob Miller" not in stopped.every_byte()  # three letters alone are in a megabyte of anything by chance


def test_a_rule_of_today_that_denies_it_refuses_the_replay_in_its_words_and_nothing_is_sent(stopped, provider):
    [newest] = stopped.ask(
        "traces",
        "list",
        "--app",
        "helpdesk",
        "--preset",
        "chat@1",
        "--status",
        "200",
        "--entity",
        "PERSON",
        "--limit",
        "1",
    )
    calls = len(provider.received)
    (stopped.folder / "policies").mkdir()
    denies = a_rule('input.app.name == "helpdesk"\ninput.request.entities.PERSON > 0', message='"People stay here."')
    (stopped.folder / "policies" / "trial.rego").write_text(denies)

    done = stopped.run("replay", *LIVE, newest["trace_id"])

    assert done.returncode == 3, done.stderr
    assert f"{newest['trace_id']}: not replayed. People stay here. Ask. The rule trial belongs to coe" in done.stderr
    assert len(provider.received) == calls
    [trace] = stopped.traces("--replay-of", newest["trace_id"], "--code", "policy_denied")
    assert (trace["app"], trace["status"], trace["cost_usd"]) == (f"responder:{ANA}", 403, None)


def test_one_flipped_byte_in_the_store_is_detected(stopped):
    path = str(stopped.data / "traces.duckdb")
    with duckdb.connect(path, config={"storage_compatibility_version": "v1.5.0"}) as connection:
        connection.execute(
            "UPDATE traces SET response = replace(response::VARCHAR, 'Echo', 'echo')"
            "WHERE seq = (SELECT max(seq) FROM traces WHERE model = 'echo-1' AND app = 'helpdesk')"
        )

    answers = replayed(stopped, "--where", "--app", "helpdesk", "--limit", "100000", code=1)

    assert answers["counts"]["changed"] == 1
    [bad] = [trace for trace in answers["traces"] if trace["state"] == "changed"]
    assert bad["answer"] == []
    verified = stopped.run("traces", "verify")
    assert (verified.returncode, bad["trace_id"] in verified.stdout) == (1, True)
