"""The FOCUS export against the FinOps Foundation's own validator.

It cannot share our environment: it wants Python 3.12 and an older pyarrow. Make one for it, and name it:

    python3.12 -m venv /tmp/focus && /tmp/focus/bin/pip install 'focus-validator==2.2.1' 'pyarrow<22'
    FOCUS_VALIDATOR=/tmp/focus scripts/test tests/contract/test_focus_validator.py
"""

import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from llmguard.domain.money import Price
from llmguard.finance.focus import focus_columns, focus_rows
from llmguard.finance.questions import month_of
from llmguard.finance.tables import as_csv, write_parquet
from llmguard.registry.price_figures import PriceFiles, with_version
from llmguard.traces.places import Places
from llmguard.traces.reader import TraceReader
from tests.support.many_traces import put_many

# Not USAGE_MEASUREMENT_SUPPORTED: its rules then read CommitmentDiscountStatus, which only who has such discounts must
# write. Nor those about price lists: each asks for columns of virtual currencies.
APPLIES = (
    "ACCOUNT_NAMING_SUPPORTED,NEGOTIATED_PRICING_SUPPORTED,SUB_ACCOUNT_SUPPORTED,TAGGING_SUPPORTED,"
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED"
)
# One of two alternatives of InvoiceId-C-003-C, which passes by the other: no invoice, so no id.
ALTERNATIVES = {"InvoiceId-C-005-C"}


@pytest.fixture
def validator():
    folder = os.environ.get("FOCUS_VALIDATOR")
    if not folder:
        pytest.skip("FOCUS_VALIDATOR names no environment with focus-validator (Python 3.12): see this file's top")
    [packages] = Path(folder).glob("lib/python3.12/site-packages")

    def run(file):
        words = [
            "--data-file",
            file,
            "--validate-version",
            "1.2",
            "--block-download",
            "--focus-dataset",
            "CostAndUsage",
        ]
        done = subprocess.run(
            [Path(folder) / "bin/focus-validator", *words, "--applicability-criteria", APPLIES],
            cwd=packages,  # where it looks for its rules
            capture_output=True,
            text=True,
            check=True,
        )
        passed, failed = (
            set(re.findall(rf"^\S+ (\S+): {word} ", done.stdout, re.MULTILINE)) for word in ("PASS", "FAIL")
        )
        return passed, failed

    return run


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_validator_of_the_finops_foundation_finds_no_violation(validator, tmp_path, form):
    places = Places(tmp_path / "data")
    rates = Price(Decimal("0.15"), Decimal("0.60"), "registry", cached_input=Decimal("0.075"))
    price = with_version(rates, "registry")
    prices = PriceFiles(tmp_path / "prices")
    prices.keep([price])
    put_many(places, 300, version=price.version)
    rows = list(focus_rows(TraceReader(places.data), prices, month_of("2026-11")))
    file = tmp_path / f"focus.{form}"
    if form == "csv":
        file.write_text(as_csv(rows, focus_columns("1.2")))
    else:
        write_parquet(file, rows, focus_columns("1.2"))

    passed, failed = validator(file)

    assert len(passed) > 150
    assert failed <= ALTERNATIVES
    assert "InvoiceId-C-003-C" in passed
