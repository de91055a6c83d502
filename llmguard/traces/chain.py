"""The hash chain over all traces: what is hashed, and how to prove that no row was changed, added or taken out.

    payload_digest = SHA-256( "[" request "," response "," chunks "]" )     texts as stored, `null` where there is none
    digest         = SHA-256( canonical JSON of the sealed columns )        among them seq, prev_digest, payload_digest

Canonical JSON has sorted keys, no spaces, and no column that is NULL or at its default, so that a later column leaves
older digests valid. Payloads are sealed by their digest alone: they can be erased later and the chain still holds. A
row whose payload was erased names the erasure, which the audit log must know (`evidence/proof.py` compares them).
`seq` counts from 1 in the order of commits; the first `prev_digest` is 64 zeros. Digests are lower-case hex.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from llmguard.traces.line import Line, Sealed

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the chain: the last row's number and digest."""

    seq: int = 0
    digest: str = GENESIS


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as the store has it, for verification."""

    sealed: Sealed
    request: str | None
    response: str | None
    chunks: str | None
    digest: str
    erased_by: str | None = None


def seal(line: Line, tip: Tip) -> tuple[bytes, Tip]:
    """Return the record that the store inserts (one JSON object with a newline) and the new end of the chain."""
    sealed, texts = line.facts, line.texts
    sealed.seq = tip.seq + 1
    sealed.prev_digest = tip.digest
    sealed.payload_digest = hashlib.sha256(b"[%b,%b,%b]" % (texts.request, texts.response, texts.chunks)).hexdigest()
    sealed.decision_json = bytes(texts.decision).decode()
    sealed.steps_json = bytes(texts.steps).decode()
    canonical = _CANONICAL.encode(sealed)
    digest = hashlib.sha256(canonical).hexdigest()
    payload = _Payload(digest, _text(texts.request), _text(texts.response), _text(texts.chunks))
    return b"%b,%b\n" % (canonical[:-1], _PLAIN.encode(payload)[1:]), Tip(sealed.seq, digest)


def canonical(sealed: Sealed) -> str:
    """Return the text that a row's digest covers."""
    return _CANONICAL.encode(sealed).decode()


def first_bad_row(rows: Iterable[StoredRow], tip: Tip | None = None) -> str | None:
    """Return what is wrong with the first row that breaks the chain, or None if all hold.

    Args:
        rows: in order of `seq`.
        tip: the row before the first one; absent when the rows begin at the beginning.
    """
    tip = tip or Tip()
    for row in rows:
        fault = _fault_of(row, tip)
        if fault is not None:
            return f"row {row.sealed.seq}, trace {row.sealed.trace_id}: {fault}"
        tip = Tip(row.sealed.seq, row.digest)
    return None


def _fault_of(row: StoredRow, tip: Tip) -> str | None:
    if row.sealed.seq != tip.seq + 1:
        return f"row {tip.seq + 1} was expected here"
    if row.sealed.prev_digest != tip.digest:
        return "it does not follow the row before it"
    payload = (row.request, row.response, row.chunks)
    if row.erased_by is not None and any(text is not None for text in payload):
        return "its payload was erased, and there is one"
    if row.erased_by is None and _digest_of(*payload) != row.sealed.payload_digest:
        return "request, response or chunks were changed"
    if hashlib.sha256(_CANONICAL.encode(row.sealed)).hexdigest() != row.digest:
        return "a column was changed"
    return None


def _digest_of(*payload: str | None) -> str:
    joined = ",".join("null" if text is None else text for text in payload)
    return hashlib.sha256(f"[{joined}]".encode()).hexdigest()


class _Payload(msgspec.Struct):
    """What a record has besides the sealed columns."""

    digest: str
    request: str | None
    response: str | None
    chunks: str | None


def _text(raw: msgspec.Raw) -> str | None:
    """Return the exact text of a JSON column; None where the step was not reached."""
    content = bytes(raw)
    return None if content == b"null" else content.decode()


_CANONICAL = msgspec.json.Encoder(order="sorted")
_PLAIN = msgspec.json.Encoder()
