"""Figures of the last hour, day and month: they agree with the traces, also where older slices are remembered."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from llmguard.catalog.activity import WINDOWS, Activity
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace
from tests.support.month import seed_month

NOW = datetime(2026, 11, 26, 10, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    seed_month(data, NOW, 3_000)
    return TraceReader(data)


def by_hand(reader, since, until=NOW):
    sql = """
    SELECT count(*) AS requests, count(*) FILTER (status BETWEEN 400 AND 498) AS refusals,
        count(*) FILTER (status >= 500) AS faults, coalesce(sum(cost_usd), 0)::VARCHAR AS cost_usd
    FROM traces WHERE started_at >= $since::TIMESTAMPTZ AND started_at < $until::TIMESTAMPTZ"""
    [row] = reader.query(sql, {"since": since.isoformat(), "until": until.isoformat()})
    return row["requests"], row["refusals"], row["faults"], Decimal(row["cost_usd"])


def figures(tally):
    return tally.requests, tally.refusals, tally.faults, tally.cost_usd


@pytest.mark.parametrize("name", WINDOWS)
def test_figures_are_those_of_the_traces(reader, name):
    window = WINDOWS[name]

    lately = Activity(reader.query).look(window, NOW)

    since = lately.slices[0][0]
    assert len(lately.slices) == window.slices
    assert figures(lately.total) == by_hand(reader, since)
    assert lately.total.requests == sum(tally.requests for _, tally in lately.slices) > 0
    start, tally = lately.slices[-2]
    assert figures(tally) == by_hand(reader, start, start + window.step)
    hidden = reader.query(
        "SELECT sum(list_sum(map_values(entities)))::BIGINT AS n FROM traces WHERE started_at >= $since::TIMESTAMPTZ",
        {"since": since.isoformat()},
    )
    assert lately.total.hidden.total() == (hidden[0]["n"] or 0)
    assert sum(lately.total.app_costs.values()) == lately.total.cost_usd


def test_latencies_are_right_to_five_percent(reader):
    total = Activity(reader.query).look(WINDOWS["month"], NOW).total
    sql = "SELECT quantile_cont(latency_ms, [0.5, 0.95]) AS bounds FROM traces WHERE status = 200 AND started_at >= $1"
    [row] = reader.query(sql, [WINDOWS["month"].starts(NOW)[0].isoformat()])

    assert total.latency_ms(0.5) == pytest.approx(row["bounds"][0], rel=0.05)
    assert total.latency_ms(0.95) == pytest.approx(row["bounds"][1], rel=0.05)


class Asked:
    """Counts what is asked of the store."""

    def __init__(self, reader):
        self._reader, self.since = reader, []

    def __call__(self, sql, parameters):
        self.since.append(datetime.fromisoformat(parameters["since"]))
        return self._reader.query(sql, parameters)


def test_slices_that_are_over_are_counted_once(reader):
    asked = Asked(reader)
    activity = Activity(asked)
    first = activity.look(WINDOWS["month"], NOW)
    at_once = activity.look(WINDOWS["month"], NOW + timedelta(seconds=1))
    later = activity.look(WINDOWS["month"], NOW + timedelta(seconds=10))

    assert at_once is first
    assert figures(later.total) == figures(first.total)
    assert asked.since[0] == first.slices[0][0]
    assert asked.since[-1] == later.slices[-1][0]


def test_yesterday_is_counted_again_while_requests_of_it_may_still_end(reader):
    asked = Asked(reader)
    activity = Activity(asked)
    midnight = datetime(2026, 11, 26, 1, 0, tzinfo=UTC)

    activity.look(WINDOWS["month"], midnight)
    activity.look(WINDOWS["month"], midnight + timedelta(minutes=30))

    assert asked.since[-1] == datetime(2026, 11, 25, tzinfo=UTC)


def test_hang_ups_are_neither_refusals_nor_faults_and_strangers_belong_to_no_app(tmp_path):
    spool = Spool(tmp_path / "spool", "test")
    ends = {"client_disconnected": 499, "invalid_api_key": 401, "overloaded": 503}
    for number, (code, status) in enumerate(ends.items()):
        trace_id = f"019aafd0-0000-7000-8000-00000000000{number}"
        spool.append(a_trace(trace_id=trace_id, started_at=NOW, status=status, code=code))
    spool.close()

    total = Activity(TraceReader(tmp_path).query).look(WINDOWS["hour"], NOW + timedelta(minutes=1)).total

    assert (total.requests, total.refusals, total.faults) == (3, 1, 1)
    assert total.codes == dict.fromkeys(ends, 1)
    assert total.app_requests == {}
    assert total.latency_ms(0.5) is None
