"""When a part of ours cannot answer: 503, its own code, a trace, and nothing sent."""

import sqlite3
import time
from contextlib import closing, contextmanager

import openai
import pytest

from llmguard.domain.errors import Fault
from llmguard.traces.segments import backlog_bytes
from llmguard.traces.spool import SpoolLimits
from tests.support.builders import a_quota
from tests.support.finder import PatternFinder
from tests.support.served import Served, a_small_registry

LETTER = [{"role": "user", "content": "Write to anna.schmidt@example.com"}]


class BrokenFinder(PatternFinder):
    """Fails as an engine does that cannot answer."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def find_all(self, texts, profile):
        raise self.error


class FindsOnce(PatternFinder):
    """Answers for the request, and not for the answer."""

    calls = 0

    async def find_all(self, texts, profile):
        self.calls += 1
        if self.calls > 1:
            raise Fault("redaction_unavailable", "The engine stopped.")
        return await super().find_all(texts, profile)


@contextmanager
def a_client(served):
    with openai.OpenAI(base_url=served.base_url, api_key=served.key, max_retries=0) as client:
        yield client


def failed(served, **request):
    with a_client(served) as client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**({"model": "summarise", "messages": LETTER} | request))
    return caught.value


def test_redaction_that_cannot_answer_refuses_the_request_and_sends_nothing(tmp_path):
    broken = BrokenFinder(Fault("redaction_unavailable", "The text could not be analysed.", retry_after_seconds=2))
    with Served(tmp_path, finder=broken) as served:
        error = failed(served)

    assert (error.status_code, error.code) == (503, "redaction_unavailable")
    assert error.response.headers["retry-after"] == "2"
    trace = served.reader.show(error.body["trace_id"])
    assert (trace["code"], trace["provider"], trace["request"]) == ("redaction_unavailable", None, None)


def test_overloaded_redaction_says_when_to_come_back(tmp_path):
    busy = BrokenFinder(Fault("overloaded", "Too much is waiting.", retry_after_seconds=1))
    with Served(tmp_path, finder=busy) as served:
        error = failed(served)

    assert (error.status_code, error.code) == (503, "overloaded")
    assert error.response.headers["retry-after-ms"] == "1000"


def test_bug_is_an_internal_error_without_its_details(tmp_path, caplog):
    with Served(tmp_path, finder=BrokenFinder(RuntimeError("anna.schmidt@example.com"))) as served:
        error = failed(served)

    assert (error.status_code, error.code) == (500, "internal_error")
    assert "anna.schmidt" not in str(error.body)
    assert "anna.schmidt" not in caplog.text
    assert served.reader.show(error.body["trace_id"])["code"] == "internal_error"


def test_locked_ledger_refuses_and_says_so(tmp_path):
    with Served(tmp_path) as served, closing(sqlite3.connect(tmp_path / "state.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        error = failed(served)
        other.rollback()

    assert (error.status_code, error.code) == (503, "ledger_unavailable")
    assert "retry-after" in error.response.headers


def test_full_spool_refuses_new_work(tmp_path):
    with Served(tmp_path) as served:

        def full():
            raise Fault("overloaded", "Traces cannot be stored.", retry_after_seconds=5)

        served.recorder.check = full
        error = failed(served)

    assert (error.status_code, error.code) == (503, "overloaded")


def test_store_that_takes_nothing_stops_new_work_and_loses_none(tmp_path):
    with Served(tmp_path) as served, a_client(served) as client:  # no ingester runs
        served.spool._limits = SpoolLimits(segment_bytes=2_000, backlog_bytes=20_000)
        answered = []
        with pytest.raises(openai.InternalServerError, match="too far behind"):
            while True:
                raw = client.chat.completions.with_raw_response.create(model="summarise", messages=LETTER)
                answered.append(raw.headers["x-llmguard-trace-id"])
        full = backlog_bytes(served.data / "spool")
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="summarise", messages=LETTER)
        held = backlog_bytes(served.data / "spool")

        stored = [row["trace_id"] for row in served.reader.list(limit=10_000)]  # brings them in: there is room again
        deadline = time.monotonic() + 60
        while True:
            try:
                client.chat.completions.create(model="summarise", messages=LETTER)
                break
            except openai.InternalServerError:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    assert len(answered) > 5
    assert sorted(answered) == sorted(stored)  # and no refusal among them: those take no room
    assert held == full > 20_000


def test_answer_that_cannot_be_hidden_is_given_and_not_kept(tmp_path):
    with Served(tmp_path, finder=FindsOnce()) as served, a_client(served) as client:
        raw = client.chat.completions.with_raw_response.create(model="summarise", messages=LETTER)

    assert "anna.schmidt@example.com" in raw.parse().choices[0].message.content
    trace = served.reader.show(raw.headers["x-llmguard-trace-id"])
    assert trace["response"] is None
    assert trace["decision"]["answer_withheld"] == "redaction_unavailable"
    assert trace["input_tokens"] > 0


@pytest.mark.parametrize("quota", [{"tokens_per_day": 100}, {"nano_usd_per_month": 10}], ids=["tokens", "money"])
def test_quota_that_time_does_not_heal_is_insufficient(tmp_path, quota):
    with Served(tmp_path, registry=a_small_registry(quota=a_quota(**quota))) as served:
        error = failed(served, messages=[{"role": "user", "content": "word " * 50}])

    assert (error.status_code, error.code) == (429, "insufficient_quota")
    assert error.response.headers["x-should-retry"] == "false"
    assert isinstance(error, openai.RateLimitError)


def test_key_of_an_app_that_left_the_catalog_is_refused(tmp_path):
    registry = a_small_registry()
    with Served(tmp_path, registry=registry) as served:
        served.services.registry = a_small_registry(name="another")
        error = failed(served)

    assert (error.status_code, error.code) == (403, "app_not_approved")
