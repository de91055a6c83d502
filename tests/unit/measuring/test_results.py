import json

import pytest

from scripts.measuring.results import Figure, Result, Table, as_text, circumstances, is_busy, number, ratio


def a_result(**figures):
    result = Result("gateway", "scripts/bench gateway", figures=figures)
    result.tables.append(Table("Rows", ("what", "ms"), [("a", 1.234), ("b", None)], "A note."))
    result.circumstances = {"measured_at": "2026-11-26T10:00:00+00:00", "machine": "a machine"}
    return result


def test_a_kept_result_is_read_as_it_was():
    result = a_result(rps=Figure(3100.0, "requests/s", "higher", 3000, "32 callers"))

    kept = Result.from_json(result.as_json())

    assert kept.figures == result.figures
    assert json.loads(kept.as_json()) == json.loads(result.as_json())


@pytest.mark.parametrize(
    ("value", "better", "aim", "is_met"),
    [
        (0.3, "lower", 0.33, True),
        (0.4, "lower", 0.33, False),
        (3000, "higher", 3000, True),
        (2999, "higher", 3000, False),
        (7, "lower", None, True),
    ],
)
def test_an_aim_is_met_on_its_own_side(value, better, aim, is_met):
    assert Figure(value, "ms", better, aim).is_met is is_met


@pytest.mark.parametrize(
    ("better", "before", "now", "said"),
    [
        ("lower", 2.0, 3.0, "1.50 worse"),
        ("lower", 2.0, 1.0, "0.50"),
        ("higher", 100.0, 80.0, "0.80 worse"),
        ("higher", 100.0, 95.0, "0.95"),
    ],
)
def test_a_figure_is_compared_with_its_baseline(better, before, now, said):
    baseline = a_result(x=Figure(before, "ms", better))

    assert ratio(Figure(now, "ms", better), baseline, "x") == said


def test_a_new_figure_has_no_ratio():
    assert ratio(Figure(1.0, "ms", "lower"), a_result(), "new") == ""
    assert ratio(Figure(1.0, "ms", "lower"), None, "new") == ""


@pytest.mark.parametrize(
    ("cell", "text"), [(1234567, "1,234,567"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (None, ""), ("a", "a")]
)
def test_numbers_have_three_digits_that_mean_something(cell, text):
    assert number(cell) == text


def test_a_table_is_aligned_for_a_terminal():
    assert as_text(Table("", ("what", "ms"), [("first", 1.5), ("b", 20)])).splitlines() == [
        "what   ms  ",
        "first  1.50",
        "b      20  ",
    ]


def test_circumstances_say_when_of_what_and_where():
    known = circumstances()

    assert {"measured_at", "commit", "machine", "cores", "python", "versions"} <= set(known)
    assert known["versions"]["uvicorn"]


def test_a_machine_with_other_work_is_busy():
    result = a_result()
    result.circumstances |= {"cores": 2, "load_before": 1.0}
    assert not is_busy(result)
    result.circumstances["load_before"] = 1.5
    assert is_busy(result)
