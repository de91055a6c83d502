import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.traces.line import FORMAT, BadLineError, decode_line, encode_line
from tests.support.builders import a_trace

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(request=st.dictionaries(st.text(), JSON), code=st.none() | st.text(st.characters(codec="utf-8")))
def test_what_is_encoded_is_decoded(request, code):
    line = decode_line(encode_line(a_trace(request=request, code=code, cost_nano_usd=7, entities={"PERSON": 2})))

    assert json.loads(bytes(line.texts.request)) == request
    assert line.facts.code == code
    assert line.facts.cost_nano_usd == 7
    assert line.facts.entities == {"PERSON": 2}


def test_a_line_is_one_line_of_json_that_begins_with_its_format():
    line = encode_line(a_trace(request={"text": "two\nlines"}))

    assert line.startswith(b'{"v":%d,' % FORMAT)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["request"] == {"text": "two\nlines"}


def test_half_a_surrogate_pair_becomes_a_question_mark():
    trace = a_trace(request={"messages": [{"content": "broken \ud83d text", "n": 1}]}, chunks=["\udc00"])

    texts = decode_line(encode_line(trace)).texts

    assert json.loads(bytes(texts.request)) == {"messages": [{"content": "broken ? text", "n": 1}]}
    assert json.loads(bytes(texts.chunks)) == ["?"]


def test_a_value_that_json_does_not_know_becomes_the_name_of_its_type():
    line = encode_line(a_trace(request={"value": object(), "late": "\ud83d"}))

    assert json.loads(line)["request"] == {"value": "<object>", "late": "?"}


def test_a_trace_that_is_too_long_keeps_everything_but_its_payload():
    trace = a_trace(request={"text": "x" * 5000}, response={"a": 1}, chunks=[1], status=200, input_tokens=5)

    line = decode_line(encode_line(trace, limit_bytes=2000))

    assert line.facts.status == 200
    assert line.facts.input_tokens == 5
    assert "bytes are more than a trace may have (2000)" in json.loads(bytes(line.texts.request))["omitted"]
    assert bytes(line.texts.response) == bytes(line.texts.chunks) == b"null"


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        datetime(2026, 11, 23, 13, 0, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 11, 23, 12, 0),  # noqa: DTZ001 - taken as UTC
    ],
    ids=["utc", "elsewhere", "naive"],
)
def test_the_start_is_in_utc_however_it_was_written(moment):
    line = decode_line(encode_line(replace(a_trace(), started_at=moment)))

    assert line.facts.started_at == datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert line.facts.started_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        encode_line(a_trace())[:-20],
        encode_line(a_trace(status=99_999)),
        encode_line(a_trace(trace_id="no-uuid")),
        encode_line(a_trace()).replace(b'"v":1', b'"v":2'),
        b'{"v":1,"trace_id":"\xff"}\n',
        b"[" * 100_000 + b"\n",
        encode_line(a_trace(request={"a": "x"})).replace(b'"x"', b'"\xff"'),
    ],
    ids=["empty", "newline", "null", "torn", "status", "id", "format", "utf8", "deep", "utf8-in-payload"],
)
def test_what_is_no_trace_of_this_format_is_refused_without_quoting_it(line):
    with pytest.raises(BadLineError) as caught:
        decode_line(line)

    assert len(str(caught.value)) < 40


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_nested_too_deeply_is_left_out():
    line = decode_line(encode_line(a_trace(request={"deep": nested(100_000)}, status=400)))

    assert line.facts.status == 400
    assert "nested" in json.loads(bytes(line.texts.request))["omitted"]


def test_whatever_can_be_encoded_can_be_decoded_however_deep():
    depths = range(900, 1100)

    texts = [decode_line(encode_line(a_trace(request={"deep": nested(depth)}))).texts for depth in depths]

    assert len(texts) == len(depths)
