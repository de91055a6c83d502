"""The figures of a price, and where they are kept: once each, under a digest of themselves.

A trace names its price version, as in `registry:3f1c…` or `litellm-1.106.2:9ab0…`; what follows the colon is the
digest, and `<digest>.json` has the rates. So the cost of an old trace can be computed again, whatever the registry or
the installed map says today.
"""

import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from llmguard.domain.money import STANDARD, Price, ServiceTier, Variant
from llmguard.registry.digest import content_digest

Figures = dict[str, dict[str, str]]  # the name of the rates, as traces have it -> kind of token -> USD per 1M tokens

_DIGEST_CHARACTERS: Final = 12
_DIGEST: Final = re.compile(r"[0-9a-f]{12}")
_NAME: Final = re.compile(rf"({'|'.join(get_args(ServiceTier))})(?:_above_(\d+))?")


def with_version(price: Price, source: str) -> Price:
    """Return a price whose version is its source and the digest of its figures."""
    return replace(price, version=f"{source}:{content_digest(figures_of(price))[:_DIGEST_CHARACTERS]}")


def figures_of(price: Price) -> Figures:
    """Return all rates of a price, each as exact text."""
    named = {STANDARD: price.figures(), **{variant.name: variant.figures() for variant in price.variants}}
    return {
        name: {kind: format(rate.normalize(), "f") for kind, rate in figures.items()} for name, figures in named.items()
    }


def price_of(figures: Figures, version: str) -> Price:
    """Return the price that has these figures.

    Raises:
        ValueError: they are no figures of a price.
    """
    try:
        rates = {name: {kind: Decimal(rate) for kind, rate in given.items()} for name, given in figures.items()}
        variants = tuple(_variant(name, given) for name, given in rates.items() if name != STANDARD)
        return Price(version=version, variants=variants, **_named(rates[STANDARD]))
    except (KeyError, TypeError, InvalidOperation):
        raise ValueError("these are no figures of a price") from None


class PriceFiles:
    """The prices of one data folder; only ever added to."""

    def __init__(self, folder: Path) -> None:
        """Keep them in this folder; it is made with the first one."""
        self._folder = folder

    def keep(self, prices: Iterable[Price]) -> None:
        """Write the figures that are not there yet.

        Raises:
            OSError: they cannot be written.
        """
        for price in prices:
            path = self._path(price.version)
            if path is None or path.exists():
                continue
            for folder in (self._folder.parent, self._folder):  # the mode is not that of parents made on the way
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            content = msgspec.json.format(msgspec.json.encode(_File(price.version, figures_of(price))), indent=1)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)

    def find(self, version: str | None) -> Price | None:
        """Return the price of a version; None if its figures were never kept, or cannot be read."""
        path = self._path(version or "")
        if path is None:
            return None
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_File)
            return price_of(file.usd_per_million_tokens, str(version))
        except (OSError, msgspec.MsgspecError, ValueError):
            return None

    def _path(self, version: str) -> Path | None:
        digest = version.rpartition(":")[2]
        return self._folder / f"{digest}.json" if _DIGEST.fullmatch(digest) else None


class _File(msgspec.Struct, frozen=True):
    version: str
    usd_per_million_tokens: Figures


def _variant(name: str, rates: dict[str, Decimal]) -> Variant:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} are no rates of a price")
    tier, above = match.groups()
    return Variant(**_named(rates) | {"tier": tier, "above_tokens": int(above or 0)})


def _named(rates: dict[str, Decimal]) -> dict[str, Any]:  # Any: the type checker does not follow ** by name
    return dict(rates)
