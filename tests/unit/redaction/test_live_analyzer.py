import asyncio

import pytest

from llmguard.redaction.live import LiveAnalyzer
from llmguard.redaction.profiles import RedactionInvalid
from tests.support.analyzers import a_profile_text, a_rules_folder

PROFILE = a_profile_text(extra="    allow: [allow.txt]\n", EMAIL_ADDRESS="hide")
TEXT = "Write to desk@acme.com"


def mails(live):
    return len(live.current.find(TEXT, live.current.profiles["standard"]))


async def until(holds):
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # what is awaited is a file's effect
            await asyncio.sleep(0.02)


@pytest.fixture
async def live(tmp_path):
    live = LiveAnalyzer(a_rules_folder(tmp_path / "redaction", PROFILE, allow=""))
    stop = asyncio.Event()
    watching = asyncio.create_task(live.watch(stop))
    yield live
    stop.set()
    await watching
    live.current.close()


async def test_an_allow_list_entry_is_live_without_a_restart(live, tmp_path):
    assert mails(live) == 1
    parts = live.current.parts
    (tmp_path / "redaction" / "allow.txt").write_text("desk@acme.com\n", encoding="utf-8")
    await until(lambda: mails(live) == 0)
    assert live.current.parts is parts


async def test_a_broken_folder_never_replaces_a_good_one_and_is_reported_until_it_is_mended(live, tmp_path):
    good = live.current
    folder = tmp_path / "redaction"
    (folder / "profiles.yaml").write_text("version: 1\nprofiles: {standard: {entitties: {}}}\n", encoding="utf-8")
    await until(lambda: live.findings)
    assert live.current is good
    assert any("did you mean 'entities'" in str(finding) for finding in live.findings)
    a_rules_folder(folder, PROFILE, allow="desk@acme.com")
    await until(lambda: live.current is not good)
    assert live.findings == ()


async def test_a_folder_that_vanishes_leaves_the_last_rules_in_force(live, tmp_path):
    good = live.current
    (tmp_path / "redaction").rename(tmp_path / "elsewhere")
    await until(lambda: live.findings)
    assert live.current is good
    assert mails(live) == 1


async def test_an_unchanged_folder_is_not_loaded_again(live):
    good = live.current
    await live.refresh()
    assert live.current is good


async def test_a_failure_nobody_foresaw_leaves_the_last_rules_in_force(live, tmp_path, monkeypatch):
    good = live.current

    def fail(*_, **__):
        raise OverflowError

    monkeypatch.setattr("llmguard.redaction.live._load_warm", fail)
    (tmp_path / "redaction" / "allow.txt").write_text("x\n", encoding="utf-8")
    await until(lambda: live.findings)
    assert live.current is good
    assert "OverflowError" in str(live.findings[0])


def test_a_folder_that_is_broken_from_the_start_cannot_be_loaded(tmp_path):
    with pytest.raises(RedactionInvalid, match="cannot be read"):
        LiveAnalyzer(tmp_path / "nowhere")
