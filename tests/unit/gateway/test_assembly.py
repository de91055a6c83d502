import json

from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.gateway.assembly import assemble
from llmguard.providers.tokens import generated_texts

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["index", "id", "type", "function", "name", "arguments", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def a_chunk(delta, *, index=0, finish=None, **more):
    return {"id": "c1", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]} | more


def test_texts_of_each_choice_are_joined():
    chunks = [
        a_chunk({"role": "assistant", "content": ""}),
        a_chunk({"content": "Hel"}),
        a_chunk({"content": "Bye"}, index=1),
        a_chunk({"content": "lo", "reasoning_content": "hm"}),
        a_chunk({}, finish="stop"),
        {"choices": [], "usage": {"prompt_tokens": 1}},
    ]

    whole = assemble(chunks)

    assert whole["id"] == "c1"
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["Hello", "Bye"]
    assert whole["choices"][0]["message"]["reasoning_content"] == "hm"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == {"prompt_tokens": 1}


def test_tool_calls_are_joined_by_their_index():
    def call(index, arguments, **more):
        return {"tool_calls": [{"index": index, "function": {"arguments": arguments} | more}]}

    chunks = [
        a_chunk({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]}),
        a_chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}]}),
        a_chunk(call(0, ": 1}")),
    ]

    calls = assemble(chunks)["choices"][0]["message"]["tool_calls"]

    assert [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls] == [
        ("a", "f", '{"x": 1}'),
        ("b", "g", "{}"),
    ]


def test_absurd_index_of_a_provider_costs_nothing():
    chunk = a_chunk({"tool_calls": [{"index": 10**12, "id": "a", "function": {"name": "f", "arguments": ""}}]})

    assert len(assemble([chunk])["choices"][0]["message"]["tool_calls"]) == 1


def test_no_chunks_are_an_empty_completion():
    assert assemble([]) == {"object": "chat.completion", "choices": []}


def test_fields_never_seen_before_are_kept_and_joined():
    chunks = [
        a_chunk({"audio": {"id": "a", "transcript": "Hel"}, "new": [{"index": 1, "text": "b"}, {"text": "c"}], "n": 1}),
        a_chunk(
            {"audio": {"id": "a", "transcript": "lo"}, "new": [{"index": 0, "text": "a"}, {"index": 1, "text": "B"}]}
        ),
    ]

    message = assemble(chunks)["choices"][0]["message"]

    assert message["audio"] == {"id": "a", "transcript": "Hello"}
    assert message["new"] == [{"index": 0, "text": "a"}, {"index": 1, "text": "bB"}, {"text": "c"}]
    assert message["n"] == 1


def test_custom_call_keeps_its_kind_and_its_input():
    chunks = [
        a_chunk({"tool_calls": [{"index": 0, "id": "a", "custom": {"name": "f", "input": "x"}}]}),
        a_chunk({"tool_calls": [{"index": 0, "custom": {"input": "y"}}]}),
    ]

    calls = assemble(chunks)["choices"][0]["message"]["tool_calls"]

    assert calls == [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "xy"}}]


def test_field_that_changes_its_type_loses_nothing():
    chunks = [a_chunk({"content": value}) for value in ("a", ["b"], {"c": "d"}, "e", 5)]

    assert assemble(chunks)["choices"][0]["message"]["content"] == ["a", "b", {"c": "d"}, "e", 5]


def test_deep_delta_is_kept_as_it_came():
    deep = {"text": "bottom"}
    for _ in range(900):
        deep = {"x": [deep]}

    message = assemble([a_chunk(deep), a_chunk(deep)])["choices"][0]["message"]

    assert [text for text, _ in generated_texts(message)] == ["bottom", "bottom"]


@given(st.lists(ANY_JSON, max_size=4), ANY_JSON, ANY_JSON)
@settings(max_examples=150)
def test_no_json_of_a_provider_is_too_odd_and_every_text_is_kept(deltas, calls, index):
    chunks = [a_chunk(delta) for delta in deltas]
    chunks += [a_chunk({"tool_calls": calls, "content": calls}, index=index), {"choices": calls}, {"choices": None}]

    whole = assemble(chunks)

    json.dumps(whole)
    written = sum(len(text) for chunk in chunks[: len(deltas) + 1] for text, _ in written_in(chunk))
    kept = sum(len(text) for choice in whole["choices"] for text, _ in generated_texts(choice["message"]))
    assert kept >= written


def written_in(chunk):
    delta = chunk["choices"][0]["delta"]
    return generated_texts(delta) if isinstance(delta, dict) else ()
