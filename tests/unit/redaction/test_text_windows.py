from hypothesis import given
from hypothesis import strategies as st

from llmguard.redaction.windows import windows

TEXTS = st.text(alphabet="ab \n", max_size=2_000) | st.integers(0, 1_500).map(lambda length: "x" * length)


@given(TEXTS, st.integers(60, 300))
def test_every_place_is_owned_once_and_lies_inside_its_window_with_context(text, size):
    parts = list(windows(text, size, overlap=40))
    owners = [sum(part.owns(place) for part in parts) for place in range(len(text))]
    assert all(count == 1 for count in owners)
    assert all(part.start <= part.owned_start and part.owned_end <= part.end + 1 for part in parts)
    assert all(part.end - part.start <= size for part in parts)
    assert all(part.owned_start - part.start >= 1 for part in parts[1:])


def test_a_short_text_is_one_window():
    (only,) = windows("short", 60, overlap=20)
    assert (only.start, only.end) == (0, 5)


def test_windows_are_cut_at_line_ends():
    text = "a line of text\n" * 40
    assert all(text[part.end - 1] == "\n" for part in windows(text, 100, overlap=40))
