"""The score counts as its docstring says."""

import json

import pytest

from llmguard.redaction.findings import Finding
from llmguard.redaction.score import Sample, Span, read_samples, score


class Says:
    """Finds the same spans in every text."""

    def __init__(self, *spans):
        self.spans = spans

    def find(self, text, profile):
        return tuple(Finding(start, end, entity, 0.9, "says") for start, end, entity in self.spans)


def scored(text, labels, *found):
    return score(Says(*found), [Sample(text, tuple(Span(*label) for label in labels))], None)


def test_a_span_found_by_half_counts_and_its_other_half_is_not_covered():
    result = scored("Anna Lee", [(0, 8, "PERSON")], (0, 4, "PERSON"))

    assert result.total.recall == 1.0
    assert result.total.precision == 1.0
    assert result.total.cover == pytest.approx(4 / 7)


def test_a_wrong_entity_covers_and_is_not_found():
    result = scored("Paris", [(0, 5, "LOCATION")], (0, 5, "PERSON"))

    assert result.total.cover == 1.0
    assert result.entities["LOCATION"].recall == 0.0
    assert result.entities["PERSON"].precision == 0.0
    assert result.total.f2 == 0.0


def test_neighbours_of_one_entity_count_once():
    result = scored("5 Elm St, Bonn", [(0, 8, "LOCATION"), (10, 14, "LOCATION")], (0, 14, "LOCATION"))

    assert (result.total.labelled, result.total.found, result.total.proposed, result.total.right) == (1, 1, 1, 1)


def test_what_nobody_counts_is_neither_right_nor_wrong():
    result = scored("Acme pays", [(0, 4, "ORGANIZATION")], (0, 4, "PERSON"))

    assert (result.total.labelled, result.total.proposed) == (0, 0)
    assert result.total.precision == result.total.recall == result.total.cover == 1.0


def test_f2_weighs_recall_four_times_as_much_as_precision():
    labels = [(0, 1, "PERSON"), (4, 5, "PERSON")]
    result = scored("a b c d e", labels, (0, 1, "PERSON"))

    assert result.entities["PERSON"].f2 == pytest.approx(5 * 1.0 * 0.5 / (4 * 1.0 + 0.5))


def test_presidio_research_json_is_read_with_its_addresses_as_locations(tmp_path):
    spans = [{"entity_type": "STREET_ADDRESS", "start_position": 3, "end_position": 8, "entity_value": "Elm 5"}]
    path = tmp_path / "set.json"
    path.write_text(json.dumps([{"full_text": "at Elm 5", "spans": spans}]), encoding="utf-8")

    assert read_samples(path) == [Sample("at Elm 5", (Span(3, 8, "LOCATION"),))]


def test_conll_is_read_token_by_token(tmp_path):
    path = tmp_path / "set.conll"
    path.write_text(
        "-DOCSTART- O\n\nAnna B-PER\nLee I-PER\nin O\nBonn I-LOC\n\n\u2028\tO\nBob\tB-PER\n", encoding="utf-8"
    )

    samples = read_samples(path)

    assert samples[0] == Sample("Anna Lee in Bonn", (Span(0, 8, "PERSON"), Span(12, 16, "LOCATION")))
    assert samples[-1] == Sample("Bob", (Span(0, 3, "PERSON"),))


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "set.txt"
    path.write_text("hello\n", encoding="utf-8")

    with pytest.raises(ValueError, match="line 1: no tag"):
        read_samples(path)
