"""What models cost and how much they take, from the map that comes with the installed litellm; litellm is not imported.

Importing litellm takes seconds; its map is one JSON file of 3 MB, of which only the asked entries are decoded
(2 ms to split it into 4,242 raw entries, 17 ms to decode it whole).
"""

import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from llmguard.domain.catalog import ModelMode
from llmguard.domain.money import Price, ServiceTier, Variant
from llmguard.registry.price_figures import with_version

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
        """`litellm-` and the installed version; with the digest of a price's figures it is what traces pin."""
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
        given = _special_rates(entry, "") | {"input": rates[0], "output": rates[1]}
        price = Price(version=self.version, variants=tuple(_variants(entry, given)), **given)
        return ModelFacts(
            with_version(price, self.version),
            _tokens(entry.get("max_input_tokens")),
            _tokens(entry.get("max_output_tokens")),
            bool(entry.get("supports_reasoning")) and entry.get("litellm_provider") in _WANTS_COMPLETION_TOKENS,
        )


_DECODER: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


# How the map names the rates that not every model has; a service tier or a long input is a suffix.
# Source: LiteLLM 1.106.2, model_prices_and_context_window_backup.json, all names with `cost` and `token` in them.
_SPECIAL: Final[dict[str, str]] = {
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "audio_input": "input_cost_per_audio_token",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_output": "output_cost_per_audio_token",
}
_TIER_SUFFIXES: Final[tuple[tuple[ServiceTier, str], ...]] = (
    ("standard", ""),
    ("flex", "_flex"),
    ("priority", "_priority"),
    ("batch", "_batches"),
)
_ABOVE: Final = re.compile(r"(?:input|output)_cost_per_token(_above_(\d+)k_tokens)")


def _special_rates(entry: dict[str, Any], suffix: str) -> dict[str, Any]:  # LiteLLM's JSON; rates by their own names
    rates = {kind: _rate(entry, f"{name}{suffix}") for kind, name in _SPECIAL.items()}
    return {kind: rate for kind, rate in rates.items() if rate is not None}


def _variants(entry: dict[str, Any], standard: dict[str, Any]) -> Iterator[Variant]:  # Any: as in `_special_rates`
    """Yield the rates of service tiers and of long inputs; a kind that one does not name costs what it costs without.

    Source: LiteLLM 1.106.2, litellm_core_utils/llm_cost_calc/utils.py, which falls back in the same way.
    """
    above = sorted({(int(match[2]) * 1000, match[1]) for name in entry if (match := _ABOVE.match(name))})
    for tier, tier_suffix in _TIER_SUFFIXES:
        for above_tokens, above_suffix in [(0, ""), *above]:
            suffix = f"{above_suffix}{tier_suffix}"
            named = {f"{kind}_cost_per_token{suffix}" for kind in ("input", "output")} & entry.keys()
            if not suffix or not named:
                continue
            rates = dict(standard)
            for part in filter(None, (above_suffix, tier_suffix, suffix)):
                rates |= _special_rates(entry, part)
                for kind in ("input", "output"):
                    rate = _rate(entry, f"{kind}_cost_per_token{part}")
                    rates[kind] = rates[kind] if rate is None else rate
            yield Variant(tier=tier, above_tokens=above_tokens, **rates)


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
