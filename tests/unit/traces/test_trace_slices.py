"""A search in slices of time finds what one list finds, wherever it pauses."""

from datetime import UTC, datetime, timedelta

import pytest

from llmguard.traces.errors import TraceQueryError
from llmguard.traces.reader import TraceReader
from llmguard.traces.slices import search_newest
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace
from tests.support.month import seed_month

NOW = datetime(2026, 11, 26, 10, 30, tzinfo=UTC)
SINCE = NOW - timedelta(days=30)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    seed_month(data, NOW, 1_500)
    spool = Spool(data / "spool", "ahead")
    spool.append(a_trace(started_at=NOW + timedelta(minutes=5), app="hr-helpdesk"))  # by a clock that is ahead
    spool.close()
    reader = TraceReader(data)
    with reader.kept_open():
        yield reader


@pytest.mark.parametrize(
    "filters",
    [{}, {"app": "hr-helpdesk"}, {"text": "parental leave"}, {"text": "nobody-ever-said-this"}, {"status": 400}],
    ids=["all", "app", "text", "nothing", "refused"],
)
def test_slices_find_what_one_list_finds(reader, filters):
    whole = reader.list(limit=10_000, since=SINCE, **filters)
    found, until, parts, hours = [], {}, 0, 1
    while True:
        before = until.get("until", NOW)
        part = reader.search(limit=10_000, before=before, seconds=0, hours=hours, since=SINCE, **until, **filters)
        found, parts = found + part["rows"], parts + 1
        if part["reached"] is None:
            break
        until, hours = {"until": datetime.fromisoformat(part["reached"])}, max(24, part["hours"])

    assert found == whole
    assert parts > 1


def test_search_that_has_enough_looks_no_further(reader):
    whole = reader.list(limit=5, since=SINCE)

    found = reader.search(limit=5, before=NOW, seconds=60, since=SINCE)

    assert (found["rows"], found["reached"]) == (whole, None)


def test_slices_grow_while_they_are_quick():
    asked = []

    def look(filters, limit):
        asked.append((filters["since"], filters.get("until")))
        return []

    since = (NOW - timedelta(days=3)).isoformat()
    assert search_newest(look, {"since": since}, limit=1, before=NOW.isoformat(), seconds=60)["reached"] is None

    assert asked[0] == ((NOW - timedelta(hours=1)).isoformat(), None)
    assert [until for _, until in asked[1:]] == [start for start, _ in asked[:-1]]
    assert asked[-1][0] == since
    assert len(asked) < 10


def test_search_in_the_first_years_of_the_calendar_comes_to_its_end():
    until = {"since": "0001-01-01T00:00:00+00:00", "until": "0001-01-03T00:00:00+00:00"}

    found = search_newest(lambda *_: [], until, limit=1, before=until["until"], seconds=0, hours=1_000)

    assert found["reached"] is None


@pytest.mark.parametrize("hours", [float("inf"), 1e308])
def test_next_slice_never_has_a_length_that_no_address_can_carry(hours):
    since = (NOW - timedelta(days=3)).isoformat()

    found = search_newest(lambda *_: [], {"since": since}, limit=1, before=NOW.isoformat(), seconds=0, hours=hours)

    assert found["hours"] <= 24 * 3660 * 4


def test_search_without_a_beginning_is_refused():
    with pytest.raises(TraceQueryError, match="from which on"):
        search_newest(lambda _, __: [], {}, limit=1, before=NOW.isoformat(), seconds=1)
