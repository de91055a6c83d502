"""Packs made in a process of their own: the same bytes, and words where they cannot be made."""

import asyncio
from datetime import UTC, datetime

import pytest

from llmguard.evidence.apart import pack_apart
from llmguard.evidence.pack import make_pack
from llmguard.evidence.scope import Scope
from llmguard.evidence.signing import EvidenceError
from llmguard.settings import Settings
from llmguard.traces.spool import Spool
from tests.support.builders import a_trace

SCOPE = Scope(datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC), "a")


@pytest.fixture
def settings(tmp_path):
    settings = Settings(tmp_path / "registry.yaml", tmp_path / "redaction", tmp_path / "data", secret=b"a test secret")
    spool = Spool(settings.data / "spool", "test")
    spool.append(a_trace(started_at=datetime(2026, 11, 26, tzinfo=UTC), app="a", status=200, request={}, response={}))
    spool.close()
    return settings


def test_pack_is_the_same_as_one_made_here(settings, tmp_path):
    there, here = tmp_path / "there.zip", tmp_path / "here.zip"

    packed = asyncio.run(pack_apart(settings, SCOPE, there, 120))

    assert packed == make_pack(settings, SCOPE, here)
    assert there.read_bytes() == here.read_bytes()
    assert packed.traces == 1


def test_what_is_in_the_way_is_said(settings, tmp_path):
    with pytest.raises(EvidenceError, match="the data folder cannot be read now"):
        asyncio.run(pack_apart(settings, SCOPE, tmp_path / "no" / "such" / "folder.zip", 120))
    with pytest.raises(EvidenceError, match=r"longer than 0.01 seconds"):
        asyncio.run(pack_apart(settings, SCOPE, tmp_path / "late.zip", 0.01))
    assert not (tmp_path / "late.zip").exists()
