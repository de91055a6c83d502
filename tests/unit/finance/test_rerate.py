"""Past requests under other prices: priced one by one, as the gateway prices them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from llmguard.domain.chat import Usage
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.money import to_usd
from llmguard.finance.errors import FinanceError
from llmguard.finance.questions import month_of
from llmguard.finance.rerate import read_prices, rerate
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace

STARTED = datetime(2026, 11, 3, tzinfo=UTC)
PRICES = """
gpt:
  input: 0.0333333
  output: 0.0777777
  cached_input: 0.0111115
  cache_write: 0.05
  audio_input: 1
  reasoning: 0.1
  audio_output: 2
  flex: {input: 0.0166665, output: 0.03}
  long_input: {above_tokens: 100, input: 0.5, output: 0.9}
"""


def usages():
    """Enough different calls that every rate, tier and rounding is met."""
    for number in range(400):
        read, written = 1 + number * 7 % 210, number % 40
        yield Usage(
            read,
            written,
            cached_tokens=read // 3,
            reasoning_tokens=written // 4,
            cache_write_tokens=read // 5,
            cache_write_1h_tokens=read // 7,
            audio_input_tokens=read // 11,
            audio_output_tokens=written // 5,
            service_tier=("standard", "flex", "priority", "batch")[number % 4],
        )


def traced(usage, **facts):
    return a_trace(
        trace_id=new_trace_id(STARTED),
        started_at=STARTED,
        app="a",
        model="gpt",
        status=200,
        cost_basis="reported",
        **usage._asdict(),
        **facts,
    )


@pytest.fixture(scope="module")
def price_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("prices") / "prices.yaml"
    path.write_text(PRICES)
    return path


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("rerate") / "data")
    places.create()
    spool = Spool(places.spool, "w")
    for usage in usages():
        spool.append(traced(usage, cost_nano_usd=1000))
    spool.append(a_trace(trace_id=new_trace_id(STARTED), started_at=STARTED, model="gpt", cost_basis="held",
                         input_tokens=9, output_tokens=0, cost_nano_usd=77))  # fmt: skip
    spool.append(a_trace(trace_id=new_trace_id(STARTED), started_at=STARTED, model="other", cost_basis="reported",
                         input_tokens=9, output_tokens=0, cost_nano_usd=5))  # fmt: skip
    spool.append(a_trace(trace_id=new_trace_id(STARTED), started_at=STARTED, model="gpt", cost_basis="reported",
                         input_tokens=1000, output_tokens=0, price_version="unknown"))  # fmt: skip
    spool.close()
    return TraceReader(places.data)


def test_the_new_cost_is_what_the_gateway_would_have_charged_to_the_digit(reader, price_file):
    prices = read_prices(price_file)
    expected = sum(usage.cost_nano_usd(prices["gpt"]) for usage in usages())
    expected += Usage(1000, 0).cost_nano_usd(prices["gpt"])  # had no price before

    found = rerate(reader, prices, month_of("2026-11"), ("model",))

    [gpt, other] = found.rows
    assert gpt["new_cost_usd"] == to_usd(expected) + to_usd(77)
    assert gpt["cost_usd"] == to_usd(400 * 1000 + 77)
    assert (gpt["requests"], gpt["unchanged_requests"], gpt["unpriced_requests"]) == (402, 1, 1)
    assert (other["difference_usd"], other["unchanged_requests"]) == (Decimal(0), 1)
    assert found.missing == ["other"]
    assert found.total["difference_usd"] == gpt["new_cost_usd"] - gpt["cost_usd"]


def test_nothing_stored_is_changed(reader, price_file):
    before = reader.query("SELECT count(*) AS n, sum(cost_usd)::VARCHAR AS cost, max(digest) AS digest FROM traces")

    rerate(reader, read_prices(price_file), month_of("2026-11"), ("app", "day"))

    assert before == reader.query(
        "SELECT count(*) AS n, sum(cost_usd)::VARCHAR AS cost, max(digest) AS digest FROM traces"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpt: {input: 1}", "gpt.output: Field required"),
        ("gpt: {input: 1, output: 2, cached: 3}", "gpt.cached: Extra inputs"),
        ("gpt: {input: -1, output: 2}", "an amount is from 0"),
        ("- gpt", "is no price file"),
        ("gpt: {", "is no YAML"),
    ],
)
def test_mistakes_in_a_price_file_are_told(tmp_path, text, said):
    path = tmp_path / "prices.yaml"
    path.write_text(text)

    with pytest.raises(FinanceError, match=said):
        read_prices(path)


def test_a_price_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FinanceError, match="cannot be read"):
        read_prices(tmp_path / "none.yaml")
