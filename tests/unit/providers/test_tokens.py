"""Counting tokens: offline, bounded, and by OpenAI's published way."""

import asyncio
import hashlib
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmguard.providers.tokens import (
    _LONGEST_RUN,
    _RUNS,
    FOREIGN_FLAT_TOKENS,
    FOREIGN_TOOLS_TOKENS,
    TOKENS_PER_MEDIA_PART,
    TokenCounter,
    _pieces,
    bundled_encodings,
)
from tests.support.builders import a_model, a_provider

COUNTER = TokenCounter()


def a_body(text="Hello", **more):
    return {"messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("gpt-3.5-turbo-0613", 129), ("gpt-4-0613", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)],
)
def test_chat_is_counted_as_openai_publishes_it(model, tokens):
    # The example conversation and the figures of OpenAI's cookbook, "How to count tokens with tiktoken", section 6.
    messages = [
        {
            "role": "system",
            "content": "You are a helpful, pattern-following assistant that translates "
            "corporate jargon into plain English.",
        },
        {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
        {
            "role": "system",
            "name": "example_assistant",
            "content": "Things working well together will increase revenue.",
        },
        {
            "role": "system",
            "name": "example_user",
            "content": "Let's circle back when we have more bandwidth to touch base on "
            "opportunities for increased leverage.",
        },
        {
            "role": "system",
            "name": "example_assistant",
            "content": "Let's talk later when we're less busy about how to do better.",
        },
        {
            "role": "user",
            "content": "This late pivot means we don't have time to boil the ocean for the client deliverable.",
        },
    ]

    assert COUNTER.count_request({"messages": messages}, model) == tokens


@pytest.mark.parametrize("target", ["gpt-4o", "gpt-4"], ids=["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool", "developer", "function"])
def test_a_role_counts_as_its_text_does(role, target):
    tokens = TokenCounter()
    assert tokens.count_request({"messages": [{"role": role}]}, target) == 3 + 3 + tokens.count_tokens(role, target)


@pytest.mark.parametrize(
    ("target", "like"),
    [("gpt-4o-mini", "gpt-4o"), ("openai/gpt-4o", "gpt-4o"), ("gpt-oss-120b", "gpt-4o"), ("o3", "gpt-4o"),
     ("echo-1", "gpt-4o"), ("davinci", "gpt-4o"), ("gpt-3.5-turbo", "gpt-4"), ("gpt-4-0613", "gpt-4")],
)  # fmt: skip
def test_encoding_follows_the_target(target, like):
    text = "Donaudampfschifffahrtsgesellschaft, ありがとうございます"

    assert COUNTER.count_tokens(text, target) == COUNTER.count_tokens(text, like)


@pytest.mark.parametrize("text", ["<|endoftext|>", "a <|im_start|> b", "\ud800 alone", "\x00", "😀" * 10])
def test_odd_text_is_counted_as_text(text):
    assert COUNTER.count_tokens(text, "gpt-4o") > 0


def test_empty_text_has_no_tokens():
    assert COUNTER.count_tokens("", "gpt-4o") == 0


@pytest.mark.parametrize("run", [" ", "a", "\n", "!", "9", "é", "中", "\u200b"])
@pytest.mark.parametrize("target", ["gpt-4o", "gpt-4"])
def test_million_of_one_character_is_counted(run, target):
    # A million blanks overflow the stack of tiktoken's regex engine if they come in one piece.
    tokens = COUNTER.count_tokens(run * 1_000_000, target)

    assert 1_000 < tokens <= 1_000_000


@given(st.lists(st.sampled_from(["word", " ", "\n\n", "x" * 5_000, " " * 9_000, "中" * 4_097]), max_size=12))
@settings(max_examples=30)
def test_pieces_of_a_long_text_are_the_text(parts):
    text = "".join(parts)
    pieces = list(_pieces(text))

    assert "".join(pieces) == text
    assert all(len(run) <= _LONGEST_RUN for piece in pieces for run in _RUNS.findall(piece))


def test_count_is_the_same_from_the_cache_and_the_cache_stays_small():
    counter = TokenCounter(cached_texts=8)
    texts = [f"text number {i} of many" for i in range(100)]

    first = [counter.count_tokens(text, "gpt-4o") for text in texts]
    again = [counter.count_tokens(text, "gpt-4o") for text in texts + texts[-3:]]

    assert first + first[-3:] == again
    assert len(counter._young) + len(counter._old) <= 8
    assert not any("text number" in repr(key) for key in [*counter._young, *counter._old])


def test_same_text_counts_differently_for_different_encodings():
    text = "Donaudampfschifffahrtsgesellschaft, ありがとう"

    assert COUNTER.count_tokens(text, "gpt-4") != COUNTER.count_tokens(text, "gpt-4o")


def test_parts_tools_calls_and_schemas_count():
    plain = COUNTER.count_request(a_body(), "gpt-4o")
    parts = [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": "data:" + "A" * 100_000}}]
    unknown = [{"type": "text", "text": "Hello"}, {"type": "new", "value": "something else"}, "loose"]
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    called = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"a": "b"}'}}
    turn = {"role": "assistant", "content": None, "tool_calls": [called]}

    assert COUNTER.count_request(a_body(parts), "gpt-4o") == plain + TOKENS_PER_MEDIA_PART
    assert COUNTER.count_request(a_body(unknown), "gpt-4o") > plain
    assert COUNTER.count_request(a_body(tools=[tool]), "gpt-4o") > plain + 10
    assert COUNTER.count_request(a_body(response_format={"type": "json_object"}), "gpt-4o") > plain
    assert COUNTER.count_request({"messages": [*a_body()["messages"], turn]}, "gpt-4o") > plain + 10
    assert COUNTER.count_request({}, "gpt-4o") == 3


def test_answer_counts_its_words_and_its_calls():
    called = {"function": {"name": "lookup", "arguments": '{"a": "b"}'}}

    words = COUNTER.count_answer({"content": "one two", "refusal": None}, "gpt-4o")
    both = COUNTER.count_answer({"content": "one two", "tool_calls": [called, {}]}, "gpt-4o")

    assert words == 2
    assert both > words + 3


@pytest.mark.parametrize(
    "message",
    [
        {"function_call": {"arguments": "one two"}},
        {"tool_calls": [{"type": "custom", "id": "call_1", "custom": {"input": "one two"}}]},
        {"audio": {"id": "audio_1", "transcript": "one two"}},
        {"role": "assistant", "never_seen": [{"deep": ["one two", None, 5]}]},
    ],
)
def test_every_text_of_an_answer_counts_besides_roles_types_and_ids(message):
    assert COUNTER.count_answer(message, "gpt-4o") == 2


@pytest.mark.parametrize(
    "message",
    [
        {"audio": {"data": "A" * 100_000}},
        {"images": [{"image_url": {"url": "data:image/png;base64," + "A" * 100_000}}]},
    ],
)
def test_sound_and_pictures_of_an_answer_count_as_one_part(message):
    assert COUNTER.count_answer(message, "gpt-4o") == TOKENS_PER_MEDIA_PART


def test_allowance_is_exact_for_echo_and_known_targets_and_more_for_others():
    body = a_body("Hello there, how are you?")
    counted = COUNTER.count_request(body, "gpt-4o")
    foreign = a_model(target="anthropic/claude-sonnet-4-5", provider=a_provider(kind="litellm"))
    own_server = a_model(target="llama-3.3", provider=a_provider(kind="openai"))
    openai = a_model(target="gpt-4o-mini", provider=a_provider(kind="openai"))

    assert COUNTER.input_allowance(body, a_model()) == counted
    assert COUNTER.input_allowance(body, openai) == counted
    assert COUNTER.input_allowance(body, own_server) >= counted * 1.25 + FOREIGN_FLAT_TOKENS
    with_tools = {**body, "tools": [{"type": "function", "function": {"name": "x"}}]}
    more = COUNTER.input_allowance(with_tools, foreign) - COUNTER.input_allowance(body, foreign)
    assert more > FOREIGN_TOOLS_TOKENS


@given(st.text(max_size=60), st.integers(0, 30))
def test_truncated_text_is_a_start_that_fits(text, limit):
    kept = COUNTER.truncate(text, "gpt-4o", max_tokens=limit)

    assert text.startswith(kept) or "\ud800" <= max(text, default="") <= "\udfff"
    assert COUNTER.count_tokens(kept, "gpt-4o") <= limit


def test_truncation_of_a_long_text_uses_the_limit():
    kept = COUNTER.truncate("word " * 10_000, "gpt-4o", max_tokens=100)

    assert COUNTER.count_tokens(kept, "gpt-4o") == 100


def test_missing_file_is_named_and_nothing_is_downloaded(tmp_path):
    with pytest.raises(RuntimeError, match=r"fb374d419588a4632f3f557e76b4b70aebbca790.*reinstall litellm"):
        TokenCounter(tmp_path).load()


def test_broken_file_is_named_and_left_alone(tmp_path):
    broken = tmp_path / "fb374d419588a4632f3f557e76b4b70aebbca790"
    broken.write_bytes(b"not the encoding")

    with pytest.raises(RuntimeError, match="is not the o200k_base"):
        TokenCounter(tmp_path).load()

    assert broken.read_bytes() == b"not the encoding"


def test_bundled_files_are_the_ones_that_tiktoken_would_download():
    address = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"

    assert (bundled_encodings() / hashlib.sha1(address.encode()).hexdigest()).is_file()


def test_counting_neither_imports_litellm_nor_needs_a_network(tmp_path):
    # Proxies that nobody serves: any download would fail.
    script = (
        "import sys; from llmguard.providers.tokens import TokenCounter; counter = TokenCounter();"
        "counter.load(('gpt-4o', 'gpt-4')); print(counter.count_tokens('Hello', 'gpt-4'), 'litellm' in sys.modules)"
    )
    environ = {"PATH": os.environ["PATH"], "HTTPS_PROXY": "http://127.0.0.1:9", "TIKTOKEN_CACHE_DIR": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["1", "False"]


def test_missing_litellm_is_said_plainly(tmp_path):
    script = (
        "import sys; sys.modules['litellm'] = None\n"
        "from llmguard.providers.tokens import bundled_encodings\n"
        "try:\n    bundled_encodings()\nexcept RuntimeError as error:\n    print(error)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "litellm" in done.stdout


async def test_much_text_is_counted_while_the_event_loop_serves_others():
    counter = TokenCounter()
    counter.load()
    words = " ".join(f"word{number}" for number in range(200_000))
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": words}]}]}
    turns = 0

    async def serve_others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(serve_others())
    counted = await counter.most_input(body, [a_model()])
    others.cancel()

    assert counted == counter.input_allowance(body, a_model())
    assert turns > 10
