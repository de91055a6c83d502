"""Counting values and reading texts word by word find the same occurrences."""

import json

from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction import propagation
from llmguard.redaction.findings import Finding
from llmguard.redaction.placeholders import protected_spans
from llmguard.redaction.propagation import KnownValues
from llmguard.redaction.spans import spans_of
from llmguard.redaction.units import Field, json_units, text_units

PIECES = ["Anna Schmidt", "anna  schmidt", "Anna", "SCHMIDT", "Schmidts", "a@b.de", "xa@b.de", "1234", "12345", "\0"]
TEXTS = st.lists(st.sampled_from([*PIECES, " ", ", ", "\n", "ein", "."]), max_size=12).map("".join)
VALUES = st.lists(
    st.sampled_from([("PERSON", "Anna Schmidt"), ("EMAIL_ADDRESS", "a@b.de"), ("US_SSN", "1234")]), unique=True
)
TYPES = st.sampled_from(["PERSON", "LOCATION", "PHONE_NUMBER"])


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), values=VALUES, every=st.integers(1, 3))
def test_counted_or_read_the_same_is_found(texts, values, every):
    units = [unit for index, text in enumerate(texts) for unit in text_units(("messages", index), text)]

    assert_counted_as_read(units, values, every)


@given(
    texts=st.lists(
        st.text(alphabet="aAnN _.1\n\0é\u03a3\u03c3\u0130\u0301\u200b", max_size=30), min_size=1, max_size=3
    ),
    values=st.sets(
        st.tuples(TYPES, st.text(alphabet="aAnN _.1\n\0é\u03a3\u03c3\u0130\u0301\u200b", min_size=3, max_size=7)),
        max_size=8,
    ),
    every=st.integers(1, 3),
)
def test_values_that_overlap_each_other_and_themselves_are_found_the_same(texts, values, every):
    units = [unit for index, text in enumerate(texts) for unit in text_units(("messages", index), text)]

    assert_counted_as_read(units, sorted(values), every)


@given(
    pieces=st.lists(
        st.sampled_from(
            ["ann", "Ann", "anna", "nna", "\u00e4nn", "\u00c4nna", "_", " ", "  ", "\n", ".", "12", "1234"]
        ),
        max_size=30,
    ),
    cuts=st.lists(st.tuples(TYPES, st.integers(0, 29), st.integers(1, 6)), max_size=8),
    every=st.integers(1, 3),
)
def test_values_that_stand_in_the_text_are_found_the_same(pieces, cuts, every):
    values = {(entity_type, "".join(pieces[first : first + many]).strip()) for entity_type, first, many in cuts}
    units = text_units(("messages", 0), "".join(pieces))

    assert_counted_as_read(units, sorted(value for value in values if value[1]), every)


LEAVES = st.sampled_from(
    ["Anna Schmidt", "anna\tschmidt", "\\u0041nna", "1234", "x <PERSON> Anna", "a\n1234", 1234, 91234]
)


@given(leaves=st.lists(LEAVES, min_size=1, max_size=6), values=VALUES, every=st.integers(1, 3))
def test_leaves_numbers_and_closed_places_are_found_the_same(leaves, values, every):
    units = json_units(Field(("messages", 0), json.dumps({f"k{index}": leaf for index, leaf in enumerate(leaves)})))

    assert_counted_as_read(units, values, every)


def test_values_that_stand_in_more_than_a_few_places_are_all_found():
    units = text_units(("messages", 0), "Anna Schmidt, " + "anna  schmidt 12.12.12 " * 200)
    values = [("PERSON", "Anna Schmidt"), ("DATE_TIME", "12.12")]

    assert_counted_as_read(units, values, every=1_000)


def assert_counted_as_read(units, values, every):
    closed = [protected_spans(unit.text, ["PERSON"]) for unit in units]
    spans = [spans_of(unit, found(unit.text, values, every), shut) for unit, shut in zip(units, closed, strict=True)]
    known = KnownValues(values, frozenset({"nna"}))

    counted = known.spread(units, spans, closed)
    few, propagation._FEW_VALUES = propagation._FEW_VALUES, -1
    try:
        read = known.spread(units, spans, closed)
    finally:
        propagation._FEW_VALUES = few

    assert counted == read


def found(text, values, every):
    """Return every so-manyth occurrence of the values, in order and not overlapping: what an engine may have found."""
    places = []
    for entity_type, value in values:
        at = text.find(value)
        while at >= 0:
            places.append(Finding(at, at + len(value), entity_type, 0.9, "test"))
            at = text.find(value, at + len(value))
    kept = []
    for place in sorted(places, key=lambda one: one.start)[::every]:
        if not kept or place.start >= kept[-1].end:
            kept.append(place)
    return kept


@given(
    st.text(alphabet=st.characters(max_codepoint=255) | st.sampled_from("a\0\xad\u0130\u03a3\u0301\u200b€"), max_size=8)
)
def test_texts_that_are_not_counted_are_those_of_the_pattern(text):
    assert propagation._is_usual(text) == ("\0" not in text and not propagation._UNEVEN.search(text))
