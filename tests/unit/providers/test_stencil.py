"""A stream read by what is the same in its events is what reading each event gives, wherever the bytes are cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.domain.pieces import Pieces, cut
from llmguard.providers.adapter import AttemptFailed
from llmguard.providers.answer import AnswerLimits, AnswerReader
from llmguard.providers.stencil import stencil_of
from tests.support.builders import a_model
from tests.support.thorough import tries

DONE = b"data: [DONE]\n\n"


class Body:
    """The body of a provider's answer, in the pieces in which it comes."""

    def __init__(self, *pieces):
        self.content_type = "text/event-stream"
        self.closed = False
        self._pieces = iter(pieces)

    async def read(self):
        return next(self._pieces, b"")

    def close(self):
        self.closed = True


def a_chunk(text, index=0, **more):
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None} | more.pop("choice", {})
    return {"id": "c1", "created": 1, "model": "m", "choices": [choice]} | more


def an_event(chunk, *, end="\n\n", field="data: ", **how):
    return f"{field}{json.dumps(chunk, **how)}{end}".encode()


async def read(*pieces, limits=None):
    """Return the chunks of a stream, in what came at once, and the outcome that ended it."""
    reader = AnswerReader(a_model(), Body(*pieces), limits or AnswerLimits())
    came = []
    try:
        while chunks := await reader.next_chunks():
            came.append(chunks)
    except AttemptFailed as failure:
        return came, failure.outcome
    return came, "answered"


def cut_at(body, places):
    bounds = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(bounds) if start < end]


texts = st.text(st.sampled_from('ab {}[]:,"\\/\n\t\x01\u2028ß漢😀'), max_size=4)
plain = st.builds(a_chunk, texts)
others = st.one_of(
    st.builds(lambda text: a_chunk(text, usage=None), texts),
    st.builds(lambda text: a_chunk(text, index=1), texts),
    st.builds(lambda text, pad: a_chunk(text, obfuscation=pad), texts, texts),
    st.builds(lambda text: a_chunk(text, content=text), texts),
    st.builds(lambda text: a_chunk("", choice={"delta": {"role": "assistant", "content": text}}), texts),
    st.builds(lambda text: a_chunk(text, choice={"logprobs": {"content": [{"token": text}]}}), texts),
    st.builds(lambda text: a_chunk(text, usage={"prompt_tokens": 1, "completion_tokens": 1}), texts),
    st.just({"choices": []}),
)
events = st.one_of(
    plain.map(an_event),
    plain.map(an_event),
    plain.map(lambda chunk: an_event(chunk, ensure_ascii=False)),
    others.map(an_event),
    plain.map(lambda chunk: an_event(chunk, end="\r\n\r\n")),
    plain.map(lambda chunk: an_event(chunk, field="data:")),
    plain.map(lambda chunk: b"event: message\n" + an_event(chunk)),
    st.just(b": still there\n\n"),
)
END = an_event(a_chunk("", choice={"delta": {}, "finish_reason": "stop"}))
END_OF_OTHER = an_event(a_chunk("", index=1, choice={"delta": {}, "finish_reason": "stop"}))


@settings(max_examples=tries(200, 2_000))
@given(st.lists(events, max_size=12), st.lists(st.integers(0, 10_000), max_size=5))
async def test_stream_is_read_the_same_wherever_it_is_cut(stream, places):
    body = b"".join([*stream, END, END_OF_OTHER, DONE])
    one_by_one = [
        json.loads(event.partition(b"data:")[2]) for event in [*stream, END, END_OF_OTHER] if b"data:" in event
    ]

    came, outcome = await read(*cut_at(body, places))

    assert outcome == "answered"
    assert [chunk for chunks in came for chunk in cut(chunks)] == one_by_one


async def test_texts_that_come_at_once_are_one_chunk_until_it_is_cut():
    said = ["Hi", " there", "\n", ' "you"', " ☺", "", "!"]
    came, outcome = await read(b"".join(an_event(a_chunk(text)) for text in said) + END + DONE)

    first, pieces, end = came[0]
    assert outcome == "answered"
    assert len(came) == 1
    assert (first, end["choices"][0]["finish_reason"]) == (a_chunk("Hi"), "stop")
    assert isinstance(pieces, Pieces)
    assert pieces.texts == said[1:]


BROKEN = {
    "no string": an_event(a_chunk("MARK")).replace(b"MARK", b'a" "b'),
    "a line end": an_event(a_chunk("MARK")).replace(b"MARK", b"a\tb"),
    "half of a character": an_event(a_chunk("MARK")).replace(b"MARK", b"\xe6\xbc"),
    "a quote that is open": an_event(a_chunk("MARK")).replace(b"MARK", b"\\"),
    "an error": an_event({"error": {"message": "no"}}),
    "an error by name": b"event: error\n" + an_event(a_chunk("x")),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("after", [0, 3])
async def test_what_came_before_something_broken_comes_before_the_error(broken, after):
    sound = b"".join(an_event(a_chunk(text)) for text in "abcd")
    rest = b"".join(an_event(a_chunk("x")) for _ in range(after))

    came, outcome = await read(sound + broken + rest + END + DONE)

    assert outcome in {"not_understood", "error_in_answer"}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunks in came for chunk in chunks) == "abcd"


async def test_event_that_is_too_large_is_not_read_whatever_came_before():
    sound = b"".join(an_event(a_chunk(text)) for text in "abcd")

    came, outcome = await read(sound, an_event(a_chunk("x" * 500)), limits=AnswerLimits(event_bytes=300))

    assert outcome == "too_large"
    assert len(came) == 1


@pytest.mark.parametrize(
    "chunk",
    [
        a_chunk("x", choice={"delta": {"content": "x", "role": "assistant"}}),
        a_chunk("x", choice={"finish_reason": "stop"}),
        a_chunk("x", choice={"logprobs": {}}),
        a_chunk("x", usage={}),
        a_chunk(None),
        a_chunk("x") | {"choices": []},
        a_chunk("x") | {"choices": [a_chunk("x")["choices"][0], a_chunk("x", index=1)["choices"][0]]},
        {"novelty": {"content": "x"}} | a_chunk("x"),
    ],
)
def test_event_with_more_than_one_text_is_no_stencil(chunk):
    assert stencil_of(json.dumps(chunk).encode(), chunk) is None
