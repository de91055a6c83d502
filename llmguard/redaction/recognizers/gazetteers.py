"""Lists of names that come with the package: given names, surnames, countries and towns of the world.

Where they come from and under which licence: NOTICE, and the head of each list.
"""
# ruff: noqa: RUF001  # people type curly apostrophes and dashes

from collections.abc import Callable
from functools import cache, lru_cache
from importlib.resources import files

_WORDS_KEPT = 8_192
_LONGEST_KEPT = 64
_LEAST_CAPITALS = 4  # `MAX` and `ANA` are more often something else


def remembered(judge: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return a judge of short words that remembers its judgements: several rules ask about each word of a text."""
    quick = lru_cache(_WORDS_KEPT)(judge)
    return lambda word: quick(word) if len(word) <= _LONGEST_KEPT else judge(word)


@cache
def given_names() -> frozenset[str]:
    """Return given names as they are written, none of which is also an ordinary word."""
    return _lines("given_names.txt")


@cache
def surnames() -> frozenset[str]:
    """Return surnames as they are written, none of which is also an ordinary word or a given name."""
    return _lines("surnames.txt")


@cache
def countries() -> frozenset[str]:
    """Return the names of countries in English and their own language."""
    return _lines("countries.txt")


@cache
def towns() -> frozenset[str]:
    """Return towns and regions; a big one may also be a name of people (`Florence`, `Lincoln`)."""
    return _lines("towns.txt")


@remembered
def is_given_name(word: str) -> bool:
    """Say whether a word is a known given name, in `Anna` or `ANNA`; both parts of `Anne-Marie` count."""
    bare = _bare(word)
    first, hyphen, second = bare.partition("-")
    return bare in given_names() or (hyphen != "" and first in given_names() and not second.isupper())


@remembered
def is_surname(word: str) -> bool:
    """Say whether a word is a known surname, in `Kowalski` or `KOWALSKI`; one part of `Smith-Kowalski` is enough."""
    bare = _bare(word)
    known = surnames()
    return bare in known or bare.capitalize() in known or any(part in known for part in bare.split("-")[1:])


def _bare(word: str) -> str:
    """Return a word without its punctuation and its `'s`; capitals become a title."""
    bare = word.strip(".,'’").removesuffix("'s").removesuffix("’s")
    return bare.title() if bare.isupper() and len(bare) >= _LEAST_CAPITALS else bare


def _lines(name: str) -> frozenset[str]:
    text = files("llmguard.redaction.recognizers").joinpath(name).read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
