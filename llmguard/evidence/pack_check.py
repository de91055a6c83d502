"""Check an evidence pack of llmguard: `python3 verify.py PACK.zip`. Needs Python 3.10 or newer, and nothing else.

Everything in a pack can be recomputed: the signature over manifest.json (Ed25519), SHA-256 of each file, the digest of
each trace and of each entry of the audit log, and their place in the chains. What only the signature vouches for are
the digests of rows that are not in the pack. Compare the key that is printed with the one that the operator published.
"""

import base64
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Facts = dict[str, Any]  # Any: JSON
Point = tuple[int, int, int, int]  # of the curve, in extended coordinates

FORMAT = "llmguard evidence 1"
MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "manifest.sig", "public_key.pem"
_UNSIGNED = {MANIFEST, SIGNATURE}
_SIGNATURE_BYTES = 64
_WORDS = 2  # of the command line

# Ed25519. Source: RFC 8032, section 5.1; slow, and only ever given public values.
_P = 2**255 - 19
_Q = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)


def check_pack(path: Path) -> tuple[str, Facts, str | None]:
    """Return the fingerprint of the key that signed a pack, its manifest, and the first thing that is wrong or None."""
    with zipfile.ZipFile(path) as pack:
        raw = pack.read(MANIFEST)
        key = _key_of(pack.read(PUBLIC_KEY))
        manifest = json.loads(raw)
        fault = None
        if not is_signed(key, raw, pack.read(SIGNATURE)):
            fault = "manifest.json was not signed with this key"
        elif manifest["format"] != FORMAT:
            fault = "this program does not know the format of the pack"
        else:
            checks = (_files, _traces, _decisions, _audit)
            fault = next((found for check in checks for found in check(pack, manifest)), None)
    return fingerprint(key), manifest, fault


def fingerprint(key: bytes) -> str:
    """Return how people compare a public key: SHA-256 of its 32 bytes."""
    return hashlib.sha256(key).hexdigest()


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature is that of a message."""
    point, r = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    base = _point(bytes.fromhex("58" + "66" * 31))
    if base is None or point is None or r is None or len(signature) != _SIGNATURE_BYTES or s >= _Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _Q
    return _equal(_times(s, base), _add(r, _times(h, point)))


def _files(pack: zipfile.ZipFile, manifest: Facts) -> Iterator[str]:
    every = pack.namelist()
    for name in sorted({name for name in every if every.count(name) > 1}):
        yield f"{name} is there more than once"  # what is checked here need not be what others unpack
    names = set(every) - _UNSIGNED
    for name in sorted(names ^ set(manifest["files"])):
        yield f"{name} is {'not in the manifest' if name in names else 'missing'}"
    for name, facts in sorted(manifest["files"].items()):
        digest = hashlib.sha256()
        with pack.open(name) as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        if digest.hexdigest() != facts["sha256"]:
            yield f"{name} was changed"


def _traces(pack: zipfile.ZipFile, manifest: Facts) -> Iterator[str]:
    erasures = set()
    for entry in _lines(pack, "erasures.jsonl"):
        erasures.add(entry["subject"])
        if _digest_of_entry(entry) != entry["digest"]:
            yield f"erasures.jsonl: audit entry {entry['seq']} was changed"
    places = _places(pack, "chain.txt", manifest["traces"])
    if places is None:
        yield "chain.txt has gaps"
        return
    count = 0
    for row in _lines(pack, "traces.jsonl"):
        count += 1
        sealed = json.loads(row["sealed"])
        fault = _fault_of(row, sealed, erasures)
        if places.get(sealed["seq"]) != (row["digest"], sealed["prev_digest"]):
            fault = fault or "it is not at its place in the chain"
        if fault is not None:
            yield f"row {sealed['seq']}, trace {sealed['trace_id']}: {fault}"
    if count != manifest["traces"]["count"]:
        yield f"traces.jsonl has {count} traces, not {manifest['traces']['count']}"


def _fault_of(row: Facts, sealed: Facts, erasures: set[str]) -> str | None:
    if hashlib.sha256(row["sealed"].encode()).hexdigest() != row["digest"]:
        return "a column was changed"
    payload = [row["request"], row["response"], row["chunks"]]
    if row["erased_by"] is not None:
        vouched = row["erased_by"] in erasures and not any(payload)
        return None if vouched else "its payload is gone without an erasure in the audit log"
    joined = ",".join("null" if text is None else text for text in payload)
    same = hashlib.sha256(f"[{joined}]".encode()).hexdigest() == sealed["payload_digest"]
    return None if same else "request, response or chunks were changed"


def _decisions(pack: zipfile.ZipFile, _manifest: Facts) -> Iterator[str]:
    said = {row["trace_id"]: row["decision"] for row in _lines(pack, "decisions.jsonl")}
    for row in _lines(pack, "traces.jsonl"):
        sealed = json.loads(row["sealed"])
        if said.pop(sealed["trace_id"], None) != json.loads(sealed.get("decision_json") or "{}"):
            yield f"decisions.jsonl: not what trace {sealed['trace_id']} was sealed with"
    for trace_id in said:
        yield f"decisions.jsonl: there is no trace {trace_id}"


def _audit(pack: zipfile.ZipFile, manifest: Facts) -> Iterator[str]:
    places = _places(pack, "audit_chain.txt", manifest["audit"])
    if places is None:
        yield "audit_chain.txt has gaps"
        return
    for entry in _lines(pack, "audit.jsonl"):
        if _digest_of_entry(entry) != entry["digest"]:
            yield f"audit entry {entry['seq']} was changed"
        if places.get(entry["seq"]) != (entry["digest"], entry["prev_digest"]):
            yield f"audit entry {entry['seq']} is not at its place in the chain"


def _digest_of_entry(entry: Facts) -> str:
    sealed = {name: value for name, value in entry.items() if name != "digest"}
    canonical = json.dumps(sealed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _places(pack: zipfile.ZipFile, name: str, facts: Facts) -> dict[int, tuple[str, str]] | None:
    """Return by number the digest of each row and the digest before it; None where rows do not follow each other."""
    places, number, before = {}, facts["first_seq"] - 1, facts["prev_digest"]
    with pack.open(name) as file:
        for line in file:
            found, digest = line.decode().split()
            number += 1
            if int(found) != number:
                return None
            places[number], before = (digest, before), digest
    return places if number == facts["last_seq"] or not places else None


def _lines(pack: zipfile.ZipFile, name: str) -> Iterator[Facts]:
    with pack.open(name) as file:
        for line in file:
            yield json.loads(line)


def _key_of(pem: bytes) -> bytes:
    body = b"".join(line for line in pem.splitlines() if b"-----" not in line)
    return base64.b64decode(body)[-32:]  # Source: RFC 8410, section 4: the raw key ends the structure


def _point(raw: bytes) -> Point | None:
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _ROOT % _P
    if y >= _P or x * x % _P != square or (x == 0 and sign):
        return None
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


def _add(one: Point, other: Point) -> Point:
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % _P, (one[1] + one[0]) * (other[1] + other[0]) % _P
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(factor: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


def _equal(one: Point, other: Point) -> bool:
    return (one[0] * other[2] - other[0] * one[2]) % _P == 0 and (one[1] * other[2] - other[1] * one[2]) % _P == 0


def main() -> int:
    """Check the pack that is named on the command line."""
    if len(sys.argv) != _WORDS:
        print("usage: python3 verify.py PACK.zip", file=sys.stderr)
        return 2
    key, manifest, fault = check_pack(Path(sys.argv[1]))
    print(f"signed with the key whose SHA-256 is {key}")
    app = manifest["app"] or "all apps"
    print(f"{manifest['traces']['count']} traces of {app}, {manifest['since']} to {manifest['until']}")
    if manifest["fault"]:
        print(f"when it was packed, the store was broken at {manifest['fault']}")
    print("everything holds" if fault is None else f"BROKEN: {fault}")
    return 0 if fault is None and not manifest["fault"] else 1


if __name__ == "__main__":
    sys.exit(main())
