"""Counting values and reading texts word by word find the same occurrences."""

from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction import propagation
from llmguard.redaction.findings import Finding
from llmguard.redaction.propagation import KnownValues
from llmguard.redaction.spans import spans_of
from llmguard.redaction.units import text_units

PIECES = ["Anna Schmidt", "anna  schmidt", "Anna", "SCHMIDT", "Schmidts", "a@b.de", "xa@b.de", "1234", "12345", "\0"]
TEXTS = st.lists(st.sampled_from([*PIECES, " ", ", ", "\n", "ein", "."]), max_size=12).map("".join)
VALUES = st.lists(
    st.sampled_from([("PERSON", "Anna Schmidt"), ("EMAIL_ADDRESS", "a@b.de"), ("US_SSN", "1234")]), unique=True
)


@given(texts=st.lists(TEXTS, min_size=1, max_size=3), values=VALUES, every=st.integers(1, 3))
def test_counted_or_read_the_same_is_found(texts, values, every):
    units = [unit for index, text in enumerate(texts) for unit in text_units(("messages", index), text)]
    spans = [spans_of(unit, found(unit.text, values, every), ()) for unit in units]
    closed = [()] * len(units)
    known = KnownValues(values, frozenset())

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
