"""What models cost and how much they take, from the map that comes with the installed litellm; litellm is not imported.

Importing litellm takes seconds; its map is one JSON file of 3 MB, of which only the asked entries are decoded
(2 ms to split it into 4,242 raw entries, 17 ms to decode it whole).
"""

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from llmguard.domain.catalog import ModelMode
from llmguard.domain.money import Price

_MAP: Final = "litellm/model_prices_and_context_window_backup.json"
_TOKENS_A_PRICE: Final = 1_000_000
_EMBEDDING: Final = "embedding"
_PRICED_MODES: Final = frozenset({"chat", "completion", "responses", _EMBEDDING})
# OpenAI refuses `max_tokens` for its reasoning models.
# Source: OpenAI API reference, chat completions, `max_tokens`: "not compatible with o-series models".
_WANTS_COMPLETION_TOKENS: Final = frozenset({"openai", "azure"})


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the map knows about a target."""

    price: Price
    context_tokens: int | None
    max_output_tokens: int | None
    wants_completion_tokens: bool


class PriceMap:
    """LiteLLM's bundled map, read when the first model asks."""

    def __init__(self, folder: Path | None = None, version: str | None = None) -> None:
        """Use the installed litellm, or a folder that has the same file under a version of its own."""
        self._folder = folder
        self._version = version

    @property
    def version(self) -> str:
        """`litellm-` and the installed version: what traces pin."""
        return f"litellm-{self._version or importlib.metadata.version('litellm')}"

    def find(self, target: str, provider: str) -> ModelFacts | None:
        """Return the facts of the exact target, with or without the provider before it; None if it has no token price.

        Args:
            target: as the registry has it: `gpt-4o-mini`, `anthropic/claude-sonnet-4-5`.
            provider: the name of its provider in the registry.
        """
        return next((facts for entry in self._entries_of(target, provider) if (facts := self._facts(entry))), None)

    def mode(self, target: str, provider: str) -> ModelMode:
        """Return what a target answers, also where the map has no price for it; `chat` where it is not in the map."""
        modes = (entry.get("mode") for entry in self._entries_of(target, provider))
        return "embedding" if next(modes, None) == _EMBEDDING else "chat"

    def _entries_of(self, target: str, provider: str) -> Iterator[dict[str, Any]]:  # LiteLLM's JSON has many shapes
        for name in (target, f"{provider}/{target}"):
            if (entry := self._entry(name)) is not None:
                yield entry
        # LiteLLM's own way to name a target is `vendor/model`; its map has many of them without the vendor.
        vendor, slash, model = target.partition("/")
        if slash and (entry := self._entry(model)) is not None and entry.get("litellm_provider") == vendor:
            yield entry

    @cached_property
    def _entries(self) -> dict[str, msgspec.Raw]:
        folder = self._folder or Path(str(importlib.metadata.distribution("litellm").locate_file("")))
        try:
            return msgspec.json.decode((folder / _MAP).read_bytes(), type=dict[str, msgspec.Raw])
        except (OSError, msgspec.MsgspecError):
            return {}  # no price is known then, and each model that needs one is a finding

    def _entry(self, name: str) -> dict[str, Any] | None:  # LiteLLM's JSON has many shapes
        raw = self._entries.get(name) if name != "sample_spec" else None
        return _DECODER.decode(raw) if raw is not None else None

    def _facts(self, entry: dict[str, Any]) -> ModelFacts | None:  # LiteLLM's JSON has many shapes
        if entry.get("mode") not in _PRICED_MODES:
            return None
        rates = [_rate(entry, f"{kind}_cost_per_token") for kind in ("input", "output")]
        if entry["mode"] == _EMBEDDING and "output_cost_per_token" not in entry:
            rates[1] = Decimal(0)  # there is no output
        if rates[0] is None or rates[1] is None or rates[0] + rates[1] == 0:
            return None  # the map says 0 where it does not know: a free model is said so in the registry
        price = Price(rates[0], rates[1], self.version, cached_input=_rate(entry, "cache_read_input_token_cost"))
        return ModelFacts(
            price,
            _tokens(entry.get("max_input_tokens")),
            _tokens(entry.get("max_output_tokens")),
            bool(entry.get("supports_reasoning")) and entry.get("litellm_provider") in _WANTS_COMPLETION_TOKENS,
        )


_DECODER: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def _rate(entry: dict[str, Any], name: str) -> Decimal | None:  # LiteLLM's JSON has many shapes
    rate = entry.get(name)
    if isinstance(rate, bool) or not isinstance(rate, int | Decimal) or rate < 0:
        return None
    return (Decimal(rate) * _TOKENS_A_PRICE).normalize()


def _tokens(value: object) -> int | None:
    """Return a token count; the map has some as 128000.0, and some as text."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
