"""What a provider says that a call used, read with distrust: figures that cannot be true are no figures."""

from collections.abc import Mapping
from typing import Any, Final

from llmguard.domain.chat import JsonObject, Usage

_MOST_TOKENS: Final = 1_000_000_000  # no model reads or writes more in one call; beyond is garbage


def read_usage(body: JsonObject) -> Usage | None:
    """Return the usage of a chat completion or of a stream's chunk; None if there is none or it cannot be true.

    Understands OpenAI's details, and the cache figures that LiteLLM and others put beside them. Cached tokens are part
    of the input and reasoning tokens of the output: larger figures are cut to what they are part of.

    Source: OpenAI API reference, "CompletionUsage"; LiteLLM 1.106.2, `types/utils.py`, class `Usage`.
    """
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    input_tokens = _tokens(usage.get("prompt_tokens", usage.get("input_tokens")))
    output_tokens = _tokens(usage.get("completion_tokens", usage.get("output_tokens")))
    if input_tokens is None or output_tokens is None:
        return None
    input_details = _details(usage, "prompt_tokens_details", "input_tokens_details")
    output_details = _details(usage, "completion_tokens_details", "output_tokens_details")
    cached = _first_tokens(
        input_details.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),
        usage.get("prompt_cache_hit_tokens"),
    )
    reasoning = _first_tokens(output_details.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(cached, input_tokens),
        reasoning_tokens=min(reasoning, output_tokens),
    )


def is_usage_chunk(chunk: JsonObject) -> bool:
    """Tell whether a chunk is there for its usage alone, which an app that did not ask for it must not see.

    Source: OpenAI API reference, `stream_options.include_usage`: one more chunk, whose `choices` is empty.
    """
    return not chunk.get("choices") and isinstance(chunk.get("usage"), dict)


def _details(usage: JsonObject, *names: str) -> Mapping[str, Any]:  # Any: not checked yet
    for name in names:
        if isinstance(usage.get(name), dict):
            found: Mapping[str, Any] = usage[name]
            return found
    return {}


def _first_tokens(*values: Any) -> int:  # Any: not checked yet
    return next((tokens for tokens in map(_tokens, values) if tokens is not None), 0)


def _tokens(value: Any) -> int | None:  # Any: not checked yet
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if is_count else None
