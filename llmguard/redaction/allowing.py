"""The allow list: texts that the CoE says are never personal data, such as product names and service addresses."""

import re
from collections.abc import Iterable

from llmguard.redaction.candidates import Candidate

_WORD = re.compile(r"[^\W_]+")


class AllowList:
    """Phrases in lower case; a span is allowed if it is one of them, or lies inside one where it stands in the text."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self._phrases = frozenset(phrase.lower() for phrase in phrases)
        self._by_word: dict[str, list[str]] = {}
        for phrase in sorted(self._phrases):
            for word in set(_WORD.findall(phrase)):
                self._by_word.setdefault(word, []).append(phrase)

    def __bool__(self) -> bool:
        return bool(self._phrases)

    def allows(self, text: str, candidate: Candidate) -> bool:
        """Say whether the CoE vouches for this span."""
        span = text[candidate.start : candidate.end].lower()
        if span.strip() in self._phrases:
            return True
        first = _WORD.search(span)
        holders = self._by_word.get(first.group(), ()) if first else ()
        return any(span in phrase and _stands_around(text, candidate, span, phrase) for phrase in holders)


def _stands_around(text: str, candidate: Candidate, span: str, phrase: str) -> bool:
    """Say whether the whole phrase, as whole words, stands in the text around the span."""
    place = phrase.find(span)
    while place >= 0:
        start = candidate.start - place
        end = start + len(phrase)
        if start >= 0 and text[start:end].lower() == phrase and not _inside_word(text, start, end):
            return True
        place = phrase.find(span, place + 1)
    return False


def _inside_word(text: str, start: int, end: int) -> bool:
    return text[max(start - 1, 0) : start].isalnum() or text[end : end + 1].isalnum()
