"""Whether traces and audit log are as they were written, each by its own hash chain and each against the other.

The audit log holds the end of the chain of traces at each erasure and each day: whoever rewrites all traces with
fitting digests, or cuts off the newest, would have to rewrite it too. And a payload is missing rightly only if the
audit log knows the erasure that the row names, with exactly these rows.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llmguard.audit.log import AuditLog, Entry, first_bad_entry
from llmguard.traces.erasing import BEGUN
from llmguard.traces.errors import DamagedStoreError
from llmguard.traces.reader import TraceReader

_DIGESTS = "SELECT seq, digest FROM traces WHERE seq IN (SELECT unnest(from_json($seqs, '[\"BIGINT\"]')))"
_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Proof:
    """How far the chains hold, and the first thing that is wrong with them.

    Attributes:
        rows: traces whose digests hold.
        erased: how many of them have had their payload erased, as the audit log says.
        audit_entries: entries of the audit log.
        fault: what is wrong, with its row; None if nothing is.
        unfinished: erasures that were begun and did nothing: they may have to be ordered again.
    """

    rows: int
    erased: int
    audit_entries: int
    fault: str | None
    unfinished: tuple[str, ...] = ()


def prove(reader: TraceReader, audit: AuditLog, on_rows: Callable[[int], None] = lambda _: None) -> Proof:
    """Check all traces and all entries of the audit log; `on_rows` is told how many rows hold so far.

    Raises:
        TraceStoreError, TraceQueryError, sqlite3.Error: they cannot be read now.
    """
    rows, fault, found = 0, None, _Erasures()
    try:
        with reader.kept_open():
            for page in reader.verify():
                rows, fault = page["seq"], page["fault"]
                found.add(page["erased"])
                on_rows(rows)
    except DamagedStoreError as error:
        return Proof(rows, found.rows, 0, f"row {rows + 1}: {error}")
    entries = list(audit.entries())
    bad_entry = first_bad_entry(iter(entries))
    begun = [entry for entry in entries if entry.what in BEGUN.values()]
    fault = fault or bad_entry or found.fault(begun) or _lost_tip(reader, begun)
    unfinished = tuple(
        entry.subject for entry in begun if json.loads(entry.facts)["rows"] and entry.subject not in found
    )
    return Proof(rows, found.rows, len(entries), fault, unfinished)


class _Erasures:
    """The rows without payload, by the erasure that they name: how many, and the digest of their numbers."""

    def __init__(self) -> None:
        self.rows = 0
        self._by_action: dict[str, _Rows] = {}

    def __contains__(self, action: str) -> bool:
        return action in self._by_action

    def add(self, page: dict[str, list[int]]) -> None:
        for action, numbers in page.items():
            rows = self._by_action.setdefault(action, _Rows())
            rows.count += len(numbers)
            rows.first = rows.first or numbers[0]
            rows.digest.update(b"".join(b"%d\n" % number for number in numbers))
            self.rows += len(numbers)

    def fault(self, begun: list[Entry]) -> str | None:
        """Return what is wrong with the first row that names an erasure of which the log says something else."""
        said = {entry.subject: json.loads(entry.facts) for entry in begun}
        for action, rows in sorted(self._by_action.items(), key=lambda item: item[1].first):
            facts = said.get(action)
            if facts is None:
                return f"row {rows.first}: its payload is gone, and the audit log knows no erasure {action}"
            if (facts["rows"], facts["rows_digest"]) != (rows.count, rows.digest.hexdigest()):
                return f"row {rows.first} or later: erasure {action} had {facts['rows']} rows, and {rows.count} name it"
        return None


@dataclass(slots=True)
class _Rows:
    count: int = 0
    first: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


def _lost_tip(reader: TraceReader, begun: list[Entry]) -> str | None:
    """Return which row is not the one that the audit log saw at the end of the chain."""
    tips = {facts["tip_seq"]: facts["tip_digest"] for entry in begun for facts in [json.loads(entry.facts)]}
    tips.pop(0, None)
    for numbers in _parts(sorted(tips)):
        there = {
            row["seq"]: row["digest"] for row in reader.query(_DIGESTS, {"seqs": json.dumps(numbers)}, limit=_AT_ONCE)
        }
        for number in numbers:
            if there.get(number) != tips[number]:
                state = "is missing" if number not in there else "is another one"
                return f"row {number}: the audit log saw it at the end of the chain, and it {state} now"
    return None


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), _AT_ONCE):
        yield numbers[start : start + _AT_ONCE]
