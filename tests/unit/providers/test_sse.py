"""Server-sent events: the same events however the bytes are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.providers.sse import Event, EventReader, EventTooLarge

TROUBLESOME = (
    b"\xef\xbb\xbf: a comment\r\n"
    b"data: one\r\n\r\n"
    b"event: error\rdata:two\r\r"
    b"data: first line\ndata:  second line\n\n"
    b"id: 7\nretry: 10\nnonsense\n\n"
    b"data\n\n"
    b"event: nothing\n\n"
    b"data: \xf0\x9f\x98\x80\n\r\n"
    b"data: never ended\n"
)
EVENTS = [
    Event("", b"one"),
    Event("error", b"two"),
    Event("", b"first line\n second line"),
    Event("", b""),
    Event("", "😀".encode()),
]


def read(pieces, *, limit=10_000):
    reader = EventReader(max_event_bytes=limit)
    return [event for piece in pieces for event in reader.feed(piece)]


def test_line_ends_comments_and_fields_are_read_as_the_standard_says():
    assert read([TROUBLESOME]) == EVENTS


@given(st.sets(st.integers(0, len(TROUBLESOME))))
def test_events_are_the_same_however_the_bytes_are_cut(cuts):
    edges = [0, *sorted(cuts), len(TROUBLESOME)]

    assert read([TROUBLESOME[start:end] for start, end in itertools.pairwise(edges)]) == EVENTS


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), max_size=5),
    st.integers(1, 9),
)
def test_data_comes_back_as_it_was_written(texts, size):
    stream = b"".join(b"data: " + text.encode() + b"\r\n\r\n" for text in texts)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]

    assert [event.data.decode() for event in read(pieces)] == texts


@pytest.mark.parametrize(
    "pieces",
    [[b"data: " + b"x" * 100], [b"data: " + b"x" * 100 + b"\n"], [b"data: x\n"] * 60, [b"x"] * 100],
    ids=["unended line", "one line", "many lines", "byte by byte"],
)
def test_event_beyond_the_limit_is_not_kept(pieces):
    with pytest.raises(EventTooLarge):
        read(pieces, limit=50)


def test_limit_is_for_one_event_and_not_for_the_stream():
    assert len(read([b"data: " + b"x" * 40 + b"\n\n"] * 10, limit=50)) == 10
