"""An app that ends says so on every answer, by the clock: 15 days before, 14, 1, at the moment, and after."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import openai
import pytest

from llmguard.web.headers import end_headers
from tests.support.builders import FrozenClock, an_app
from tests.support.served import Served, a_small_registry

LAST_DAY = date(2026, 12, 31)
END = datetime(2027, 1, 1, tzinfo=UTC)  # the first moment of the day after
HELLO = [{"role": "user", "content": "Hello"}]
SUNSET = "Fri, 01 Jan 2027 00:00:00 GMT"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    registry = a_small_registry(expires=LAST_DAY)
    with Served(tmp_path_factory.mktemp("data"), registry=registry) as served:
        yield served


def asked_at(served, moment):
    """Return status, code and headers of a request at a moment; keys and ledger live by the real clock."""
    served.services.clock = served.recorder.clock = FrozenClock(moment)
    with openai.OpenAI(base_url=served.base_url, api_key=served.key, max_retries=0) as client:
        try:
            raw = client.chat.completions.with_raw_response.create(model="summarise", messages=HELLO)
        except openai.APIStatusError as error:
            return error.status_code, error.code, error.response.headers
    return raw.http_response.status_code, None, raw.headers


@pytest.mark.parametrize(
    ("before", "status", "code", "left"),
    [
        (timedelta(days=15, seconds=1), 200, None, None),
        (timedelta(days=15), 200, None, "1296000"),
        (timedelta(days=1), 200, None, "86400"),
        (timedelta(microseconds=1), 200, None, "1"),
        (timedelta(0), 403, "app_expired", "0"),
        (timedelta(days=-40), 403, "app_expired", "0"),
    ],
    ids=["15 days", "14 days and the last one", "1 day", "a moment before", "the moment", "long after"],
)
def test_an_app_that_ends_says_so_and_is_refused_from_the_moment_on(served, before, status, code, left):
    got_status, got_code, headers = asked_at(served, END - before)

    assert (got_status, got_code) == (status, code)
    assert headers.get("x-llmguard-app-expires-in") == left
    assert headers.get("sunset") == (None if left is None else SUNSET)


def test_deprecated_app_says_so_at_any_time(served):
    before = served.services.registry
    app = replace(before.apps["expense-triage"], status="deprecated", sunset=date(2026, 6, 30))
    served.services.registry = replace(before, apps={app.name: app})

    status, _, headers = asked_at(served, datetime(2026, 1, 1, tzinfo=UTC))

    assert (status, headers["sunset"]) == (200, "Wed, 01 Jul 2026 00:00:00 GMT")
    served.services.registry = before


def test_app_without_an_end_says_nothing():
    assert end_headers(an_app(), END) == []
