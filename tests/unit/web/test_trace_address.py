"""What a search of traces asks for, by the address of its page."""

from datetime import UTC, datetime

import pytest

from llmguard.web.console.trace_search import Asked, read_search

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def search(apps=None, **given):
    return read_search(Asked(**given), NOW, apps)


def test_without_anything_the_last_24_hours_are_looked_at():
    found = search()

    assert found.filters == {"since": "2026-11-25T12:00:00+00:00"}
    assert (found.problems, found.words) == ((), "last 24 hours")


def test_every_filter_becomes_what_the_reader_takes():
    found = search(
        app="a", preset="summarise@2", status="400", min_latency="5.5", max_cost="0.05", trace_parent="00-abc-def-01"
    )

    assert found.problems == ()
    assert found.filters == {
        "app": "a",
        "preset": "summarise",
        "preset_version": 2,
        "status": 400,
        "min_latency_ms": 5.5,
        "max_cost_usd": 0.05,
        "w3c_trace_id": "abc",
        "since": "2026-11-25T12:00:00+00:00",
    }


def test_an_operator_of_some_apps_finds_nothing_of_others():
    assert search(("mine",), app="theirs").filters["apps"] == ["mine"]
    assert search(()).filters["apps"] == []


def test_a_time_is_utc_unless_it_says_otherwise():
    found = search(since="2026-11-20T10:00", until="2026-11-20T13:00+02:00")

    assert found.filters == {"since": "2026-11-20T10:00:00+00:00", "until": "2026-11-20T11:00:00+00:00"}
    assert found.words == "20 Nov 2026, 10:00 to 20 Nov 2026, 11:00 UTC"


def test_an_end_alone_means_the_time_before_it():
    assert search(until="2026-11-01T12:00").filters["since"] == "2026-10-31T12:00:00+00:00"
    assert search(until="2026-11-01T12:00", last="hour").filters["since"] == "2026-11-01T11:00:00+00:00"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"status": "many"}, "'many' is no figure for status."),
        ({"min_cost": "-1"}, "'-1' is no figure for min cost."),
        ({"min_latency": "nan"}, "'nan' is no figure for min latency."),
        ({"preset": "@"}, "'@' is no preset. Write summarise or summarise@2."),
        ({"since": "soon"}, "'soon' is no time for since; write 2026-11-23T12:00, in UTC."),
        ({"since": "2026-11-20", "until": "2026-11-19"}, "The time ends before it begins."),
    ],
    ids=["status", "cost", "nan", "preset", "time", "order"],
)
def test_what_cannot_be_is_said(given, words):
    assert any(problem.startswith(words) for problem in search(**given).problems)


def test_address_of_a_search_finds_the_same_again():
    found = search(app="a b", text="ä&<")

    assert found.address(live="on") == "text=%C3%A4%26%3C&app=a+b&live=on"
    assert found.address(text="") == "app=a+b"
