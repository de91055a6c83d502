"""A chat request as parsed at the door, and the usage that a provider reports for it."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from llmguard.domain.catalog import Price
from llmguard.domain.money import cost_nano_usd

# JSON as the decoder gives it: dict, list, str, int, float, bool, None. Any is honest here: the door accepts OpenAI
# fields that it has never seen, and each reader checks what it touches.
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request of an app: what it asks, and how.

    Attributes:
        endpoint: the path it came in by, such as `/v1/chat/completions`.
        model: what the app put into `model`: a preset, with or without `@version`.
        messages: OpenAI chat messages, oldest first; never changed in place.
        stream: whether the app wants server-sent events.
        include_usage: whether the app asked for a usage chunk at the end of its stream.
        parameters: everything else of the body by its OpenAI name (temperature, tools, user, ...); nulls are left out.
    """

    endpoint: str
    model: str
    messages: list[JsonObject]
    stream: bool = False
    include_usage: bool = False
    parameters: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `cached_tokens` are part of `input_tokens`, `reasoning_tokens` of `output_tokens`."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def cost_nano_usd(self, price: Price) -> int:
        """Return what this usage costs at that price, in nano-dollars."""
        cached_rate: Decimal = price.input if price.cached_input is None else price.cached_input
        return cost_nano_usd(
            [
                (self.input_tokens - self.cached_tokens, price.input),
                (self.cached_tokens, cached_rate),
                (self.output_tokens, price.output),
            ]
        )
