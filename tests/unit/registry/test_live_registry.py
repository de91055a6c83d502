"""The live registry: a good file takes over, a broken one never does, whatever way the file changes."""

import asyncio
import contextlib
import logging
import os
from types import SimpleNamespace

import pytest

from llmguard.registry.accepted import AcceptedRegistries
from llmguard.registry.finding import RegistryInvalid
from llmguard.registry.live import LiveRegistry
from tests.support.registries import PROFILES, a_document, a_preset_entry, as_source

PATIENCE_SECONDS = 10


def a_source(*versions):
    """A registry file that has these versions of one preset."""
    document = a_document()
    document["presets"] = [a_preset_entry(version=version) for version in versions]
    return as_source(document)


def versions_of(live):
    return [preset.version for preset in live.current.presets["summarise"]]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "registry.yaml"
    file.write_bytes(a_source(1))
    return file


@pytest.fixture
def accepted(tmp_path):
    return AcceptedRegistries(tmp_path / "data" / "registry")


@pytest.fixture
def heard():
    """What a live registry reported."""
    return SimpleNamespace(findings=[], registries=[])


def a_live(path, accepted, heard, profiles=lambda: PROFILES):
    return LiveRegistry(path, accepted, profiles, on_findings=heard.findings.append, on_reload=heard.registries.append)


@contextlib.asynccontextmanager
async def watching(live):
    stop = asyncio.Event()
    task = asyncio.create_task(live.watch(stop))
    await asyncio.sleep(0.1)  # the watch is set up
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_SECONDS)


async def until(condition):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - conditions of several parts, not all of which have an event
            await asyncio.sleep(0.01)


def test_it_loads_at_once_and_records_what_it_accepted(path, accepted, heard):
    live = a_live(path, accepted, heard)

    assert versions_of(live) == [1]
    assert live.findings == ()
    assert accepted.last().digest == live.current.digest
    assert heard.findings == heard.registries == []


def test_a_broken_first_file_raises_with_all_findings(path, accepted, heard):
    path.write_text("version: 2\n")

    with pytest.raises(RegistryInvalid) as caught:
        a_live(path, accepted, heard)

    assert len(caught.value.findings) == 5
    assert str(caught.value).count("\n") == 4


def test_a_missing_first_file_raises(path, accepted, heard):
    path.unlink()

    with pytest.raises(RegistryInvalid, match="cannot be read"):
        a_live(path, accepted, heard)


def test_a_broken_file_at_the_start_leaves_the_last_accepted_one_in_force(path, accepted, heard):
    before = a_live(path, accepted, heard).current
    path.write_text("version: [\n")

    live = a_live(path, accepted, heard)

    assert live.current == before
    assert live.findings
    assert heard.findings == [live.findings]


def test_the_last_accepted_one_is_no_help_when_it_is_broken_too(path, accepted, heard):
    a_live(path, accepted, heard)
    path.write_text("version: [\n")

    with pytest.raises(RegistryInvalid, match="not YAML"):
        a_live(path, accepted, heard, profiles=lambda: ["another"])


def test_a_record_that_was_tampered_with_is_no_help(path, accepted, heard, tmp_path):
    digest = a_live(path, accepted, heard).current.digest
    (tmp_path / "data" / "registry" / f"{digest}.yaml").write_bytes(a_source(1, 2))
    path.write_text("version: [\n")

    with pytest.raises(RegistryInvalid):
        a_live(path, accepted, heard)


def test_a_damaged_record_is_a_finding_and_not_a_start(path, accepted, heard, tmp_path):
    a_live(path, accepted, heard)
    (tmp_path / "data" / "registry" / "accepted.json").write_text("{")

    with pytest.raises(RegistryInvalid, match="is damaged"):
        a_live(path, accepted, heard)


def test_an_approved_version_changed_while_nothing_ran_is_found_at_the_start(path, accepted, heard):
    a_live(path, accepted, heard)
    document = a_document()
    document["presets"][0]["system"] = "Be brief."
    path.write_bytes(as_source(document))

    live = a_live(path, accepted, heard)

    assert "versions are immutable" in live.findings[0].message
    assert live.current.presets["summarise"][0].system is None


def in_place(path, source):
    path.write_bytes(source)


def as_editors_do(path, source):
    draft = path.with_name("registry.yaml~")
    draft.write_bytes(source)
    draft.replace(path)


def in_two_halves(path, source):
    with path.open("wb") as file:
        file.write(source[: len(source) // 2])
        file.flush()
        file.write(source[len(source) // 2 :])


def with_an_old_date(path, source):
    path.write_bytes(source)
    os.utime(path, (0, 0))


@pytest.mark.parametrize("write", [in_place, as_editors_do, in_two_halves, with_an_old_date])
async def test_a_good_file_takes_over_however_it_is_written(path, accepted, heard, write):
    live = a_live(path, accepted, heard)

    async with watching(live):
        write(path, a_source(1, 2))
        await until(lambda: versions_of(live) == [1, 2])
        write(path, a_source(1, 2, 3))
        await until(lambda: versions_of(live) == [1, 2, 3])

    assert heard.findings == []
    assert [registry.digest for registry in heard.registries][-1] == live.current.digest


async def test_the_first_part_of_a_file_that_is_still_being_written_never_takes_over(path, accepted, heard):
    app = (
        "  {name}: {{owner: x, cost_center: '1', status: approved, sensitivity: internal, presets: [], quota: {{}}}}\n"
    )
    parts = ["version: 1\nproviders: {}\nmodels: {}\npresets: []\napps:\n"]
    parts += [app.format(name=f"app-{number}") for number in range(6)]
    live = a_live(path, accepted, heard)

    async with watching(live):
        with path.open("w") as file:
            for part in parts:
                file.write(part)
                file.flush()
                await asyncio.sleep(0.02)  # less than a file must keep still
        await until(lambda: heard.registries)

    assert [len(registry.apps) for registry in heard.registries] == [6]
    assert heard.findings == []


async def test_a_config_map_that_is_swapped_by_its_link_takes_over(tmp_path, accepted, heard):
    volume = tmp_path / "volume"
    for name, source in (("..one", a_source(1)), ("..two", a_source(1, 2))):
        (volume / name).mkdir(parents=True)
        (volume / name / "registry.yaml").write_bytes(source)
    (volume / "..data").symlink_to("..one")
    (volume / "registry.yaml").symlink_to("..data/registry.yaml")
    live = a_live(volume / "registry.yaml", accepted, heard)

    async with watching(live):
        (volume / "..data_tmp").symlink_to("..two")
        (volume / "..data_tmp").replace(volume / "..data")
        await until(lambda: versions_of(live) == [1, 2])


async def test_a_link_to_a_file_elsewhere_is_followed(tmp_path, path, accepted, heard):
    link = tmp_path / "elsewhere" / "registry.yaml"
    link.parent.mkdir()
    link.symlink_to(path)
    live = a_live(link, accepted, heard)

    async with watching(live):
        path.write_bytes(a_source(1, 2))
        await until(lambda: versions_of(live) == [1, 2])


async def test_a_broken_file_is_reported_once_and_never_takes_over(path, accepted, heard):
    live = a_live(path, accepted, heard)
    before = live.current

    async with watching(live):
        path.write_text("version: [\n")
        await until(lambda: heard.findings)
        path.write_text("version: [\n")
        await asyncio.sleep(0.8)  # two looks and more

        assert live.current is before
        assert heard.findings == [live.findings]

        path.write_bytes(a_source(1))
        await until(lambda: live.findings == ())

    assert [registry.digest for registry in heard.registries] == [before.digest]


async def test_a_file_that_goes_and_comes_back_is_reported_and_taken(path, accepted, heard):
    live = a_live(path, accepted, heard)

    async with watching(live):
        path.unlink()
        await until(lambda: heard.findings)
        assert "cannot be read" in live.findings[0].message
        path.write_bytes(a_source(1, 2))
        await until(lambda: versions_of(live) == [1, 2])


async def test_changes_are_seen_when_the_folder_cannot_be_watched(tmp_path, accepted, heard, caplog):
    folder = tmp_path / "gone"
    folder.mkdir()
    (folder / "registry.yaml").write_bytes(a_source(1))
    live = a_live(folder / "registry.yaml", accepted, heard)
    (folder / "registry.yaml").unlink()
    folder.rmdir()

    with caplog.at_level(logging.WARNING):
        async with watching(live):
            await until(lambda: heard.findings)
            folder.mkdir()
            (folder / "registry.yaml").write_bytes(a_source(1, 2))
            await until(lambda: versions_of(live) == [1, 2])

    assert "watching" in caplog.text


async def test_redaction_profiles_that_vanish_are_found_on_reload(path, accepted, heard):
    profiles = ["standard"]
    live = a_live(path, accepted, heard, profiles=lambda: profiles)

    profiles[:] = ["strict"]
    await live.reload()
    assert "no redaction profile 'standard'" in live.findings[0].message
    assert versions_of(live) == [1]

    profiles[:] = ["standard"]
    await live.reload()
    assert live.findings == ()
    assert len(heard.registries) == 1


async def test_reloading_an_unchanged_file_reports_nothing(path, accepted, heard):
    live = a_live(path, accepted, heard)

    await live.reload()

    assert heard.findings == heard.registries == []


async def test_an_approved_version_edited_in_place_is_refused_and_drafts_are_not(path, accepted, heard):
    document = a_document()
    document["presets"].append(a_preset_entry(version=2, status="draft"))
    path.write_bytes(as_source(document))
    live = a_live(path, accepted, heard)

    document["presets"][1]["system"] = "A draft may change."
    path.write_bytes(as_source(document))
    await live.reload()
    assert live.findings == ()

    document["presets"][0]["system"] = "An approved version may not."
    path.write_bytes(as_source(document))
    await live.reload()

    assert [finding.path for finding in live.findings] == ["presets[0]"]
    assert live.current.presets["summarise"][0].system is None


async def test_what_another_worker_accepts_in_the_meantime_counts(path, accepted, heard, tmp_path):
    """Two workers read different contents of summarise@2; the one that comes second must not serve its own."""

    class Overtaken(AcceptedRegistries):
        def presets(self):
            pinned = super().presets()
            document = a_document()
            document["presets"] += [a_preset_entry(version=2, system="The other worker's.")]
            path.with_name("other.yaml").write_bytes(as_source(document))
            if "summarise@2" not in pinned:
                LiveRegistry(path.with_name("other.yaml"), accepted, lambda: PROFILES)
            return pinned

    live = a_live(path, accepted, heard)
    path.write_bytes(a_source(1, 2))

    late = a_live(path, Overtaken(tmp_path / "data" / "registry"), heard)

    assert [finding.value for finding in late.findings] == ["summarise@2"]
    assert late.current.presets["summarise"][1].system == "The other worker's."
    assert versions_of(live) == [1]


async def test_a_record_that_cannot_be_written_is_reported_and_tried_again(path, accepted, heard, tmp_path):
    live = a_live(path, accepted, heard)
    record = tmp_path / "data" / "registry" / "accepted.json"
    content = record.read_bytes()

    async with watching(live):
        record.unlink()
        record.mkdir()
        path.write_bytes(a_source(1, 2))
        await until(lambda: heard.findings)
        assert "what was accepted before" in live.findings[0].message
        assert versions_of(live) == [1]

        record.rmdir()
        record.write_bytes(content)
        await until(lambda: versions_of(live) == [1, 2])

    assert live.findings == ()


async def test_without_listeners_both_outcomes_are_logged(path, accepted, caplog):
    live = LiveRegistry(path, accepted, lambda: PROFILES)

    with caplog.at_level(logging.INFO, logger="llmguard.registry.live"):
        path.write_text("version: [\n")
        await live.reload()
        path.write_bytes(a_source(1, 2))
        await live.reload()

    assert "registry not accepted: " in caplog.text
    assert f"registry accepted: {live.current.digest}" in caplog.text


async def test_a_cancelled_watch_leaves_the_stop_event_of_others_alone(path, accepted, heard):
    stop = asyncio.Event()
    task = asyncio.create_task(a_live(path, accepted, heard).watch(stop))
    await asyncio.sleep(0.1)

    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert not stop.is_set()


async def test_the_event_loop_runs_on_while_a_file_is_checked(path, accepted, heard):
    live = a_live(path, accepted, heard)
    document = a_document()
    document["presets"] = [a_preset_entry(version=version) for version in range(1, 200)] + [a_preset_entry(version="x")]
    path.write_bytes(as_source(document))
    turns = 0

    reload = asyncio.create_task(live.reload())
    while not reload.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 3  # one, if the check ran on the loop
    assert live.findings
