import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llmguard.domain.pieces import Pieces, cut, joined, with_content
from llmguard.gateway.assembly import assemble

LIKE = {
    "id": "c1",
    "choices": [{"index": 0, "delta": {"content": "first"}, "finish_reason": None}],
    "usage": None,
    "novelty": [1],
}
OTHER = LIKE | {"id": "c2"}
END = {"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}

chunks = st.one_of(
    st.builds(Pieces, st.sampled_from([LIKE, OTHER]), st.lists(st.text(max_size=3), min_size=1, max_size=4)),
    st.sampled_from([END, LIKE]),
)


def test_pieces_are_the_chunk_that_they_add_up_to():
    pieces = Pieces(LIKE, ["a", "", "b"])

    assert pieces == with_content(LIKE, "ab")
    assert json.loads(json.dumps(pieces)) == with_content(LIKE, "ab")
    assert cut([END, pieces]) == [END, *(with_content(LIKE, text) for text in ("a", "", "b"))]
    assert LIKE["choices"][0]["delta"] == {"content": "first"}


@given(st.lists(chunks, max_size=8))
def test_what_is_joined_is_cut_as_it_came_and_adds_up_to_the_same(stream):
    together = joined(stream)

    assert cut(together) == cut(stream)
    assert assemble(together) == assemble(cut(stream))
    for one, other in pairwise(together):
        assert not (isinstance(one, Pieces) and isinstance(other, Pieces) and one.like == other.like)
