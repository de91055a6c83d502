"""How pages write figures, money and times."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from llmguard.web import figures


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (figures.figure, 1234567, "1,234,567"),
        (figures.figure, 2.5, "2.5"),
        (figures.figure, None, "-"),
        (figures.short, 999, "999"),
        (figures.short, 1000, "1k"),
        (figures.short, 12_345_678, "12.3M"),
        (figures.usd, Decimal("1234.567"), "$1,234.57"),
        (figures.usd, Decimal(0), "$0.00"),
        (figures.usd, Decimal("0.001230"), "$0.00123"),
        (figures.usd, Decimal("0.0000000001"), "under $0.000001"),
        (figures.usd, None, "-"),
        (figures.usd_of_one, Decimal("0.004628"), "$0.0046"),
        (figures.usd_of_one, "0.02", "$0.0200"),
        (figures.usd_of_one, Decimal("0.00001"), "<$0.0001"),
        (figures.usd_of_one, Decimal(0), "$0.0000"),
        (figures.usd_of_one, None, "-"),
        (figures.milliseconds, 0.04, "40 µs"),
        (figures.milliseconds, 0.4, "0.4 ms"),
        (figures.milliseconds, 350.4, "350 ms"),
        (figures.milliseconds, 1234, "1.2 s"),
        (figures.moment, datetime(2026, 11, 6, 9, 5, tzinfo=UTC), "6 Nov 2026, 09:05 UTC"),
        (figures.day, date(2026, 11, 6), "6 Nov 2026"),
        (figures.days_from_now, 0, "today"),
        (figures.days_from_now, 1, "in 1 day"),
        (figures.days_from_now, -20, "20 days ago"),
    ],
)
def test_values_are_written_for_people(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 10, "0 %"), (1, 0, "0 %"), (1, 4, "25 %"), (1, 3, "33.3 %"), (1, 100_000, "under 0.1 %")],
)
def test_shares_are_written_for_people(part, whole, text):
    assert figures.percent(part, whole) == text


def test_counts_have_their_noun():
    assert figures.count(1, "app") == "1 app"
    assert figures.count(1200, "app") == "1,200 apps"
    assert figures.count(2, "app ends", "apps end") == "2 apps end"


def test_code_is_marked_and_everything_else_is_escaped():
    text = "Ask for `a<b>`, <i>now</i>."

    assert figures.with_code(text) == "Ask for <code>a&lt;b&gt;</code>, &lt;i&gt;now&lt;/i&gt;."
