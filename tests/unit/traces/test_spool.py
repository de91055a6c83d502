import contextlib
import fcntl
import json
import os
import resource
import stat

import pytest

from llmguard.domain.errors import Fault
from llmguard.traces.segments import SegmentWriter, backlog_bytes, segment_paths
from llmguard.traces.spool import Spool, SpoolLimits
from tests.support.builders import FrozenClock, a_trace


def a_spool(folder, clock=None, **limits):
    return Spool(folder / "spool", "worker-1", clock=clock or FrozenClock(), limits=SpoolLimits(**limits))


def lines_of(folder):
    return [line for path in segment_paths(folder / "spool") for line in path.read_bytes().splitlines()]


def codes_of(folder):
    return [json.loads(line)["code"] for line in lines_of(folder)]


@contextlib.contextmanager
def files_of_at_most(size):
    """A disk that is full at that file size: the kernel writes up to it, then says EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_trace_is_on_disk_when_append_returns(tmp_path):
    spool = a_spool(tmp_path)

    spool.append(a_trace(code="one"))
    spool.append(a_trace(code="two"))

    assert codes_of(tmp_path) == ["one", "two"]


def test_only_the_owner_may_read_the_spool(tmp_path):
    spool = a_spool(tmp_path)
    spool.append(a_trace())

    (segment,) = segment_paths(tmp_path / "spool")
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert segment.name.startswith("worker-1-")


def test_a_segment_is_locked_until_its_spool_is_closed(tmp_path):
    spool = a_spool(tmp_path)
    spool.append(a_trace())
    (segment,) = segment_paths(tmp_path / "spool")

    with segment.open("rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        spool.close()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_full_segment_is_followed_by_a_new_one(tmp_path):
    spool = a_spool(tmp_path, segment_bytes=1)

    for code in ("one", "two", "three"):
        spool.append(a_trace(code=code))

    assert len(segment_paths(tmp_path / "spool")) == 3
    assert codes_of(tmp_path) == ["one", "two", "three"]


def test_an_old_segment_is_handed_over_even_if_nothing_is_written(tmp_path):
    clock = FrozenClock()
    spool = a_spool(tmp_path, clock, segment_seconds=60)
    spool.append(a_trace())
    (segment,) = segment_paths(tmp_path / "spool")

    clock.advance(seconds=61)
    spool.check()

    with segment.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_closed_spool_leaves_no_empty_segment(tmp_path):
    spool = a_spool(tmp_path)

    spool.close()
    spool.close()

    assert segment_paths(tmp_path / "spool") == []


def test_a_segment_that_was_deleted_by_somebody_is_replaced(tmp_path):
    clock = FrozenClock()
    spool = a_spool(tmp_path, clock)
    spool.append(a_trace(code="deleted"))
    segment_paths(tmp_path / "spool")[0].unlink()

    clock.advance(seconds=2)
    spool.check()
    spool.append(a_trace(code="kept"))

    assert codes_of(tmp_path) == ["kept"]


def test_traces_wait_in_memory_while_the_disk_is_full_and_follow_whole_and_in_order(tmp_path):
    spool = a_spool(tmp_path)
    spool.append(a_trace(code="before"))
    size = backlog_bytes(tmp_path / "spool")

    with files_of_at_most(size + 100):
        spool.append(a_trace(code="held-1", request={"text": "x" * 1000}))
        spool.append(a_trace(code="held-2", request={"text": "x" * 1000}))
        with pytest.raises(Fault) as caught:
            spool.check()
    spool.check()

    assert caught.value.code == "overloaded"
    assert caught.value.retry_after_seconds
    assert codes_of(tmp_path) == ["before", "held-1", "held-2"]


def test_a_full_disk_leaves_no_torn_line(tmp_path):
    spool = a_spool(tmp_path)

    with files_of_at_most(50):
        spool.append(a_trace())

    assert all(path.read_bytes() == b"" for path in segment_paths(tmp_path / "spool"))


def test_a_trace_that_neither_disk_nor_memory_takes_is_a_fault(tmp_path):
    spool = a_spool(tmp_path, held_bytes=1500)

    with files_of_at_most(10):
        spool.append(a_trace(code="held", request={"text": "x" * 500}))
        with pytest.raises(Fault, match="no request is answered"):
            spool.append(a_trace(code="lost", request={"text": "x" * 1000}))
    spool.check()

    assert codes_of(tmp_path) == ["held"]


def test_closing_says_what_is_lost(tmp_path):
    spool = a_spool(tmp_path)

    with files_of_at_most(10):
        spool.append(a_trace())
        with pytest.raises(Fault, match="1 are lost"):
            spool.close()


def test_new_work_is_refused_while_the_ingester_is_far_behind(tmp_path):
    clock = FrozenClock()
    spool = a_spool(tmp_path, clock, backlog_bytes=1000)
    spool.check()
    spool.append(a_trace(request={"text": "x" * 2000}))

    spool.check()  # looked at once a second
    clock.advance(seconds=1)
    with pytest.raises(Fault, match="too far behind"):
        spool.check()

    segment_paths(tmp_path / "spool")[0].unlink()
    clock.advance(seconds=1)
    spool.check()


def test_new_work_is_refused_on_a_nearly_full_disk(tmp_path):
    spool = a_spool(tmp_path, free_bytes=1 << 60)

    with pytest.raises(Fault, match="nearly full"):
        spool.check()


def test_new_work_is_refused_when_the_folder_is_gone(tmp_path):
    spool = a_spool(tmp_path)
    spool.close()
    (tmp_path / "spool").rmdir()

    with pytest.raises(Fault, match="cannot be read"):
        spool.check()


def test_a_writer_whose_file_was_taken_for_an_abandoned_one_begins_another(tmp_path, monkeypatch):
    """The ingester may find the file after it was created and before it was locked."""
    lock, taken = fcntl.flock, []

    def ingester_comes_first(descriptor, operation):
        if not taken:
            (path,) = segment_paths(tmp_path)
            path.unlink()
            taken.append(path)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", ingester_comes_first)
    writer = SegmentWriter(tmp_path, "w")

    writer.write(b"line\n")

    assert writer.path != taken[0]
    assert segment_paths(tmp_path) == [writer.path]
    assert not writer.is_removed


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:7]))
    writer = SegmentWriter(tmp_path, "w")

    writer.write(b"a line of more than seven bytes\n")

    assert writer.path.read_bytes() == b"a line of more than seven bytes\n"
    assert writer.size == 32


def test_an_absent_spool_has_no_segments(tmp_path):
    assert segment_paths(tmp_path / "none") == []
    assert backlog_bytes(tmp_path / "none") == 0


def test_requests_that_are_refused_for_want_of_room_take_none(tmp_path, caplog):
    clock = FrozenClock()
    spool = a_spool(tmp_path, clock, backlog_bytes=100)
    spool.append(a_trace(code="answered"))
    with pytest.raises(Fault, match="too far behind"):
        spool.check()

    for _ in range(3):
        spool.append(a_trace(code="overloaded"))
    spool.append(a_trace(code="under way before"))

    assert codes_of(tmp_path) == ["answered", "under way before"]
    for path in segment_paths(tmp_path / "spool"):  # as the ingester does when it is back
        path.unlink()
    clock.advance(seconds=2)
    spool.check()
    assert "3 requests were refused without a trace" in caplog.text
    spool.append(a_trace(code="overloaded"))  # by something else now
    assert codes_of(tmp_path) == ["overloaded"]
