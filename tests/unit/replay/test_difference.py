"""What counts as a difference between two answers, and what is only told."""

import base64
import struct
from dataclasses import replace
from decimal import Decimal

import pytest

from llmguard.replay.difference import Answer, agreement, answer_now, answer_of, compare, stability
from tests.support.builders import a_trace


def an_answer(*texts, **changes):
    return Answer(**({"trace_id": "t", "status": 200, "code": None, "texts": texts} | changes))


def a_response(content=None, **message):
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content} | message}]}


def a_call(arguments, name="find", call_id="c1"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def read(response, **facts):
    return answer_now(a_trace(status=200, response=response, **facts))


def vector(*numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_tokens_cost_time_and_model_are_told_and_not_judged():
    then = an_answer("Yes.", input_tokens=1, output_tokens=1, cost_usd=Decimal(1), latency_ms=1.0, model="a")
    now = an_answer("Yes.", input_tokens=9, output_tokens=9, cost_usd=Decimal(9), latency_ms=9.0, model="b")

    assert compare(then, now).is_same
    assert compare(then, now).similarity == 1.0


@pytest.mark.parametrize(
    ("now", "parts"),
    [
        (an_answer("No."), ("text",)),
        (an_answer("Yes.", "Yes."), ("text",)),
        (an_answer("Yes.", status=502, code="provider_error"), ("outcome",)),
        (an_answer(status=400, code="parameter_not_allowed"), ("outcome", "text")),
    ],
    ids=["text", "choices", "outcome", "refused"],
)
def test_text_and_outcome_are_judged(now, parts):
    assert compare(an_answer("Yes."), now).parts == parts


def test_similarity_is_the_share_of_words_in_common():
    found = compare(an_answer("The cat sat on the mat"), an_answer("The dog sat on the mat"))

    assert found.similarity == pytest.approx(10 / 12)


def test_arguments_of_tools_are_compared_as_json_and_ids_do_not_count():
    then = read(a_response(tool_calls=[a_call('{"a": 1, "b": [2]}')]))

    assert compare(then, read(a_response(tool_calls=[a_call('{"b":[2],"a":1}', call_id="c2")]))).is_same
    for other in (a_call('{"a": 1, "b": [3]}'), a_call('{"a": 1, "b": [2]}', name="seek"), a_call("{")):
        assert compare(then, read(a_response(tool_calls=[other]))).parts == ("tool_calls",)
    assert compare(then, read(a_response(tool_calls=[]))).parts == ("tool_calls",)


def test_older_function_calls_content_parts_and_refusals_are_read():
    answer = read(a_response([{"type": "text", "text": "A"}, {"text": "B"}], refusal="C", function_call={"name": "f"}))

    assert answer.texts == ("ABC",)
    assert [call.name for call in answer.tool_calls] == ["f"]


def test_vectors_may_differ_in_their_last_bits_and_in_nothing_else():
    then = an_answer(vectors=(vector(1, 2, 3), vector(0, 1, 0)))

    assert compare(then, replace(then, vectors=(vector(1.0001, 2, 3), vector(0, 1, 0.0001)))).is_same
    assert compare(then, replace(then, vectors=(vector(1, 2, 3), vector(1, 0, 0)))).parts == ("vectors",)
    assert compare(then, replace(then, vectors=(vector(1, 2, 3),))).parts == ("vectors",)
    assert compare(then, replace(then, vectors=(vector(1, 2), vector(0, 1, 0)))).parts == ("vectors",)


def test_agreement_is_with_the_stored_answer_and_stability_among_the_runs():
    then = an_answer("A")
    runs = [an_answer("B"), an_answer("B", trace_id="u"), an_answer("A"), an_answer("B")]

    assert (agreement(then, runs), stability(runs)) == (0.25, 0.75)
    assert (agreement(then, [then] * 3), stability([then] * 3)) == (1.0, 1.0)


def test_a_stored_trace_and_a_new_one_are_read_alike():
    facts = {"trace_id": "t", "status": 200, "code": None, "model": "m", "input_tokens": 3, "output_tokens": 4}
    row = facts | {"cost_usd": "0.000000007", "latency_ms": 1.5}
    trace = a_trace(**facts, cost_nano_usd=7, latency_ms=1.5, response=a_response("Yes."))

    assert answer_of(row, a_response("Yes.")) == answer_now(trace)
    assert answer_of(row | {"cost_usd": None}, None).texts == ()
