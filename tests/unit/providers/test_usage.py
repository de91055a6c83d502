"""Usage is read with distrust."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguard.domain.chat import Usage
from llmguard.providers.usage import read_usage


def a_usage(**more):
    return {"usage": {"prompt_tokens": 10, "completion_tokens": 4, **more}}


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (a_usage(), Usage(10, 4)),
        (a_usage(prompt_tokens_details={"cached_tokens": 6}), Usage(10, 4, cached_tokens=6)),
        (a_usage(completion_tokens_details={"reasoning_tokens": 3}), Usage(10, 4, reasoning_tokens=3)),
        (a_usage(prompt_tokens_details=None, completion_tokens_details=None), Usage(10, 4)),
        (a_usage(prompt_tokens_details={"cached_tokens": None}, cache_read_input_tokens=5), Usage(10, 4, 5)),
        (a_usage(prompt_cache_hit_tokens=2), Usage(10, 4, 2)),
        (a_usage(prompt_tokens_details={"cached_tokens": 99}), Usage(10, 4, 10)),
        (a_usage(completion_tokens_details={"reasoning_tokens": 99}), Usage(10, 4, 0, 4)),
        (a_usage(prompt_tokens_details={"cached_tokens": -1}), Usage(10, 4)),
        (
            {"usage": {"input_tokens": 7, "output_tokens": 0, "input_tokens_details": {"cached_tokens": 1}}},
            Usage(7, 0, 1),
        ),
        (
            a_usage(
                prompt_tokens_details={"cached_tokens": 3, "cache_creation_tokens": 4, "audio_tokens": 9},
                cache_creation_input_tokens=4,
                cache_creation={"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 1},
                completion_tokens_details={"reasoning_tokens": 1, "audio_tokens": 2},
            ),
            Usage(10, 4, 3, 1, cache_write_tokens=3, cache_write_1h_tokens=1, audio_input_tokens=3,
                  audio_output_tokens=2),
        ),
        (a_usage() | {"service_tier": "flex"}, Usage(10, 4, service_tier="flex")),
        (a_usage(service_tier="batch"), Usage(10, 4, service_tier="batch")),
        (a_usage() | {"service_tier": "<b>"}, Usage(10, 4)),
    ],
    ids=["plain", "cached", "reasoning", "null details", "litellm", "deepseek", "more cached than read",
         "more reasoned than written", "negative detail", "responses names",
         "cache writes, audio", "flex", "batch of Anthropic", "a tier that nobody knows"],
)  # fmt: skip
def test_usage_is_read_in_every_known_form(body, usage):
    assert read_usage(body) == usage


@pytest.mark.parametrize(
    "usage",
    [None, [], "10", {}, {"prompt_tokens": 1}, {"prompt_tokens": -1, "completion_tokens": 1},
     {"prompt_tokens": "1", "completion_tokens": 1}, {"prompt_tokens": True, "completion_tokens": 1},
     {"prompt_tokens": 1.5, "completion_tokens": 1}, {"prompt_tokens": 10**12, "completion_tokens": 1}],
)  # fmt: skip
def test_usage_that_cannot_be_true_is_no_usage(usage):
    assert read_usage({"usage": usage}) is None


def test_body_without_usage_has_none():
    assert read_usage({}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "reasoning_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_is_read_without_an_error_and_parts_never_exceed_their_whole(usage):
    read = read_usage({"usage": usage})

    assert read is None or (min(read.by_kind().values()) >= 0 and sum(read.by_kind().values()) == read.total_tokens)
