"""The FOCUS export: complete, typed, and equal to the traces to the last digit."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.money import Price
from llmguard.finance.errors import FinanceError
from llmguard.finance.focus import focus_columns, focus_rows, focus_version, split_cost
from llmguard.finance.questions import month_of
from llmguard.finance.tables import as_csv, write_parquet
from llmguard.registry.price_figures import PriceFiles, with_version
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace
from tests.support.many_traces import hand_written, put_many

PRICE = with_version(
    Price(Decimal("0.15"), Decimal("0.60"), "registry", cached_input=Decimal("0.075")), "registry"
)  # fmt: skip
ROUGH = with_version(Price(Decimal("0.0333333"), Decimal("0.0777777"), "registry"), "registry")
MANDATORY = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity"),
    *("PricingUnit", "ServiceCategory", "ServiceName"),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("focus") / "data")
    PriceFiles(places.data / "registry" / "prices").keep([PRICE, ROUGH])
    put_many(places, 4_000, version=PRICE.version)
    spool = Spool(places.spool, "w")
    started = datetime(2026, 11, 3, tzinfo=UTC)
    rough = {"price_version": ROUGH.version, "price_rate": "standard", "cost_basis": "reported", "model": "rough"}
    for facts in (
        *({**rough, "input_tokens": 1, "output_tokens": 1, "cost_nano_usd": 111} for _ in range(50)),
        {"price_version": "litellm-1.0.0", "cost_nano_usd": 5, "input_tokens": 9, "output_tokens": 1, "model": "old"},
        {"price_version": "unknown", "input_tokens": 5, "output_tokens": 1, "model": "free"},
        {"cost_nano_usd": 77, "cost_basis": "held", "input_tokens": 9, "output_tokens": 0},
    ):
        spool.append(a_trace(trace_id=new_trace_id(started), started_at=started, app="a", provider="p", **facts))
    spool.close()
    TraceReader(places.data).count()
    return places


@pytest.fixture(scope="module")
def rows(places):
    prices = PriceFiles(places.data / "registry" / "prices")
    return list(focus_rows(TraceReader(places.data), prices, month_of("2026-11")))


def test_rows_sum_up_to_the_traces_to_the_last_digit(rows, places):
    expected = dict(hand_written(places, "SELECT app, sum(cost_usd) FROM traces GROUP BY app"))

    sums = defaultdict(Decimal)
    for row in rows:
        sums[row["SubAccountId"]] += row["BilledCost"]

    assert sums == {app: cost for app, cost in expected.items() if cost is not None}


def test_tokens_are_in_exactly_one_row_each(rows, places):
    [[read, written]] = hand_written(places, "SELECT sum(input_tokens), sum(output_tokens) FROM traces")

    assert sum(row["ConsumedQuantity"] for row in rows) == read + written


def test_list_cost_is_price_times_quantity_and_billed_cost_differs_by_rounding_alone(rows):
    for row in rows:
        assert row["ListUnitPrice"] * row["PricingQuantity"] == row["ListCost"] == row["ContractedCost"]
        assert row["BilledCost"] == row["EffectiveCost"] >= 0
        assert abs(row["BilledCost"] - row["ListCost"]) <= Decimal("0.0000000005") * row["x_Requests"]


def test_what_is_not_by_tokens_is_a_row_of_its_own(rows):
    named = {row["x_TokenType"]: row["BilledCost"] for row in rows if row["SubAccountId"] == "a"}

    assert named["all"] == Decimal("0.000000005")
    assert named["held"] == Decimal("0.000000077")
    assert named["unpriced"] == 0
    assert named["input"] + named["output"] == 50 * Decimal("0.000000111")


@pytest.mark.parametrize(
    ("version", "own", "others"),
    [
        ("1.2", {"ProviderName", "PublisherName"}, {"ServiceProviderName", "HostProviderName"}),
        ("1.4", {"ServiceProviderName", "HostProviderName"}, {"ProviderName", "PublisherName"}),
    ],
)
def test_each_version_has_its_columns_and_ours_come_last(rows, version, own, others):
    names = [column.name for column in focus_columns(focus_version(version))]

    assert {*MANDATORY, *own} <= set(names)
    assert not others & set(names)
    assert [name.startswith("x_") for name in names] == sorted(name.startswith("x_") for name in names)
    nullable = {"ChargeClass", "InvoiceId", "SkuPriceDetails"}
    filled = [name for name in names if name[:2] != "x_" and name not in nullable]
    assert [name for name in filled for row in rows if row[name] is None] == []


def test_another_version_is_refused_with_those_there_are():
    with pytest.raises(FinanceError, match=r"FOCUS 1\.9 cannot be written; there is 1\.2 and 1\.4"):
        focus_version("1.9")


def test_csv_and_parquet_hold_the_same_figures(rows, tmp_path):
    columns = focus_columns("1.2")
    write_parquet(tmp_path / "focus.parquet", rows, columns)
    (tmp_path / "focus.csv").write_text(as_csv(rows, columns))

    with duckdb.connect() as connection:
        sums = [
            connection.execute(
                f"SELECT count(*), sum(BilledCost::DECIMAL(38, 18)), min(ChargePeriodStart)::VARCHAR FROM {source}"
            ).fetchone()[:2]
            for source in (f"'{tmp_path}/focus.parquet'", f"read_csv('{tmp_path}/focus.csv', all_varchar = true)")
        ]
        types = dict(connection.execute(f"DESCRIBE SELECT * FROM '{tmp_path}/focus.parquet'").fetchnumpy().items())
    assert sums[0] == sums[1] == (len(rows), sum(row["BilledCost"] for row in rows))
    by_name = dict(zip(types["column_name"], types["column_type"], strict=True))
    assert by_name["BilledCost"] == "DECIMAL(38,18)"
    assert by_name["ChargePeriodStart"] == "TIMESTAMP WITH TIME ZONE"


@given(st.dictionaries(st.sampled_from("abcd"), st.decimals(0, 1, places=15), min_size=1), st.integers(0, 10**6))
def test_a_cost_is_split_without_losing_a_digit_and_no_part_is_below_zero(exact, requests):
    billed = round(sum(exact.values()), 9)

    parts = split_cost(exact, billed)

    assert sum(parts.values()) == billed
    assert min(parts.values()) >= 0


def test_charges_that_do_not_fit_into_one_answer_come_in_several(places, rows, monkeypatch):
    monkeypatch.setattr("llmguard.finance.questions.MAX_ROWS", 2_000)
    prices = PriceFiles(places.data / "registry" / "prices")

    assert list(focus_rows(TraceReader(places.data), prices, month_of("2026-11"))) == rows
