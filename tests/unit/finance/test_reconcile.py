"""A provider's export beside our traces: every difference has its part, and the parts sum up."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from llmguard.domain.chat import Usage
from llmguard.domain.identifiers import new_trace_id
from llmguard.domain.money import Price
from llmguard.finance.errors import FinanceError
from llmguard.finance.invoice import read_invoice
from llmguard.finance.reconcile import model_names, reconcile
from llmguard.registry.price_figures import PriceFiles, with_version
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace

PRICE = with_version(Price(Decimal(1), Decimal(4), "registry", cached_input=Decimal("0.5")), "registry")
NAMES = model_names([("chat", "gpt-4o-mini"), ("far", "anthropic/claude-x")], {"weird": "chat"})
PARTS = ("missing_here_usd", "missing_there_usd", "token_difference_usd", "price_difference_usd")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("reconcile") / "data")
    places.create()
    PriceFiles(places.data / "prices").keep([PRICE])
    spool = Spool(places.spool, "w")
    usage = Usage(1000, 100, cached_tokens=400)  # 600 + 200 + 400 micro-dollars
    for day, model in ((3, "chat"), (4, "chat"), (5, "chat"), (4, "far")):
        started = datetime(2026, 11, day, 23, 59, tzinfo=UTC)
        spool.append(
            a_trace(
                trace_id=new_trace_id(started),
                started_at=started,
                app="a",
                provider="openai",
                model=model,
                price_version=PRICE.version,
                price_rate="standard",
                cost_basis="reported",
                cost_nano_usd=usage.cost_nano_usd(PRICE),
                input_tokens=1000,
                output_tokens=100,
                cached_tokens=400,
            )
        )
    spool.close()
    return places.data


@pytest.fixture
def compare(data, tmp_path):
    def run(text, provider=None, **columns):
        path = tmp_path / "invoice.csv"
        path.write_text(text)
        invoice = read_invoice([path], columns)
        found = reconcile(TraceReader(data), PriceFiles(data / "prices"), invoice, NAMES, provider)
        for row in (*found.rows, found.total):
            assert sum(row[name] for name in PARTS) == row["difference_usd"]
            assert row["their_cost_usd"] - row["our_cost_usd"] == row["difference_usd"]
        return {(str(row["day"]), row["model"]): row for row in found.rows}

    return run


HEADER = "date,model,input_tokens,output_tokens,cached_tokens,cost\n"


def test_what_is_equal_is_equal(compare):
    [row] = compare(HEADER + "2026-11-03,gpt-4o-mini-2024-07-18,1000,100,400,0.0012\n").values()

    assert (row["difference_usd"], row["why"]) == (0, "equal")


def test_tokens_and_price_are_told_apart(compare):
    rows = compare(HEADER + "2026-11-03,gpt-4o-mini,1010,105,400,0.00140\n")

    row = rows["2026-11-03", "chat"]
    assert row["token_difference_usd"] == Decimal("0.000030")  # 10 x 1 + 5 x 4
    assert row["price_difference_usd"] == Decimal("0.00017")
    assert "they count 10 input tokens more; they count 5 output tokens more" in row["why"]
    assert "for the same tokens they charge 0.000170000 USD more" in row["why"]


def test_more_cached_tokens_make_the_input_cheaper(compare):
    [row] = compare(HEADER + "2026-11-03,chat,1000,100,500,0.00115\n").values()

    assert (row["token_difference_usd"], row["price_difference_usd"]) == (Decimal("-0.00005"), 0)


def test_what_one_side_has_alone_is_said(compare):
    rows = compare(HEADER + "2026-11-03,ghost,5,5,0,0.7\n2026-11-04,weird,1000,100,400,0.0012\n")

    assert rows["2026-11-03", "ghost"]["missing_here_usd"] == Decimal("0.7")
    assert rows["2026-11-03", "chat"]["missing_there_usd"] == Decimal("-0.0012")
    assert rows["2026-11-04", "far"]["why"] == "1 requests of ours are not in their export"
    assert rows["2026-11-04", "chat"]["why"] == "equal"


def test_the_usage_export_of_openai_has_no_cost_so_tokens_alone_are_compared(compare):
    start = int(datetime(2026, 11, 3, tzinfo=UTC).timestamp())
    text = "start_time,end_time,num_model_requests,input_tokens,output_tokens,input_cached_tokens,model\n"

    [row] = compare(f"{text}{start},{start + 86400},1,1001,100,400,gpt-4o-mini-2024-07-18\n").values()

    assert row["difference_usd"] == Decimal("0.000001")
    assert "their export has no cost" in row["why"]


def test_the_cost_export_of_openai_has_one_line_a_kind_of_token(compare):
    text = "start_time_iso,amount_value,amount_currency,line_item\n"
    lines = [("0.0008", "input"), ("0.0004", "output")]

    [row] = compare(
        text
        + "".join(f'2026-11-03T00:00:00+00:00,{cost},usd,"gpt-4o-mini-2024-07-18, {kind}"\n' for cost, kind in lines)
    ).values()

    assert (row["their_cost_usd"], row["difference_usd"]) == (Decimal("0.0012"), 0)


def test_columns_of_other_names_are_given(compare):
    [row] = compare("Tag;Modell;Kosten\n2026-11-03;chat;0.0012\n", date="Tag", model="Modell", cost="Kosten").values()

    assert row["difference_usd"] == 0


def test_a_vendor_before_the_name_does_not_matter_and_other_providers_are_left_out(compare):
    assert compare(HEADER + "2026-11-04,claude-x,1000,100,400,0.0012\n")["2026-11-04", "far"]["why"] == "equal"
    assert compare(HEADER + "2026-11-04,claude-x,1,1,0,1\n", provider="other")["2026-11-04", "far"][
        "missing_here_usd"
    ] == Decimal(1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("day,cost\n2026-11-03,1\n", r"no column looks like the model\. It has day, cost\. .*--column model=NAME"),
        ("day,model\n2026-11-03,x\n", "no column looks like the cost"),
        ("day,model,cost\nyesterday,x,1\n", "line 2: 'yesterday' is no date"),
        ("day,model,cost\n2026-11-03,x,much\n", "line 2: 'much' is no figure"),
        ("day,model,cost\n2026-11-03,x,NaN\n", "'NaN' is no figure"),
        ("day,model,cost\n", "there is no line with a model"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(compare, text, said):
    with pytest.raises(FinanceError, match=said):
        compare(text)
