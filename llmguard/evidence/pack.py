"""An evidence pack: what happened in a time, for an app or for all, signed, with all that is needed to check it.

The same data gives the same bytes: nothing in it tells when it was packed, files are in order and carry no times.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from llmguard.audit.log import GENESIS, AuditLog, Entry
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import SystemClock
from llmguard.evidence.pack_check import FORMAT, MANIFEST, PUBLIC_KEY, SIGNATURE
from llmguard.evidence.proof import prove
from llmguard.evidence.scope import Packed, Scope
from llmguard.evidence.signing import SigningKey
from llmguard.policy.live import KeptPolicies
from llmguard.quota.gate import OverageGate
from llmguard.redaction.kept import KeptRules
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.settings import Settings
from llmguard.traces.erasing import BEGUN
from llmguard.traces.reader import TraceReader

_README = "README.txt"
_VERIFIER = "verify.py"
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold
_LEVEL = 6
_DECIDED = ("trace_id", "started_at", "app", "preset", "preset_version", "policy_digest", "status", "code")
_FREE_TEXT = ("reason", "denial")  # for approvers only


def make_pack(
    settings: Settings, scope: Scope, output: Path, on_rows: Callable[[int], None] = lambda _: None
) -> Packed:
    """Write a pack to a file, which is there only if all went well.

    Raises:
        TraceStoreError, TraceQueryError, sqlite3.Error, OSError, EvidenceError: it cannot be made.
    """
    key = SigningKey.of(settings.data)
    audit = AuditLog(settings.data / "state.db", SystemClock())
    reader = TraceReader(settings.data, settings.at_rest)
    fault = prove(reader, audit, on_rows).fault
    draft = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        with reader.kept_open(), zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
            pack = _Pack(archive)
            traces = _Traces(reader, scope)
            traces.write(pack, output.absolute().parent)
            entries = _write_audit(pack, audit, scope, traces.erasures)
            not_kept = _write_pinned(pack, settings, scope, traces)
            _write_approvals(pack, settings, scope)
            pack.add(_README, [_readme(scope).encode()])
            pack.add(_VERIFIER, [files("llmguard.evidence").joinpath("pack_check.py").read_bytes()])
            pack.add(PUBLIC_KEY, [key.public_pem])
            manifest = _canonical(
                {
                    "format": FORMAT,
                    "since": scope.since.isoformat(),
                    "until": scope.until.isoformat(),
                    "app": scope.app,
                    "fault": fault,
                    "traces": traces.facts,
                    "audit": entries,
                    "not_kept": sorted(not_kept),
                    "files": pack.files,
                }
            )
            pack.add(MANIFEST, [manifest])
            pack.add(SIGNATURE, [key.sign(manifest)])
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)
    digest = hashlib.sha256(manifest).hexdigest()
    return Packed(traces.facts["count"], entries["count"], digest, key.fingerprint, fault, tuple(sorted(not_kept)))


class _Pack:
    """Files of an archive, with their digests as they are written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.files: dict[str, dict[str, Any]] = {}  # Any: JSON

    def add(self, name: str, parts: Iterable[bytes]) -> None:
        info = zipfile.ZipInfo(name, _FIRST_DATE)
        info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o600 << 16
        digest, size = hashlib.sha256(), 0
        with self._archive.open(info, "w", force_zip64=True) as file:
            for part in parts:
                file.write(part)
                digest.update(part)
                size += len(part)
        self.files[name] = {"sha256": digest.hexdigest(), "bytes": size}


class _Traces:
    """The traces of a scope, read once, page by page; what belongs into later files waits in files without a name."""

    def __init__(self, reader: TraceReader, scope: Scope) -> None:
        self._reader, self._scope = reader, scope
        self.registries: set[str] = set()
        self.rules: set[str] = set()
        self.policies: set[str] = set()
        self.erasures: set[str] = set()
        first, last = reader.span(since=scope.since, until=scope.until, app=scope.app)
        self._first, self._last = first or 1, last or 0
        self.facts: JsonObject = {"count": 0, "first_seq": self._first, "last_seq": self._last, "prev_digest": GENESIS}

    def write(self, pack: _Pack, folder: Path) -> None:
        with tempfile.TemporaryFile(dir=folder) as decisions, tempfile.TemporaryFile(dir=folder) as chain:
            pack.add("traces.jsonl", self._rows(decisions, chain))
            pack.add("decisions.jsonl", _again(decisions))
            pack.add("chain.txt", _again(chain))

    def _rows(self, decisions: IO[bytes], chain: IO[bytes]) -> Iterator[bytes]:
        scope = self._scope
        pages = self._reader.sealed(self._first, self._last, since=scope.since, until=scope.until, app=scope.app)
        for number, page in enumerate(pages):
            if number == 0:
                self.facts["prev_digest"] = page["prev_digest"]
            chain.write("".join(f"{seq} {digest}\n" for seq, digest in page["digests"]).encode())
            for row in page["rows"]:
                sealed = json.loads(row["sealed"])
                self.registries |= {sealed.get("registry_digest")} - {None}
                self.rules |= {sealed.get("redaction_digest")} - {None}
                self.policies |= {str(sealed.get("policy_digest")).partition("+")[2]} - {""}
                self.erasures |= {row["erased_by"]} - {None}
                self.facts["count"] += 1
                decision = json.loads(sealed.get("decision_json") or "{}")
                decisions.write(_line({name: sealed.get(name) for name in _DECIDED} | {"decision": decision}))
                yield _line(row)


def _again(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.read(1 << 20), b"")


def _write_audit(pack: _Pack, audit: AuditLog, scope: Scope, erasures: set[str]) -> JsonObject:
    """Write the entries of the time that are about the app or about none, and the place of each in the chain."""
    entries = list(audit.entries(since=scope.since, until=scope.until))
    ours = [entry for entry in entries if scope.app is None or entry.app in (None, scope.app)]
    begun = [entry for entry in audit.entries() if entry.what in BEGUN.values() and entry.subject in erasures]
    pack.add("audit.jsonl", (_line(asdict(entry)) for entry in ours))
    pack.add("audit_chain.txt", (f"{entry.seq} {entry.digest}\n".encode() for entry in entries))
    pack.add("erasures.jsonl", (_line(asdict(entry)) for entry in begun))
    return {
        "count": len(ours),
        "first_seq": entries[0].seq if entries else 1,
        "last_seq": entries[-1].seq if entries else 0,
        "prev_digest": entries[0].prev_digest if entries else GENESIS,
    }


def _write_pinned(pack: _Pack, settings: Settings, scope: Scope, traces: _Traces) -> list[str]:
    """Write the registries, rules and redaction rules that the traces pin; return what the data folder has not."""
    registries = AcceptedRegistries(settings.data / "registry")
    kept = KeptRules(settings.data / "redaction-rules", (settings.secret, *settings.previous_secrets))
    missing = []
    for digest in sorted(traces.registries):
        source = registries.source(digest)
        if source is None:
            missing.append(f"registry/{digest}.yaml")
        else:
            pack.add(f"registry/{digest}.yaml", [source])
    for digest in sorted(traces.rules):
        rules = kept.find(digest)
        if rules is None:
            missing.append(f"redaction/{digest}.json")
            continue
        digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in rules.items()}
        content: JsonObject = {"digest": digest, "files": rules if scope.with_redaction_rules else digests}
        pack.add(f"redaction/{digest}.json", [_canonical(content)])
    policies = KeptPolicies(settings.data / "policies")
    for digest in sorted(traces.policies):
        decided = policies.find(digest)
        if decided is None:
            missing.append(f"policies/{digest}.json")
        else:
            pack.add(f"policies/{digest}.json", [_canonical({"digest": digest, "files": dict(decided.files)})])
    return missing


def _write_approvals(pack: _Pack, settings: Settings, scope: Scope) -> None:
    """Write who was granted more quota by whom, where that was asked for in this time or counted in it; no reasons."""
    every = OverageGate(settings.data / "state.db", SystemClock()).all()
    ours = (
        one
        for one in every
        if scope.app in (None, one.app)
        and one.requested_at < scope.until
        and (one.requested_at >= scope.since or (one.ends_at is not None and one.ends_at > scope.since))
    )
    pack.add("approvals.jsonl", (_line({k: v for k, v in asdict(one).items() if k not in _FREE_TEXT}) for one in ours))


def _readme(scope: Scope) -> str:
    about = f"the app {scope.app}" if scope.app else "all apps"
    return (
        files("llmguard.evidence")
        .joinpath("pack_readme.txt")
        .read_text(encoding="utf-8")
        .format(about=about, since=scope.since.isoformat(), until=scope.until.isoformat())
    )


def _line(value: Any) -> bytes:  # Any: JSON
    return _canonical(value) + b"\n"


def _canonical(value: Any) -> bytes:  # Any: JSON
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def entries_of(entries: Iterable[Entry]) -> list[JsonObject]:
    """Return entries of the audit log as commands print them."""
    return [asdict(entry) | {"facts": json.loads(entry.facts)} for entry in entries]
