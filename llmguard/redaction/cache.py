"""Findings by digest of the text, least recently used first out, bounded in bytes. It never holds a text."""

import hashlib
import threading
from collections import OrderedDict

from llmguard.redaction.findings import Finding

_ENTRY_BYTES = 300  # key, tuple and two dictionary slots; measured with sys.getsizeof
_FINDING_BYTES = 150

Key = tuple[str, bytes]


def cache_key(profile: str, text: str) -> Key:
    """Return the key of a text under a profile: 16 bytes of BLAKE2b, so that two texts never share one."""
    return profile, hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class FindingsCache:
    """A bounded map; safe to use from several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[Key, tuple[Finding, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> tuple[Finding, ...] | None:
        """Return the findings of a text that was analysed before, or None."""
        with self._lock:
            findings = self._entries.get(key)
            if findings is not None:
                self._entries.move_to_end(key)
            return findings

    def put(self, key: Key, findings: tuple[Finding, ...]) -> None:
        """Remember findings, and forget the least recently used ones beyond the limit."""
        with self._lock:
            replaced = self._entries.pop(key, None)
            if replaced is not None:
                self.held_bytes -= _size(replaced)
            self._entries[key] = findings
            self.held_bytes += _size(findings)
            while self.held_bytes > self._limit_bytes:
                _, forgotten = self._entries.popitem(last=False)
                self.held_bytes -= _size(forgotten)


def _size(findings: tuple[Finding, ...]) -> int:
    return _ENTRY_BYTES + _FINDING_BYTES * len(findings)
