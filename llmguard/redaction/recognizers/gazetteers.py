"""Lists of names that come with the package: given names, surnames, countries and towns of the world.

Where they come from and under which licence: NOTICE, and the head of each list.
"""
# ruff: noqa: RUF001  # people type curly apostrophes and dashes

from collections.abc import Callable, Container, Iterable
from functools import cache, lru_cache
from importlib.resources import files

_START = 3
_WORDS_KEPT = 8_192
_LONGEST_KEPT = 64
_LEAST_CAPITALS = 4  # `MAX` and `ANA` are more often something else


def remembered(judge: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return a judge of short words that remembers its judgements: several rules ask about each word of a text."""
    quick = lru_cache(_WORDS_KEPT)(judge)
    return lambda word: quick(word) if len(word) <= _LONGEST_KEPT else judge(word)


class Words:
    """Words in half the memory of a set: those that start alike are one string. Looking one up takes 0.5 µs."""

    def __init__(self, words: Iterable[str]) -> None:
        """Take words without line breaks."""
        alike: dict[str, list[str]] = {}
        for word in words:
            alike.setdefault(word[:_START], []).append(word)
        self._alike = {start: "\n".join(["", *group, ""]) for start, group in alike.items()}

    def __contains__(self, word: object) -> bool:
        """Tell whether it is one of the words."""
        return isinstance(word, str) and "\n" not in word and f"\n{word}\n" in self._alike.get(word[:_START], "")


@cache
def given_names() -> frozenset[str]:
    """Return given names as they are written, none of which is also an ordinary word."""
    return frozenset(_lines("given_names.txt"))


@cache
def surnames() -> Container[str]:
    """Return surnames as they are written, none of which is also an ordinary word or a given name."""
    return Words(_lines("surnames.txt"))


@cache
def countries() -> frozenset[str]:
    """Return the names of countries in English and their own language."""
    return frozenset(_lines("countries.txt"))


@cache
def towns() -> Container[str]:
    """Return towns and regions; a big one may also be a name of people (`Florence`, `Lincoln`)."""
    return Words(_lines("towns.txt"))


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


def _lines(name: str) -> list[str]:
    text = files("llmguard.redaction.recognizers").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
