"""One Hyperscan pass that says which regexes can match a text at all.

It is a filter and never decides a finding: a regex that fires is run by its own engine, one that does not would have
found nothing. The law is in `tests/unit/redaction/test_prefilter_law.py`.
"""

import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import hyperscan

from llmguard.redaction.prefilter_cache import DatabaseCache
from llmguard.redaction.projection import Dialect, project
from llmguard.redaction.regex_translation import UntranslatableError, translate

_FLAGS = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
_Form = tuple[bytes, int]  # a Hyperscan expression and its flags


@dataclass(frozen=True, slots=True)
class _Strictness:
    anchored: bool
    flags: int


_PLAIN = _Strictness(anchored=True, flags=_FLAGS)
_UNANCHORED = _Strictness(anchored=False, flags=_FLAGS)
_COARSE = _Strictness(anchored=False, flags=_FLAGS | hyperscan.HS_FLAG_PREFILTER)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A regex, with its flags, without whose match a pattern or recognizer finds nothing."""

    regex: str
    flags: int


class Prefilter:
    """Answers which of its triggers can match; safe to use from several threads.

    Attributes:
        always: the numbers of triggers that Hyperscan cannot take; they are taken to match every text.
    """

    def __init__(
        self, triggers: Sequence[Trigger], *, dialect: Dialect = "regex", cache: DatabaseCache | None = None
    ) -> None:
        """Compile the triggers, which are known by their place from here on.

        Args:
            triggers: any number.
            dialect: the module that runs their regexes.
            cache: where compiled triggers are kept; without it they are compiled each time.
        """
        self._dialect = dialect
        self._database, taken = _compile_most(triggers, dialect) if cache is None else _cached(triggers, dialect, cache)
        self.always = frozenset(range(len(triggers))) - taken
        self._local = threading.local()  # Hyperscan's scratch space belongs to one thread at a time

    def fired(self, text: str) -> set[int]:
        """Return the numbers of all triggers that may match in the text, and of no others."""
        numbers = set(self.always)
        if self._database is not None and text:
            self._database.scan(
                project(text, self._dialect),
                match_event_handler=lambda number, _start, _end, _flags, _context: numbers.add(number),
                scratch=self._scratch(),
            )
        return numbers

    def _scratch(self) -> hyperscan.Scratch:
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = hyperscan.Scratch(self._database)
        return scratch


def _cached(
    triggers: Sequence[Trigger], dialect: Dialect, cache: DatabaseCache
) -> tuple[hyperscan.Database | None, AbstractSet[int]]:
    facts = [(dialect, 0), *((one.regex, one.flags) for one in triggers)]
    known = cache.get(facts)
    if known is not None:
        return known
    database, taken = _compile_most(triggers, dialect)
    if database is not None:
        cache.put(facts, database, taken)
    return database, taken


def _compile_most(triggers: Sequence[Trigger], dialect: Dialect) -> tuple[hyperscan.Database | None, AbstractSet[int]]:
    """Return a database of all triggers that Hyperscan takes, and their numbers."""
    forms = [(number, form) for number, one in enumerate(triggers) if (form := _form(one, _PLAIN, dialect)) is not None]
    try:
        return (_compile(forms) if forms else None), {number for number, _ in forms}
    except hyperscan.error:  # some regex is too much for it: find out which, and weaken those
        weakened = [(number, form) for number, _ in forms if (form := _compilable(triggers[number], dialect))]
        return (_compile(weakened) if weakened else None), {number for number, _ in weakened}


def _compilable(trigger: Trigger, dialect: Dialect) -> _Form | None:
    """Return the strictest form of a trigger that Hyperscan takes, or None."""
    for strictness in (_PLAIN, _UNANCHORED, _COARSE):
        form = _form(trigger, strictness, dialect)
        try:
            _compile([(0, form)] if form else [])
        except hyperscan.error:
            continue
        return form
    return None


def _form(trigger: Trigger, strictness: _Strictness, dialect: Dialect) -> _Form | None:
    try:
        widened = translate(trigger.regex, trigger.flags, anchored=strictness.anchored, dialect=dialect)
    except UntranslatableError:
        return None
    return widened.encode(), strictness.flags


def _compile(forms: Sequence[tuple[int, _Form]]) -> hyperscan.Database:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[expression for _, (expression, _) in forms],
        ids=[number for number, _ in forms],
        elements=len(forms),
        flags=[flags for _, (_, flags) in forms],
    )
    return database
