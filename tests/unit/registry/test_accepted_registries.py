"""What was accepted before: pinned digests and sources, whole under any interleaving of processes."""

import multiprocessing
import stat

import pytest

from llmguard.registry.accepted import AcceptedDamaged, AcceptedRegistries
from llmguard.registry.check import check_source
from tests.support.registries import PROFILES, a_document, a_preset_entry, as_source


def registry_with(*presets):
    """A registry with these presets, and its source."""
    document = a_document()
    document["presets"] = list(presets)
    document["apps"] = {}
    source = as_source(document)
    return check_source(source, file="r", profiles=PROFILES, accepted={}).registry, source


def test_nothing_was_accepted_at_first(tmp_path):
    accepted = AcceptedRegistries(tmp_path / "registry")

    assert accepted.presets() == {}
    assert accepted.last() is None
    assert not (tmp_path / "registry").exists()


def test_an_accepted_registry_is_remembered_with_its_source_and_presets(tmp_path):
    registry, source = registry_with(a_preset_entry(), a_preset_entry(version=2, system="Be brief."))

    returned = AcceptedRegistries(tmp_path).accept(registry, source)

    later = AcceptedRegistries(tmp_path)
    assert later.presets() == returned == {preset.id: preset.digest for preset in registry.presets["summarise"]}
    assert (later.last().digest, later.last().source) == (registry.digest, source)
    assert (tmp_path / f"{registry.digest}.yaml").read_bytes() == source


def test_drafts_are_not_pinned(tmp_path):
    registry, source = registry_with(a_preset_entry(status="draft"), a_preset_entry(version=2))

    AcceptedRegistries(tmp_path).accept(registry, source)

    assert set(AcceptedRegistries(tmp_path).presets()) == {"summarise@2"}


def test_presets_that_are_gone_stay_pinned(tmp_path):
    accepted = AcceptedRegistries(tmp_path)
    accepted.accept(*registry_with(a_preset_entry()))
    accepted.accept(*registry_with(a_preset_entry(version=2)))

    assert set(accepted.presets()) == {"summarise@1", "summarise@2"}


def test_going_back_to_an_earlier_registry_makes_it_the_last_one(tmp_path):
    accepted = AcceptedRegistries(tmp_path)
    first, second = registry_with(a_preset_entry()), registry_with(a_preset_entry(), a_preset_entry(version=2))
    for registry, source in (first, second, first):
        accepted.accept(registry, source)

    assert accepted.last().digest == first[0].digest
    assert len(list(tmp_path.glob("*.yaml"))) == 2


def test_the_same_content_is_kept_once_however_it_is_written(tmp_path):
    registry, source = registry_with(a_preset_entry())
    accepted = AcceptedRegistries(tmp_path)
    accepted.accept(registry, source)
    before = (tmp_path / "accepted.json").stat().st_mtime_ns

    accepted.accept(registry, b"# a comment\n" + source)

    assert accepted.last().source == source
    assert (tmp_path / "accepted.json").stat().st_mtime_ns == before


def test_a_preset_that_another_process_pinned_otherwise_is_not_recorded(tmp_path):
    first, second = registry_with(a_preset_entry()), registry_with(a_preset_entry(system="Be brief."))
    accepted = AcceptedRegistries(tmp_path)
    accepted.accept(*first)

    returned = accepted.accept(*second)

    assert returned == {"summarise@1": first[0].presets["summarise"][0].digest}
    assert accepted.last().digest == first[0].digest
    assert not (tmp_path / f"{second[0].digest}.yaml").exists()


def test_everything_is_for_the_owner_only_and_nothing_is_left_lying_around(tmp_path):
    folder = tmp_path / "registry"
    registry, source = registry_with(a_preset_entry())

    AcceptedRegistries(folder).accept(registry, source)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.rglob("*") if path.is_file()]
    named = {path.name for path in files if path.parent == folder}
    assert named == {"accepted.json", "lock", f"{registry.digest}.yaml"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_dir()} == {0o700}


def test_a_source_that_was_deleted_is_no_last_registry(tmp_path):
    registry, source = registry_with(a_preset_entry())
    accepted = AcceptedRegistries(tmp_path)
    accepted.accept(registry, source)
    (tmp_path / f"{registry.digest}.yaml").unlink()

    assert accepted.last() is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"last": 1}', b'{"last": "", "presets": {"a@1": 3}}', b'{"x": 1}']
)
def test_a_damaged_record_is_said_and_not_overwritten(tmp_path, content):
    registry, source = registry_with(a_preset_entry())
    (tmp_path / "accepted.json").write_bytes(content)
    accepted = AcceptedRegistries(tmp_path)

    for read in (accepted.presets, accepted.last, lambda: accepted.accept(registry, source)):
        with pytest.raises(AcceptedDamaged, match="is damaged"):
            read()

    assert (tmp_path / "accepted.json").read_bytes() == content


def test_a_failed_write_leaves_no_drafts_behind(tmp_path):
    accepted = AcceptedRegistries(tmp_path)
    accepted.accept(*registry_with(a_preset_entry()))
    registry, source = registry_with(a_preset_entry(version=2))
    (tmp_path / f"{registry.digest}.yaml").mkdir()  # it exists, so only the record is written ...
    (tmp_path / "accepted.json").unlink()
    (tmp_path / "accepted.json").mkdir()  # ... and cannot be

    with pytest.raises(OSError, match="directory"):
        accepted.accept(registry, source)

    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def _accept_some(folder, worker, rounds):
    for number in range(rounds):
        registry, source = registry_with(a_preset_entry(name=f"worker-{worker}", version=number + 1))
        AcceptedRegistries(folder).accept(registry, source)


def test_processes_that_accept_at_once_lose_no_preset(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_accept_some, args=(tmp_path, worker, 8)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    expected = {f"worker-{worker}@{number + 1}" for worker in range(3) for number in range(8)}
    assert set(AcceptedRegistries(tmp_path).presets()) == expected
    last = AcceptedRegistries(tmp_path).last()
    assert check_source(last.source, file="r", profiles=PROFILES, accepted={}).registry.digest == last.digest
