"""Lists of names that come with the package: given names of the world, and countries."""
# ruff: noqa: RUF001  # people type curly apostrophes and dashes
# people type the curly apostrophe

from functools import cache
from importlib.resources import files


@cache
def given_names() -> frozenset[str]:
    """Return given names as they are written, none of which is also an ordinary word."""
    return _lines("given_names.txt")


@cache
def countries() -> frozenset[str]:
    """Return the names of countries in English and their own language."""
    return _lines("countries.txt")


def is_given_name(word: str) -> bool:
    """Say whether a word is a known given name, in `Anna` or `ANNA`; both parts of `Anne-Marie` count."""
    bare = word.strip(".,'’")
    if bare.isupper() and len(bare) > 3:  # `MAX` and `ANA` are more often something else  # noqa: PLR2004  # a bound of this shape alone
        bare = bare.title()
    return bare in given_names() or ("-" in bare and bare.split("-")[0] in given_names())


def _lines(name: str) -> frozenset[str]:
    text = files("llmguard.redaction.recognizers").joinpath(name).read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))
