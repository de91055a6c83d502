from llmguard.gateway.assembly import assemble


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
