"""Made-up data: the same seed gives the same rows, real rules find people in it, and it passes for made up."""

import csv
import io
import json
from pathlib import Path

import pytest

from llmguard.catalog.made_up import KINDS, as_csv, as_json_lines, made_up_rows
from llmguard.domain.errors import Refusal
from llmguard.domain.made_up import MADE_UP
from llmguard.policy.decide import check_content
from llmguard.redaction.redactor import Redactor
from tests.support.analyzers import an_analyzer
from tests.support.builders import a_chat_request, an_app

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def redactor():
    return Redactor(an_analyzer(ROOT / "redaction"), b"a secret for tests only")


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_rows_and_more_rows_begin_with_them(kind):
    rows = list(made_up_rows(kind, 100, 7))

    assert rows == list(made_up_rows(kind, 100, 7))
    assert rows[:10] == list(made_up_rows(kind, 10, 7)) != list(made_up_rows(kind, 10, 8))
    assert len({row[next(iter(row))] for row in rows}) == 100


def test_both_formats_hold_the_same():
    rows = list(made_up_rows("expenses", 5, 1))

    assert list(csv.DictReader(io.StringIO(as_csv(rows)))) == rows
    assert [json.loads(line) for line in as_json_lines(rows).splitlines()] == rows


@pytest.mark.parametrize("profile", ["standard", "strict"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_app_in_the_sandbox_may_send_it(redactor, kind, profile):
    rows = list(made_up_rows(kind, 60, 1))
    found = set()
    for text in (as_csv(rows), *(as_json_lines(rows[start : start + 20]) for start in range(0, 60, 20))):
        redacted = await redactor.redact(a_chat_request(text), app="a", profile=profile)
        check_content(an_app(status="sandbox"), redacted.entities, redacted.vault.types_of_only)
        found |= set(redacted.entities)

    assert "PERSON" in found


@pytest.mark.parametrize(
    "real",
    [
        "Anna Schmidt",
        "anna.schmidt@example.com",
        "+49 30 901820",
        "Her SSN is 536-90-4399",
        "DE89 3704 0044 0532 0130 00",
    ],
)
async def test_one_real_value_among_made_up_ones_is_refused(redactor, real):
    text = as_csv(list(made_up_rows("people", 3, 1))) + f"Please call {real} today."
    redacted = await redactor.redact(a_chat_request(text), app="a", profile="standard")

    with pytest.raises(Refusal) as refused:
        check_content(an_app(status="sandbox"), redacted.entities, redacted.vault.types_of_only)

    assert refused.value.code == "content_blocked"


@pytest.mark.parametrize(
    "value", ["Testa", "Anna Testington", "Testa Smith", "testa.mockfield@example.com", "+49 30 000", "TESTER", "TEST-"]
)
def test_what_only_looks_made_up_is_not_taken_for_it(value):
    assert (MADE_UP.fullmatch(value) is not None) == (value == "Testa")
