"""A request as parsed at the door, and the usage that a provider reports for it."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from llmguard.domain.money import Price, Rates, ServiceTier, TokenKind, cost_nano_usd

# JSON as the decoder gives it: dict, list, str, int, float, bool, None. Any is honest here: the door accepts OpenAI
# fields that it has never seen, and each reader checks what it touches.
JsonObject = dict[str, Any]


class ChatRequest(NamedTuple):
    """One request of an app: what it asks, and how. Every endpoint is translated to it at the door.

    Attributes:
        endpoint: the path it came in by, such as `/v1/chat/completions`.
        model: what the app put into `model`: a preset, with or without `@version`.
        messages: OpenAI chat messages, oldest first; never changed in place. Empty where texts are embedded.
        parameters: everything else of the body by its OpenAI name (temperature, tools, user, ...); nulls are left out.
        stream: whether the app wants server-sent events.
        include_usage: whether the app asked for a usage chunk at the end of its stream.
        inputs: the texts to embed; None for everything that is a chat.
        spoken: what the endpoint calls a parameter, where that is another word than chat completions have for it.
        body_bytes: how long it was as it came in, where that is known.
    """

    endpoint: str
    model: str
    messages: list[JsonObject]
    parameters: JsonObject
    stream: bool = False
    include_usage: bool = False
    inputs: list[str] | None = None
    spoken: Mapping[str, str] = MappingProxyType({})
    body_bytes: float = math.inf

    def but(self, messages: list[JsonObject], parameters: JsonObject, inputs: list[str] | None) -> "ChatRequest":
        """Return the same request with other content; `_replace` takes three times as long."""
        return ChatRequest(
            self.endpoint,
            self.model,
            messages,
            parameters,
            self.stream,
            self.include_usage,
            inputs,
            self.spoken,
            self.body_bytes,
        )


class Usage(NamedTuple):
    """Tokens of one call, and the service tier that answered it.

    Cached, written-to-cache and audio input tokens are part of `input_tokens` and never of each other; reasoning and
    audio output tokens likewise of `output_tokens`.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0  # not among `cache_write_tokens`
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    service_tier: ServiceTier = "standard"

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def by_kind(self) -> dict[TokenKind, int]:
        """Return the tokens of each kind, every token once."""
        special_input = self.cached_tokens + self.cache_write_tokens + self.cache_write_1h_tokens
        return {
            TokenKind.INPUT: self.input_tokens - special_input - self.audio_input_tokens,
            TokenKind.CACHED_INPUT: self.cached_tokens,
            TokenKind.CACHE_WRITE: self.cache_write_tokens,
            TokenKind.CACHE_WRITE_1H: self.cache_write_1h_tokens,
            TokenKind.AUDIO_INPUT: self.audio_input_tokens,
            TokenKind.OUTPUT: self.output_tokens - self.reasoning_tokens - self.audio_output_tokens,
            TokenKind.REASONING: self.reasoning_tokens,
            TokenKind.AUDIO_OUTPUT: self.audio_output_tokens,
        }

    def rates_at(self, price: Price) -> tuple[str, Rates]:
        """Return the rates of a price that count for this call, and their name."""
        return price.rates_for(self.service_tier, self.input_tokens)

    def cost_nano_usd(self, price: Price) -> int:
        """Return what this usage costs at that price, in nano-dollars."""
        return self.cost_at(self.rates_at(price)[1])

    def cost_at(self, rates: Rates) -> int:
        """Return what this usage costs at these rates, in nano-dollars."""
        return cost_nano_usd([(tokens, rates.of(kind)) for kind, tokens in self.by_kind().items() if tokens])

    def most_nano_usd(self, price: Price, service_tier: object = None) -> int:
        """Return the most that a call can cost that reads and writes at most so many tokens, in nano-dollars.

        Args:
            price: of the model that is asked.
            service_tier: what the request asks for, if anything; without it the provider chooses among all.
        """
        tiers = _POSSIBLE_TIERS.get(service_tier) if isinstance(service_tier, str) else None
        input_rate, output_rate = price.ceiling(tiers, self.input_tokens)
        return cost_nano_usd([(self.input_tokens, input_rate), (self.output_tokens, output_rate)])


# Which tiers can answer a request that asks for one: the provider may fall back to the standard tier. `auto`, and
# leaving it out, mean the setting of the project at the provider. Source: OpenAI API reference, `service_tier`.
_POSSIBLE_TIERS: dict[str, frozenset[str]] = {
    "default": frozenset({"standard"}),
    "standard_only": frozenset({"standard"}),
    "flex": frozenset({"standard", "flex"}),
    "priority": frozenset({"standard", "priority"}),
}
