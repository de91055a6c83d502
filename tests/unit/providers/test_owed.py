"""What is owed for an answer: the provider's figures where they are final and can be true, else our own."""

import pytest

from llmguard.domain.chat import Usage
from llmguard.domain.quota import Amount
from llmguard.providers.usage import Owed, owed_for, whole_hold

HELD = Amount(1, 100, 5_000)


def a_chunk(delta, *, index=0, finish=None, **more):
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]} | more


def owed(chunks, *, counted=20, stream=True):
    return owed_for(chunks, 10, HELD, lambda: counted, stream=stream)


def reporting(read, written, **more):
    return {"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": written, **more}}


def test_without_usage_our_own_count_is_owed():
    assert owed([a_chunk({"content": "a"})]) == Owed(Usage(10, 20), "counted")


def test_usage_before_the_end_is_raised_to_our_count_figure_by_figure():
    few_written, few_read = reporting(50, 1), reporting(1, 50, prompt_tokens_details={"cached_tokens": 1})

    assert owed([few_written, a_chunk({"content": "a"})]).usage == Usage(50, 20)
    assert owed([few_read, a_chunk({"content": "a"})]).usage == Usage(10, 50, cached_tokens=1)


@pytest.mark.parametrize(
    "chunks",
    [
        [a_chunk({"content": "a"}, finish="stop"), reporting(1, 2)],
        [a_chunk({"content": "a"}, finish="stop", usage=reporting(1, 2)["usage"])],
        [a_chunk({}, finish="stop"), reporting(1, 2), a_chunk({"role": "assistant", "content": ""})],
    ],
    ids=["after", "with", "and an empty delta"],
)
def test_usage_with_or_after_the_end_is_final(chunks):
    assert owed(chunks).usage == Usage(1, 2)


def test_usage_is_not_final_while_another_choice_goes_on():
    chunks = [
        a_chunk({"content": "a"}),
        a_chunk({"content": "b"}, index=1),
        a_chunk({}, finish="stop"),
        reporting(1, 2),
    ]

    assert owed(chunks).usage == Usage(10, 20)
    assert owed([*chunks, a_chunk({}, index=1, finish="stop"), reporting(1, 3)]).usage == Usage(1, 3)


def test_text_after_the_usage_makes_it_an_early_one():
    chunks = [a_chunk({}, finish="stop"), reporting(0, 0), a_chunk({"content": "a"})]

    assert owed(chunks).usage == Usage(10, 20)


def test_usage_of_a_whole_answer_is_final():
    assert owed([reporting(1, 2)], stream=False).usage == Usage(1, 2)


@pytest.mark.parametrize(("said", "counted", "believed"), [(990, 20, True), (991, 20, False), (991, 91, True)])
def test_usage_is_believed_up_to_ten_times_the_hold_or_the_answer(said, counted, believed):
    answer = owed([reporting(10, said)], counted=counted, stream=False)

    if believed:
        assert answer == Owed(Usage(10, said), "reported")
    else:
        note = {"usage_implausible": {"input_tokens": 10, "output_tokens": said}}
        assert answer == whole_hold(10, HELD, note) == Owed(Usage(10, 90), "held", note)
