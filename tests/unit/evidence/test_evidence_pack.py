"""A pack tells what happened, and whoever has it can tell that nothing in it was changed."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from llmguard.audit.log import AuditLog
from llmguard.domain.catalog import Quota
from llmguard.domain.identifiers import new_trace_id
from llmguard.evidence.erasure import carry_out, erasure_order
from llmguard.evidence.pack import make_pack
from llmguard.evidence.pack_check import MANIFEST, SIGNATURE, check_pack
from llmguard.evidence.scope import Scope
from llmguard.evidence.signing import EvidenceError, SigningKey
from llmguard.policy.live import KeptPolicies
from llmguard.policy.rego_files import RuleSet
from llmguard.quota.gate import OverageGate
from llmguard.quota.overage import Ask
from llmguard.redaction.kept import KeptRules
from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.check import check_source
from llmguard.settings import load_settings
from llmguard.traces.spool import Spool
from tests.support.builders import FrozenClock, a_trace, an_app
from tests.support.registries import PROFILES, a_document, as_source

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PERIOD = Scope(NOON, NOON + timedelta(hours=1))
RULES = "d" * 64
POLICIES = RuleSet({"limits.rego": "package llmguard"})


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """A data folder with five requests of two apps, one of them erased, a key, and an overage."""
    settings = load_settings({}, data=str(tmp_path_factory.mktemp("evidence") / "data"))
    source = as_source(a_document())
    registry = check_source(source, file="r", profiles=PROFILES, accepted={}).registry
    AcceptedRegistries(settings.data / "registry").accept(registry, source)
    KeptRules(settings.data / "redaction-rules", (settings.secret,)).keep(RULES, {"deny.yaml": "Aurora project"})
    KeptPolicies(settings.data / "policies").keep(POLICIES)
    spool = Spool(settings.data / "spool", "w")
    for number, app in enumerate(("claims-bot", "travel", "claims-bot", "travel", "claims-bot")):
        moment = NOON + timedelta(minutes=20 * number)
        spool.append(
            a_trace(
                trace_id=new_trace_id(moment),
                started_at=moment,
                app=app,
                status=200,
                registry_digest=registry.digest if number else "e" * 64,
                redaction_digest=RULES,
                policy_digest=f"builtin-2+{POLICIES.digest}" if number else "builtin-2",
                decision={"allowed": True, "reasons": [], "number": number},
                request={
                    "messages": [{"content": f"<PERSON_{'KOFADE' if number else 'BATEKI'}LIMORU> Grüße {number}"}]
                },
                response={"n": 1e5},
                latency_ms=0.00001,
            )
        )
    spool.close()
    clock = FrozenClock(NOON + timedelta(minutes=5))
    AuditLog(settings.data / "state.db", clock).record(who="dana", what="key.issued", subject="k", app="claims-bot")
    AuditLog(settings.data / "state.db", clock).record(who="dana", what="key.issued", subject="l", app="travel")
    app = an_app(name="claims-bot", quota=Quota(tokens_per_day=10))
    gate = OverageGate(settings.data / "state.db", clock)
    gate.request(Ask(app, "app", "tokens_per_day", 5, "Because of Zuzanna.", "dana@example.com"))
    carry_out(settings, erasure_order({"placeholders": ["<PERSON_BATEKI"]}, who="os:dana", reason="CASE-1"))
    return settings


@pytest.fixture
def pack(installation, tmp_path):
    """Packs a scope and returns the file."""

    def run(scope=PERIOD, name="pack.zip"):
        make_pack(installation, scope, tmp_path / name)
        return tmp_path / name

    return run


def lines(pack, name):
    with zipfile.ZipFile(pack) as archive:
        return [json.loads(line) for line in archive.read(name).decode().splitlines()]


def changed(pack, name, change):
    """Write a pack again with one file changed, and everything else, the signature too, as it was."""
    other = pack.with_name("changed.zip")
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(other, "w") as new:
        for one in old.namelist():
            content = old.read(one)
            new.writestr(one, change(content) if one == name else content)
    return other


def resealed(pack, name, change, key):
    """The same, by somebody who signs the manifest anew with a key of their own."""
    other = changed(pack, name, change)
    with zipfile.ZipFile(other) as archive:
        contents = {one: archive.read(one) for one in archive.namelist()}
    manifest = json.loads(contents[MANIFEST])
    contents["public_key.pem"] = key.public_pem
    for one in manifest["files"]:
        manifest["files"][one]["sha256"] = hashlib.sha256(contents[one]).hexdigest()
    contents[MANIFEST] = json.dumps(manifest).encode()
    contents[SIGNATURE] = key.sign(contents[MANIFEST])
    with zipfile.ZipFile(other, "w") as archive:
        for one, content in contents.items():
            archive.writestr(one, content)
    return other


def test_a_pack_has_what_happened_in_its_time(pack):
    file = pack()

    sealed = [json.loads(row["sealed"]) for row in lines(file, "traces.jsonl")]
    assert [row["app"] for row in sealed] == ["claims-bot", "travel", "claims-bot"]
    assert [row["decision"]["number"] for row in lines(file, "decisions.jsonl")] == [0, 1, 2]
    assert [row["subject"] for row in lines(file, "audit.jsonl")][:2] == ["k", "l"]
    [overage] = lines(file, "approvals.jsonl")
    assert (overage["requested_by"], overage["state"]) == ("dana@example.com", "open")
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        everything = b"".join(archive.read(name) for name in names)
        manifest = json.loads(archive.read(MANIFEST))
    assert {"README.txt", "verify.py", "public_key.pem", "chain.txt", "erasures.jsonl"} < names
    assert b"Zuzanna" not in everything  # free text is for approvers
    assert b"Aurora" not in everything  # deny lists name what is hidden
    assert manifest["not_kept"] == [f"registry/{'e' * 64}.yaml"]
    assert check_pack(file)[2] is None


def test_a_pack_of_an_app_has_nothing_of_others_but_their_digests(pack):
    file = pack(Scope(PERIOD.since, PERIOD.until, "claims-bot"))

    assert [json.loads(row["sealed"])["app"] for row in lines(file, "traces.jsonl")] == ["claims-bot"] * 2
    assert {row["app"] for row in lines(file, "audit.jsonl")} <= {"claims-bot", None}
    with zipfile.ZipFile(file) as archive:
        assert len(archive.read("chain.txt").splitlines()) == 3  # the one between them, too
    assert check_pack(file)[2] is None


def test_the_redaction_rules_come_on_request(pack):
    file = pack(Scope(PERIOD.since, PERIOD.until, with_redaction_rules=True))
    [rules] = lines(file, f"redaction/{RULES}.json")
    assert rules["files"] == {"deny.yaml": "Aurora project"}


def test_the_policies_that_decided_are_in_it(pack):
    [rules] = lines(pack(), f"policies/{POLICIES.digest}.json")
    assert rules["files"] == {"limits.rego": "package llmguard"}


def test_the_same_data_gives_the_same_bytes(pack):
    assert pack(name="one.zip").read_bytes() == pack(name="two.zip").read_bytes()


def test_a_time_in_which_nothing_happened_gives_an_empty_pack(pack):
    file = pack(Scope(NOON - timedelta(days=2), NOON - timedelta(days=1)))
    assert lines(file, "traces.jsonl") == []
    assert check_pack(file)[2] is None


def test_an_erased_trace_is_vouched_for_by_the_audit_log(pack):
    file = pack()
    [erased] = [row for row in lines(file, "traces.jsonl") if row["erased_by"]]
    [entry] = lines(file, "erasures.jsonl")
    assert (erased["request"], entry["subject"]) == (None, erased["erased_by"])
    assert "CASE-1" in entry["facts"]


EVERY_FILE = (
    *("traces.jsonl", "decisions.jsonl", "chain.txt", "audit.jsonl", "audit_chain.txt", "erasures.jsonl"),
    *("approvals.jsonl", "README.txt", "verify.py", f"redaction/{RULES}.json"),
)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_a_changed_file_is_named(pack, name):
    broken = changed(pack(), name, lambda content: content.replace(b"e", b"f", 1))
    assert check_pack(broken)[2] == f"{name} was changed"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["decisions.jsonl", "manifest.json"])
def test_a_second_file_of_a_name_is_refused(pack, tmp_path, name):
    source, twice = pack(), tmp_path / "twice.zip"
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(twice, "w") as after:
        after.writestr(name, b'{"false": "and unpacked by whoever takes the first"}')
        for info in before.infolist():
            after.writestr(info, before.read(info))

    assert check_pack(twice)[2] == f"{name} is there more than once"


def test_a_changed_manifest_or_signature_is_refused(pack):
    assert (
        check_pack(changed(pack(), MANIFEST, lambda text: text + b" "))[2]
        == "manifest.json was not signed with this key"
    )
    flipped = changed(pack(), SIGNATURE, lambda raw: bytes([raw[0] ^ 1]) + raw[1:])
    assert check_pack(flipped)[2] == "manifest.json was not signed with this key"


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("traces.jsonl", (b'\\"status\\":200', b'\\"status\\":201'), "row 1, .*: a column was changed"),
        (
            "traces.jsonl",
            ("Grüße 1".encode(), "Grüße 9".encode()),
            "row 2, .*: request, response or chunks were changed",
        ),
        ("chain.txt", (b"1 ", b"7 "), "chain.txt has gaps"),
        ("decisions.jsonl", (b'"number":2', b'"number":3'), "decisions.jsonl: not what trace .* was sealed with"),
        ("audit.jsonl", (b'"who":"dana"', b'"who":"eve"'), "audit entry 1 was changed"),
        ("erasures.jsonl", (b"CASE-1", b"CASE-2"), "erasures.jsonl: audit entry .* was changed"),
    ],
    ids=["fact", "payload", "chain", "decision", "audit", "erasure"],
)
def test_whoever_signs_a_changed_pack_anew_still_breaks_its_digests(pack, tmp_path, name, change, fault):
    key = SigningKey.of(tmp_path)
    forged = resealed(pack(), name, lambda content: content.replace(*change, 1), key)
    signer, _, found = check_pack(forged)
    assert re.fullmatch(fault, found)
    assert signer == key.fingerprint


def test_a_row_that_was_taken_out_or_moved_is_noticed(pack, tmp_path):
    key = SigningKey.of(tmp_path)
    fewer = resealed(pack(), "traces.jsonl", lambda content: b"\n".join(content.split(b"\n")[1:]), key)
    assert check_pack(fewer)[2] == "traces.jsonl has 2 traces, not 3"
    other = resealed(pack(), "chain.txt", lambda text: text[:-2] + (b"0" if text[-2:-1] != b"0" else b"1") + b"\n", key)
    assert check_pack(other)[2].endswith("it is not at its place in the chain")


def test_the_program_in_the_pack_checks_it_with_nothing_but_python(pack, tmp_path):
    file = pack()
    with zipfile.ZipFile(file) as archive:
        archive.extract("verify.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", file], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "everything holds")
    broken = changed(file, "chain.txt", lambda content: content + b"\n")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", broken], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "BROKEN: chain.txt was changed")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="this machine has no openssl")
def test_openssl_agrees_about_the_signature(pack, tmp_path):
    with zipfile.ZipFile(pack()) as archive:
        archive.extractall(tmp_path)
    command = "openssl pkeyutl -verify -pubin -inkey public_key.pem -rawin -in manifest.json -sigfile manifest.sig"
    assert command in (tmp_path / "README.txt").read_text()
    assert subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / MANIFEST).write_bytes((tmp_path / MANIFEST).read_bytes() + b" ")
    assert subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_the_key_is_made_once_for_its_owner_only(tmp_path):
    first, second = SigningKey.of(tmp_path), SigningKey.of(tmp_path)
    assert first.fingerprint == second.fingerprint
    assert (tmp_path / "evidence.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "evidence.key").write_text("nonsense")
    with pytest.raises(EvidenceError, match="damaged"):
        SigningKey.of(tmp_path)
