"""Exact under concurrency, across workers, and after kill -9 of everything."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests.support.gateway import Gateway
from tests.support.journey_registry import a_registry as any_registry
from tests.support.provider_server import ProviderServer

CALLERS = 200
ALLOWED = 50
OUTPUT_TOKENS = 200  # the preset's default, which the provider uses up to the last one


def a_registry(provider_url, **changes):
    return any_registry(provider_url, patience_seconds=120, **changes)  # 200 callers at once wait for each other


def a_client(gateway, key):
    return openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0, timeout=60)


def ask(client, number):
    """Return the trace id of one answered request, or the code that refused it."""
    try:
        answer = client.chat.completions.with_raw_response.create(
            model="chat", messages=[{"role": "user", "content": f"Number {number:03}"}]
        )
    except openai.APIStatusError as error:
        return error.code
    except openai.APIConnectionError:
        return "connection"
    return answer.headers["x-llmguard-trace-id"]


def ask_all_at_once(gateway, key, callers=CALLERS):
    with a_client(gateway, key) as client, ThreadPoolExecutor(callers) as pool:
        return list(pool.map(lambda number: ask(client, number), range(callers)))


def ask_once(gateway, key):
    with a_client(gateway, key) as client:
        return ask(client, 1)


@pytest.fixture
def provider():
    with ProviderServer(behaviour="usage=exact_max+input=1") as server:
        yield server


def charged(gateway):
    rows = gateway.traces("--app", "helpdesk")
    return {row["trace_id"]: row for row in rows if row["input_tokens"] is not None}


def test_200_callers_on_2_workers_get_exactly_the_requests_of_their_quota(tmp_path, provider):
    quota = f"{{requests_per_minute: {ALLOWED}, tokens_per_day: 10000000}}"
    with Gateway(tmp_path, a_registry(provider.base_url, quota=quota), workers=2) as gateway:
        outcomes = ask_all_at_once(gateway, gateway.issue_key("helpdesk"))

        answered = [outcome for outcome in outcomes if "-" in outcome]
        assert len(answered) == ALLOWED
        assert outcomes.count("rate_limit_exceeded") == CALLERS - ALLOWED
        standing = gateway.standing("helpdesk")
        reported = sum(usage.input_tokens + usage.output_tokens for usage in provider.reported)
        assert standing["requests_per_minute"]["used"] == ALLOWED == len(provider.reported)
        assert standing["tokens_per_day"]["used"] == reported
        assert standing["tokens_per_day"]["held"] == 0


def test_tokens_are_never_one_more_than_the_quota_and_equal_the_providers_own_count(tmp_path, provider):
    per_request = OUTPUT_TOKENS + 1  # as the provider reports it; more is held while a request is in flight
    limit = ALLOWED * per_request + 150  # 150: what is held beyond the usage must fit for the last one too
    quota = f"{{tokens_per_day: {limit}}}"
    with Gateway(tmp_path, a_registry(provider.base_url, quota=quota), workers=2) as gateway:
        key = gateway.issue_key("helpdesk")
        outcomes = ask_all_at_once(gateway, key)
        while "rate_limit_exceeded" in outcomes:  # held by others in flight: their clients would try again
            outcomes = [outcome for outcome in outcomes if outcome != "rate_limit_exceeded"] + ask_all_at_once(
                gateway, key
            )

        answered = [outcome for outcome in outcomes if "-" in outcome]
        used = gateway.standing("helpdesk")["tokens_per_day"]
        assert len(answered) == ALLOWED
        assert used["used"] == ALLOWED * per_request <= limit
        assert used["used"] == sum(usage.input_tokens + usage.output_tokens for usage in provider.reported)
        assert used["held"] == 0


def test_after_kill_of_everything_the_ledger_holds_what_the_provider_counted_and_nothing_is_lost(tmp_path, provider):
    provider.script("usage=exact_max+input=1+delay=0.05")
    quota = "{requests_per_minute: 120, tokens_per_day: 10000000}"
    gateway = Gateway(tmp_path, a_registry(provider.base_url, quota=quota), workers=2)
    gateway.start()
    key = gateway.issue_key("helpdesk")
    threading.Thread(target=lambda: (_wait_for(provider, 40), gateway.kill())).start()

    outcomes = ask_all_at_once(gateway, key)
    provider.wait_for(lambda: all(request.outcome != "pending" for request in provider.received))
    with gateway:
        gateway.wait_until(lambda: gateway.standing("helpdesk")["tokens_per_day"]["held"] == 0)

        rows = charged(gateway)
        answered = {outcome for outcome in outcomes if "-" in outcome}
        counted = {usage.request_id: usage.input_tokens + usage.output_tokens for usage in provider.reported}
        interrupted = {trace_id for trace_id, row in rows.items() if row["code"] == "interrupted"}
        # every answered request is in DuckDB, once, with the provider's own figures
        assert answered <= set(rows)
        every = gateway.ask("traces", "list", "--app", "helpdesk", "--limit", "10000")
        assert len({row["trace_id"] for row in every}) == len(every)
        for trace_id in set(counted) - interrupted:
            assert rows[trace_id]["input_tokens"] + rows[trace_id]["output_tokens"] == counted[trace_id]
        # what was in flight is charged as held, so the ledger is never below the provider's count
        assert set(counted) <= set(rows)
        standing = gateway.standing("helpdesk")
        total = sum(row["input_tokens"] + row["output_tokens"] for row in rows.values())
        assert standing["tokens_per_day"]["used"] == total
        assert total >= sum(counted.values())
        assert standing["requests_per_minute"]["used"] <= 120
        assert answered, "the kill came before any answer"


def _wait_for(provider, count):
    provider.wait_for(lambda: len(provider.reported) >= count, seconds=30)


def test_changed_quota_holds_from_the_next_request_on(tmp_path, provider):
    registry = a_registry(provider.base_url, quota="{requests_per_minute: 1}")
    with Gateway(tmp_path, registry) as gateway:
        key = gateway.issue_key("helpdesk")
        first, second = ask_once(gateway, key), ask_once(gateway, key)
        gateway.registry.write_text(a_registry(provider.base_url, quota="{requests_per_minute: 100}"))

        gateway.wait_until(lambda: json.loads(gateway.get("/v1/me", key)[2])["quota"][0]["limit"] == 100)

        assert "-" in first
        assert second == "rate_limit_exceeded"
        assert "-" in ask_once(gateway, key)


def test_broken_registry_never_replaces_a_good_one_and_check_says_what_is_wrong(tmp_path, provider):
    with Gateway(tmp_path, a_registry(provider.base_url)) as gateway:
        key = gateway.issue_key("helpdesk")
        good = gateway.registry.read_text()
        gateway.registry.write_text(good.replace("temperature: {min: 0", "temprature: {min: 0", 1))
        time.sleep(1.5)

        checked = gateway.run("check")

        assert checked.returncode == 1
        assert "temprature" in checked.stdout
        assert "temperature" in checked.stdout.replace("temprature", "")
        assert "-" in ask_once(gateway, key)


def test_stopping_drains_streams_and_flushes_traces(tmp_path, provider):
    provider.script("chars=1+pause=0.02")
    with Gateway(tmp_path, a_registry(provider.base_url)) as gateway:
        key = gateway.issue_key("helpdesk")
        with openai.OpenAI(base_url=gateway.base_url, api_key=key) as client:
            text = "drain me slowly " * 5
            stream = client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": text}], stream=True
            )
            got = next(iter(stream)).choices[0].delta.content or ""
            gateway.terminate()
            got += "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

        assert gateway.stop() == 0
        assert got.strip() == text.strip()
        [trace] = gateway.traces("--preset", "chat")
        assert trace["status"] == 200
