"""The request parameters that a preset can rule, with the values that providers take for them."""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class ParameterFacts:
    """What a provider takes for a parameter; a structure can only be let through whole, with the rule `{}`."""

    kind: Literal["number", "integer", "boolean", "text", "structure"]
    least: float | None = None
    most: float | None = None


_TEXT = ParameterFacts("text")
_BOOLEAN = ParameterFacts("boolean")
_STRUCTURE = ParameterFacts("structure")
_TOKENS = ParameterFacts("integer", least=1)

# Source: OpenAI API reference, chat completions, request body, as in the `openai` package 3.54.0
# (types/chat/completion_create_params.py), and `dimensions` of embeddings; the last three: vLLM's documentation, "Extra
# parameters" of its OpenAI-compatible server.
PARAMETERS: Final[dict[str, ParameterFacts]] = {
    "temperature": ParameterFacts("number", 0, 2),
    "top_p": ParameterFacts("number", 0, 1),
    "max_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
    "n": ParameterFacts("integer", 1, 128),
    "dimensions": ParameterFacts("integer", 1),
    "presence_penalty": ParameterFacts("number", -2, 2),
    "frequency_penalty": ParameterFacts("number", -2, 2),
    "seed": ParameterFacts("integer"),
    "stop": _TEXT,
    "logprobs": _BOOLEAN,
    "top_logprobs": ParameterFacts("integer", 0, 20),
    "logit_bias": _STRUCTURE,
    "response_format": _STRUCTURE,
    "reasoning_effort": _TEXT,
    "verbosity": _TEXT,
    "modalities": _STRUCTURE,
    "audio": _STRUCTURE,
    "prediction": _STRUCTURE,
    "moderation": _STRUCTURE,
    "web_search_options": _STRUCTURE,
    "metadata": _STRUCTURE,
    "store": _BOOLEAN,
    "service_tier": _TEXT,
    "prompt_cache_key": _TEXT,
    "prompt_cache_options": _STRUCTURE,
    "prompt_cache_retention": _TEXT,
    "safety_identifier": _TEXT,
    "user": _TEXT,
    "top_k": ParameterFacts("integer", -1),
    "min_p": ParameterFacts("number", 0, 1),
    "repetition_penalty": ParameterFacts("number", 0, 2),
}

# OpenAI's two names of one limit. Source: OpenAI API reference, `max_tokens`: deprecated in favour of the other.
MAX_TOKENS: Final = "max_tokens"
MAX_COMPLETION_TOKENS: Final = "max_completion_tokens"

# What people look for under `parameters` and find elsewhere.
RULED_ELSEWHERE: Final[dict[str, str]] = {
    "tools": "tools are ruled by `tools` of the preset: forbidden, allowed, or a list of names",
    "tool_choice": "tools are ruled by `tools` of the preset: forbidden, allowed, or a list of names",
    "parallel_tool_calls": "tools are ruled by `tools` of the preset: forbidden, allowed, or a list of names",
    "functions": "tools are ruled by `tools` of the preset: forbidden, allowed, or a list of names",
    "function_call": "tools are ruled by `tools` of the preset: forbidden, allowed, or a list of names",
    "model": "the model is `model` of the preset",
    "messages": "messages are the app's; a system prompt is `system` of the preset",
    "stream": "every app may stream; there is nothing to rule",
    "stream_options": "every app may stream; there is nothing to rule",
}
