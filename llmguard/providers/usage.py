"""What a provider says that a call used, read with distrust: figures that cannot be true are no figures.

And what is owed by it: early and incredible figures are not the last word.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject, Usage
from llmguard.domain.money import ServiceTier
from llmguard.domain.quota import Amount
from llmguard.domain.trace import CostBasis
from llmguard.providers.tokens import generated_texts

_PLAIN: Final = frozenset({"prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"})
_NONE: Final[Mapping[str, Any]] = {}
_TIERS: Final[tuple[ServiceTier, ...]] = ("flex", "priority", "batch")
_MOST_TOKENS: Final = 1_000_000_000  # no model reads or writes more in one call; beyond is garbage

# A hold is the most that a request was expected to cost, so a true figure is hardly above it. One that is this many
# times above the hold, and above what can be counted in the answer, is a provider's mistake: believed, a single such
# answer would empty an app's month.
IMPLAUSIBLE_FACTOR: Final = 10


class Owed(NamedTuple):
    """What a call used, and by whose word; a `note` (`usage_implausible`, `usage_unknown`) says why it is the hold."""

    usage: Usage
    basis: CostBasis
    note: Mapping[str, Any] = _NONE


def most_amount(models: Sequence[Model], usage: Usage, service_tier: object) -> Amount:
    """Return the most that a call takes from the quota that reads and writes at most so much, at the dearest model."""
    return Amount(1, usage.total_tokens, max(usage.most_nano_usd(model.price, service_tier) for model in models))


def read_usage(body: JsonObject) -> Usage | None:
    """Return the usage of a completion, a chunk or a list of embeddings; None if there is none or it cannot be true.

    Understands OpenAI's details, and the cache figures that LiteLLM and others put beside them. Cached tokens are part
    of the input and reasoning tokens of the output: larger figures are cut to what they are part of, in the order
    cached, written to the cache, audio. A list of embeddings has no output.

    Source: OpenAI API reference, "CompletionUsage"; LiteLLM 1.106.2, `types/utils.py`, class `Usage`.
    """
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    input_tokens = _tokens(usage.get("prompt_tokens", usage.get("input_tokens")))
    unsaid = 0 if isinstance(body.get("data"), list) and "choices" not in body else None
    output_tokens = _tokens(usage.get("completion_tokens", usage.get("output_tokens", unsaid)))
    if input_tokens is None or output_tokens is None:
        return None
    if usage.keys() <= _PLAIN:  # as of many servers: there are no parts to tell apart
        return Usage(input_tokens, output_tokens, service_tier=_service_tier(body.get("service_tier")))
    input_details = _details(usage, "prompt_tokens_details", "input_tokens_details")
    output_details = _details(usage, "completion_tokens_details", "output_tokens_details")
    cached = _first_tokens(
        input_details.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),
        usage.get("prompt_cache_hit_tokens"),
    )
    written, written_1h = _cache_writes(usage, input_details)
    reasoning = _first_tokens(output_details.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    cached, written_1h, written, audio_input = _parts(
        input_tokens, cached, written_1h, written, _first_tokens(input_details.get("audio_tokens"))
    )
    reasoning, audio_output = _parts(output_tokens, reasoning, _first_tokens(output_details.get("audio_tokens")))
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached,
        reasoning_tokens=reasoning,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        audio_input_tokens=audio_input,
        audio_output_tokens=audio_output,
        service_tier=_service_tier(body.get("service_tier") or usage.get("service_tier")),
    )


def _cache_writes(usage: JsonObject, details: Mapping[str, Any]) -> tuple[int, int]:  # Any: not checked yet
    """Return the tokens written to the provider's cache, and those among them that it keeps for an hour, apart.

    Source: Anthropic API reference, Messages, `usage.cache_creation`; LiteLLM puts the same into its details.
    """
    written = _first_tokens(
        details.get("cache_creation_tokens"),
        details.get("cache_write_tokens"),
        usage.get("cache_creation_input_tokens"),
    )
    by_age = _details(usage, "cache_creation") or _details(details, "cache_creation_token_details")
    for_an_hour = min(written, _first_tokens(by_age.get("ephemeral_1h_input_tokens")))
    return written - for_an_hour, for_an_hour


def _parts(whole: int, *parts: int) -> tuple[int, ...]:
    """Return the parts cut so that together they are at most the whole: no token is counted, or billed, twice."""
    if not any(parts):
        return parts
    left, cut = whole, []
    for part in parts:
        cut.append(min(part, left))
        left -= cut[-1]
    return tuple(cut)


def _service_tier(value: Any) -> ServiceTier:  # Any: not checked yet
    """Return the tier that answered. Scale tier is paid by another contract; its calls count as standard here."""
    return "standard" if value is None else next((tier for tier in _TIERS if tier == value), "standard")


def owed_for(
    chunks: Sequence[JsonObject], input_tokens: int, held: Amount, count: Callable[[], int], *, stream: bool
) -> Owed:
    """Return what is owed for an answer, or for the part of it that came before a hang-up or an error.

    A provider's figures are final when they came with the end of the answer or after it. Earlier ones are of the part
    that was written by then, so each figure is at least what we count ourselves.

    Args:
        chunks: the whole completion, or the chunks of a stream, as the provider sent them.
        input_tokens: what was sent, by our own count.
        held: what was reserved for this request.
        count: returns the output tokens in these chunks; asked only when they matter.
        stream: which of the two it is.
    """
    reported, final = _reported(chunks)
    if reported is None:
        return Owed(Usage(input_tokens, count()), "counted")
    usage = reported
    if stream and not final:
        most_input, most_output = max(reported.input_tokens, input_tokens), max(reported.output_tokens, count())
        usage = reported._replace(input_tokens=most_input, output_tokens=most_output)
    if usage.total_tokens > IMPLAUSIBLE_FACTOR * held.tokens and usage.total_tokens > IMPLAUSIBLE_FACTOR * (
        input_tokens + count()
    ):
        said = {"input_tokens": reported.input_tokens, "output_tokens": reported.output_tokens}
        return whole_hold(input_tokens, held, {"usage_implausible": said})
    return Owed(usage, "reported" if usage == reported else "counted")


def whole_hold(input_tokens: int, held: Amount, note: JsonObject) -> Owed:
    """Return the hold as what is owed: the upper bound that stands where no figure can be had or believed.

    The note goes into the trace, where finance finds it and asks the provider for the true figure.
    """
    return Owed(Usage(input_tokens, max(0, held.tokens - input_tokens)), "held", note)


def choices_of(chunk: JsonObject) -> list[tuple[int, JsonObject]]:
    """Return the choices of a completion or chunk with their indexes; what is no choice is left out."""
    choices = chunk.get("choices")
    found: list[tuple[int, JsonObject]] = []
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            index = choice.get("index")
            found.append((index if type(index) is int and index > 0 else 0, choice))
    return found


def index_of(value: Any) -> int | None:  # Any: not checked yet
    """Return a value if it can be an index."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _reported(chunks: Sequence[JsonObject]) -> tuple[Usage | None, bool]:
    """Return the last usage that can be true, and whether it came with or after the end of what was written."""
    reported: Usage | None = None
    final = False
    unfinished: set[int] = set()
    ended = False
    for chunk in chunks:
        for index, choice in choices_of(chunk):
            if choice.get("finish_reason"):
                unfinished.discard(index)
                ended = True
            elif (final or index not in unfinished) and _writes(choice.get("delta")):
                unfinished.add(index)
                final = False
        usage = read_usage(chunk) if "usage" in chunk else None
        if usage is not None:
            reported, final = usage, ended and not unfinished
    return reported, final


def _writes(delta: Any) -> bool:  # Any: not checked yet
    return isinstance(delta, dict) and any(True for _ in generated_texts(delta))


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:  # Any: not checked yet
    for name in names:
        found = usage.get(name)
        if isinstance(found, dict):
            return found
    return _NONE


def _first_tokens(*values: Any) -> int:  # Any: not checked yet
    for value in values:
        if type(value) is int and 0 <= value <= _MOST_TOKENS:
            return value
    return 0


def _tokens(value: Any) -> int | None:  # Any: not checked yet
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None  # true and false are no figures
