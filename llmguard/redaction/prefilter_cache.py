"""Compiled Hyperscan databases on disk, so that a process starts in a second instead of five.

A database is code of a sort: it is only read from files that nobody else could have written, and one that is damaged,
or was made by another version, processor or translation of ours, is passed over as if it were not there.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import stat
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import hyperscan

_KEPT_FILES = 12
_DIGEST_BYTES = 32
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_SOURCES = ("prefilter.py", "prefilter_cache.py", "projection.py", "regex_translation.py")


class DatabaseCache:
    """A folder of compiled databases, for this user alone."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made when the first database is kept."""
        self._folder = folder
        self._circumstances = _circumstances()

    def get(self, triggers: Sequence[tuple[str, int]]) -> tuple[hyperscan.Database, frozenset[int]] | None:
        """Return the database of these triggers and the numbers that are in it, or None if there is no sound one."""
        try:
            content = self._read(self._path(triggers))
            payload = content[_DIGEST_BYTES:]
            if hashlib.sha256(payload).digest() != content[:_DIGEST_BYTES]:
                return None
            head, _, database = payload.partition(b"\n")
            return hyperscan.loadb(database, hyperscan.HS_MODE_BLOCK), frozenset(json.loads(head))
        except (OSError, ValueError, hyperscan.error):
            return None

    def put(self, triggers: Sequence[tuple[str, int]], database: hyperscan.Database, taken: Iterable[int]) -> None:
        """Keep a database; a folder that cannot be written to is no error, only slower next time."""
        payload = json.dumps(sorted(taken)).encode() + b"\n" + hyperscan.dumpb(database)
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._path(triggers), hashlib.sha256(payload).digest() + payload)
            self._forget_old()

    def _path(self, triggers: Sequence[tuple[str, int]]) -> Path:
        digest = hashlib.sha256(self._circumstances)
        digest.update(json.dumps(triggers).encode())
        return self._folder / f"{digest.hexdigest()}.hyperscan"

    def _read(self, path: Path) -> bytes:
        """Return a file's content.

        Raises:
            OSError: there is none, or somebody else may write it.
        """
        _refuse_shared(self._folder.stat())
        with open(path, "rb", opener=_without_links) as file:  # Path.open takes no opener
            _refuse_shared(os.fstat(file.fileno()))
            return file.read()

    def _write(self, path: Path, content: bytes) -> None:
        """Put a whole file in place at once, readable by this user alone."""
        descriptor, name = tempfile.mkstemp(dir=self._folder)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    def _forget_old(self) -> None:
        files = sorted(self._folder.glob("*.hyperscan"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in files[_KEPT_FILES:]:
            path.unlink(missing_ok=True)


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _refuse_shared(status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
        raise PermissionError


def _circumstances() -> bytes:
    """Return what a database depends on besides its triggers: library, processor, and our translation."""
    facts = [importlib.metadata.version("hyperscan"), platform.machine(), _processor_features()]
    facts += [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _SOURCES]
    return "\0".join(facts).encode()


def _processor_features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux: the name has to do, and Hyperscan checks a database against the processor as well
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
