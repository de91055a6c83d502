"""The values behind the placeholders of one request: given out while it is redacted, put back into its answer.

Lives in memory for one request and is never written anywhere; its repr tells no value. Which spelling has which
placeholder is decided here (see `placeholders` for why); how a placeholder is recognised in an answer, in `bent`.
"""

import re
import string
from collections.abc import Collection, Iterable

from llmguard.domain.chat import JsonObject
from llmguard.redaction.bent import BentPlaceholders, bracketed_types
from llmguard.redaction.entries import Entry
from llmguard.redaction.placeholders import (
    CONSONANTS,
    PAIRS_IN_STEM,
    PERSON,
    STEM_LENGTH,
    VOWELS,
    PlaceholderCodes,
    name_parts,
    normalise,
    spell_placeholder,
)
from llmguard.redaction.propagation import KnownValues
from llmguard.redaction.restore import restore_body
from llmguard.redaction.stream import StreamRestorer

_LOWER_CASE = bytes(range(256)).lower()
_NO_LETTERS = bytes(sorted(set(range(256)) - set(string.ascii_letters.encode())))
# Consonants and vowels of stems, each alike.
_SHAPES = bytes.maketrans((CONSONANTS + VOWELS).lower().encode(), b"C" * len(CONSONANTS) + b"V" * len(VOWELS))
_STEM_SHAPE = b"CV" * PAIRS_IN_STEM
# Of one value, from how many spellings on the next one gets a longer tail at once, not after trying all that are taken.
_ATTEMPTS = ((5_000, 200), (50, 100))


class Vault:
    """The hidden values of one request of one app.

    Attributes:
        app: whose request it is.
        profile: the name of the redaction profile that hid them.
    """

    __slots__ = (
        "_aliases",
        "_by_code",
        "_by_spelling",
        "_codes",
        "_known_values",
        "_matcher",
        "_stems",
        "_taken",
        "_typed",
        "app",
        "json_mode",
        "profile",
    )

    def __init__(self, app: str, profile: str, codes: PlaceholderCodes, *, json_mode: bool = False) -> None:
        """Start empty.

        Args:
            app: whose request it is.
            profile: name of the redaction profile.
            codes: the keyed function of that app.
            json_mode: whether the request asked for an answer in JSON.
        """
        self.app = app
        self.profile = profile
        self.json_mode = json_mode
        self._codes = codes
        self._by_code: dict[str, Entry] = {}
        self._by_spelling: dict[tuple[str, str, bool], dict[str | None, Entry]] = {}
        self._stems: dict[tuple[str, str], str] = {}
        self._taken: dict[str, int] = {}
        self._aliases: dict[str, str | None] = {}
        self._typed = _Typed()
        self._matcher: BentPlaceholders | None = None
        self._known_values: tuple[set[tuple[str, str]], KnownValues] | None = None

    def __repr__(self) -> str:
        """Tell how much it holds, and nothing of it."""
        return f"Vault(app={self.app!r}, profile={self.profile!r}, values={len(self._by_code)})"

    @property
    def size(self) -> int:
        """How many placeholders it has given out. No `__len__`, since an empty vault is a vault all the same."""
        return len(self._by_code)

    def types_of_only(self, pattern: re.Pattern[str]) -> frozenset[str]:
        """Return the types of which something was hidden, and every value matches a pattern as a whole."""
        others = {entry.entity_type for entry in self._by_code.values() if not pattern.fullmatch(entry.text)}
        return frozenset(entry.entity_type for entry in self._by_code.values()) - others

    def restore(self, body: JsonObject) -> JsonObject:
        """Return a chat.completion body with the values put back; the same object when nothing was hidden."""
        return restore_body(body, self.matcher, json_mode=self.json_mode) if self._by_code else body

    def restore_text(self, text: str) -> str:
        """Return a text, not JSON, with the values put back."""
        return self.matcher.replace(text) if self._by_code else text

    def stream(self) -> StreamRestorer:
        """Return what restores one stream of chat.completion.chunk bodies."""
        return StreamRestorer(self.matcher if self._by_code else None, json_mode=self.json_mode)

    @property
    def matcher(self) -> BentPlaceholders:
        """What finds the placeholders of this vault in an answer, however the model bent them."""
        if self._matcher is None:
            self._matcher = BentPlaceholders(self._by_code.values(), typed_types=self._typed.types)
        return self._matcher

    def expect(self, texts: Iterable[str], names: Iterable[str]) -> None:
        """Take note of the request before anything is hidden in it.

        Args:
            texts: every text of it; what looks like a placeholder there is never given to a value.
            names: the person names found in it; a part of a full name that stands alone is taken for the same person
                unless two people share it.
        """
        self._typed.read("\0".join(texts))
        for name in names:
            full = normalise(PERSON, name)
            for part in map(str.casefold, name_parts(name)):
                self._aliases[part] = full if self._aliases.get(part, full) == full else None

    def hide(self, entity_type: str, text: str, *, raw: str | None = None, number: bool = False) -> str:
        """Return the placeholder of one spelling of a value, and remember the value.

        Args:
            entity_type: Presidio's name.
            text: the value exactly as it stands in the text.
            raw: where the text stands in a JSON string, how it is written there (with its escapes).
            number: it stands in JSON as a number, and comes back as one.
        """
        same = self._by_spelling.setdefault((entity_type, text, number), {})
        entry = self._known(same, raw)
        if entry is not None:
            return entry.placeholder
        code = self._new_code(entity_type, text, raw if same else None, number=number)
        entry = Entry(spell_placeholder(entity_type, code), code, entity_type, text, raw, number)
        same[raw] = self._by_code[code] = entry
        self._matcher = None
        return entry.placeholder

    def entries(self) -> tuple[Entry, ...]:
        """Return what it holds, in the order in which it was hidden."""
        return tuple(self._by_code.values())

    def known_values(self, values: set[tuple[str, str]], allow: Collection[str]) -> KnownValues:
        """Return what looks for values: the same as last time if they are the same, as in most answers.

        Args:
            values: (entity type, text) of each.
            allow: of the profile of this vault.
        """
        if self._known_values is None or self._known_values[0] != values:
            self._known_values = values, KnownValues(sorted(values), allow)
        return self._known_values[1]

    def fork(self) -> "Vault":
        """Return a copy that can take more values without changing this one."""
        copy = Vault(self.app, self.profile, self._codes, json_mode=self.json_mode)
        copy._by_code = dict(self._by_code)
        copy._by_spelling = {key: dict(entries) for key, entries in self._by_spelling.items()}
        copy._stems = dict(self._stems)
        copy._taken = dict(self._taken)
        copy._aliases = dict(self._aliases)
        copy._typed = self._typed.copy()
        return copy

    @staticmethod
    def _known(same: dict[str | None, Entry], raw: str | None) -> Entry | None:
        """Return the entry of a spelling, by how it is written; the first that is written so says how for all."""
        if raw is None:
            return next(iter(same.values()), None)
        if None in same:  # then it is the only one
            same[raw] = same.pop(None)
            same[raw].raw = raw
        return same.get(raw)

    def _new_code(self, entity_type: str, text: str, raw: str | None, *, number: bool) -> str:
        value = normalise(entity_type, text)
        alias = self._aliases.get(value) if entity_type == PERSON else None
        stem = self._stem(entity_type, alias or value)
        if alias is None and stem not in self._by_code:
            return stem
        spelling = "\0".join((text, raw or "", "number" if number else ""))
        attempt = next((first for many, first in _ATTEMPTS if self._taken[stem] >= many), 0)
        self._taken[stem] += 1
        while (code := stem + self._codes.tail(entity_type, spelling, attempt)) in self._by_code:
            attempt += 1
        return code

    def _stem(self, entity_type: str, value: str) -> str:
        known = self._stems.get((entity_type, value))
        if known is not None:
            return known
        attempt = 0
        stem = self._codes.stem(entity_type, value)
        while stem in self._taken or self._typed.holds(stem):
            attempt += 1
            stem = self._codes.stem(entity_type, value, attempt)
        self._stems[entity_type, value] = stem
        self._taken[stem] = 0
        return stem


class _Typed:
    """What the caller wrote that looks like a placeholder, in any spelling."""

    __slots__ = ("_letters", "_stems", "types")

    def __init__(self) -> None:
        self._letters = b""
        self._stems: set[bytes] | None = None
        self.types: frozenset[str] = frozenset()

    def copy(self) -> "_Typed":
        copy = _Typed()
        copy._letters, copy.types = self._letters, self.types
        return copy

    def read(self, text: str) -> None:
        """Keep the letters of a text, among which stems may be: others are in none of their tolerated spellings."""
        self._letters += b" " + text.encode("utf-8", "replace").translate(_LOWER_CASE, _NO_LETTERS)
        self._stems = None
        if "<" in text or "&lt" in text or "&#60" in text or "%3" in text or "\uff1c" in text or "\\u003" in text:
            self.types |= bracketed_types(text)

    def holds(self, stem: str) -> bool:
        """Return whether a stem stands among the letters."""
        if self._stems is None:
            self._stems = _stems_in(self._letters)
        return stem.lower().encode() in self._stems


def _stems_in(letters: bytes) -> set[bytes]:
    """Return all that has the shape of a stem, also where they overlap."""
    shapes = letters.translate(_SHAPES)
    stems: set[bytes] = set()
    at = shapes.find(_STEM_SHAPE)
    while at >= 0:
        stems.add(letters[at : at + STEM_LENGTH])
        at = shapes.find(_STEM_SHAPE, at + 1)
    return stems
