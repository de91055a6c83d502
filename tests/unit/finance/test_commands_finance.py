"""`llmguard finance` as people type it, on a real data folder."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from llmguard.cli import main
from llmguard.domain.money import Price
from llmguard.registry.price_figures import PriceFiles, with_version
from llmguard.traces.places import Places
from tests.support.many_traces import hand_written, put_many

ROOT = Path(__file__).resolve().parents[3]
PRICE = with_version(Price(Decimal("0.15"), Decimal("0.60"), "registry", cached_input=Decimal("0.075")), "registry")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("finance") / "data")
    PriceFiles(places.data / "registry" / "prices").keep([PRICE])
    put_many(places, 600, version=PRICE.version)
    return places.data


@pytest.fixture
def finance(data, capsys, monkeypatch):
    def run(*words, code=0):
        places = [f"--registry={ROOT / 'registry.yaml'}", f"--redaction={ROOT / 'redaction'}", f"--data={data}"]
        with monkeypatch.context() as patched:
            patched.setattr("sys.argv", ["llmguard", "finance", *map(str, words), *places])
            with pytest.raises(SystemExit) as ended:
                main.main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return said.out if code == 0 else said.err

    return run


def total(data):
    [[cost]] = hand_written(Places(data), "SELECT sum(cost_usd) FROM traces")
    return cost


def test_the_report_is_the_same_in_every_format(finance, data, tmp_path):
    words = ("report", "--month", "2026-11", "--by", "team", "--by", "day")
    table = finance(*words)
    rows = list(csv.DictReader(io.StringIO(finance(*words, "--format", "csv"))))
    document = json.loads(finance(*words, "--json"))
    finance(*words, "--format", "parquet", "--output", tmp_path / "report.parquet")

    with duckdb.connect() as connection:
        in_parquet = connection.execute(f"SELECT sum(cost_usd), count(*) FROM '{tmp_path}/report.parquet'").fetchone()
    assert in_parquet == (total(data), len(rows))
    assert sum(Decimal(row["cost_usd"]) for row in rows) == total(data)
    assert sum(Decimal(row["cost_usd"]) for row in document["rows"]) == Decimal(document["total"]["cost_usd"])
    assert f"{total(data):f}" in table
    assert "The largest:" in table


def test_reports_go_to_files_and_parquet_wants_one(finance, tmp_path):
    finance("report", "--month", "2026-11", "--json", "--output", tmp_path / "report.json")

    assert json.loads((tmp_path / "report.json").read_text())["month"] == "2026-11"
    assert "add --output" in finance("report", "--month", "2026-11", "--format", "parquet", code=2)
    assert "cannot be written" in finance("report", "--format", "csv", "--output", tmp_path / "no" / "x.csv", code=3)


def test_the_focus_export_sums_up_to_the_traces(finance, data):
    for version in ("1.2", "1.4"):
        text = finance("export", "--focus", "--month", "2026-11", "--version", version)
        assert sum(Decimal(row["BilledCost"]) for row in csv.DictReader(io.StringIO(text))) == total(data)

    assert "FOCUS 1.9 cannot be written" in finance("export", "--focus", "--version", "1.9", code=3)


def test_other_prices_are_shown_beside_the_old_ones(finance, data, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("".join(f"model-{n}: {{input: 0.15, output: 0.60, cached_input: 0.075}}\n" for n in range(3)))
    words = ("rerate", "--prices", prices, "--since", "2026-11-01", "--until", "2026-12-01")

    document = json.loads(finance(*words, "--json"))

    assert Decimal(document["total"]["new_cost_usd"]) == Decimal(document["total"]["cost_usd"]) == total(data)
    assert "difference_usd" in finance(*words, "--format", "csv")
    assert "total" in finance(*words)
    assert "is no price file" in finance("rerate", "--prices", ROOT / "registry.yaml", code=3)


def test_an_export_of_a_provider_is_compared(finance, tmp_path):
    invoice = tmp_path / "invoice.csv"
    invoice.write_text("Tag,model,cost\n2026-11-03,theirs,1.5\n")
    words = ("reconcile", invoice, "--column", "date=Tag", "--model", "theirs=model-0")

    document = json.loads(finance(*words, "--json"))

    assert Decimal(document["total"]["their_cost_usd"]) == Decimal("1.5")
    assert "price_difference_usd" in finance(*words)
    assert "why" in finance(*words, "--format", "csv")
    assert "no column looks like the date" in finance("reconcile", invoice, code=3)
    assert "--column x=…: there is date" in finance("reconcile", invoice, "--column", "x=y", code=2)
    assert "written as NAME=NAME" in finance("reconcile", invoice, "--model", "x", code=2)
