"""What was accepted before: the digest of each preset version, and each registry file once, under its digest.

The folder has `accepted.json` (the digest of the last registry, and the digest of every preset version that was ever
accepted as more than a draft), `<digest>.yaml` for each registry, `prices/` and `lock`. Readers need no lock: files are
replaced whole. Writers take turns, in one process or in several.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from llmguard.domain.catalog import Registry
from llmguard.registry.digest import content_digest
from llmguard.registry.price_figures import PriceFiles
from llmguard.registry.yaml_text import NotYaml, read_yaml

PRICES = "prices"
_STATE = "accepted.json"
_LOCK = "lock"
_OWNER_ONLY = 0o600
_DIGEST = re.compile(r"[0-9a-f]{64}")


class AcceptedDamaged(Exception):
    """`accepted.json` cannot be understood, so nothing can be compared with what was accepted before."""


@dataclass(frozen=True, slots=True)
class AcceptedSource:
    """The registry file that was accepted last."""

    digest: str
    source: bytes


class AcceptedRegistries:
    """The memory behind "versions are immutable" and "a broken file never replaces a good one"."""

    def __init__(self, folder: Path) -> None:
        """Keep everything in this folder; it is made when the first registry is accepted."""
        self._folder = folder
        self._prices = PriceFiles(folder / PRICES)

    def presets(self) -> dict[str, str]:
        """Return the digest by `name@version` of each preset version that was accepted, also of those gone since.

        Raises:
            AcceptedDamaged: the record is not readable as what was written.
            OSError: the record cannot be read at all.
        """
        return dict(self._state().presets)

    def last(self) -> AcceptedSource | None:
        """Return the registry file that was accepted last; None if there is none.

        Raises:
            AcceptedDamaged: the record is not readable as what was written.
            OSError: the record cannot be read at all.
        """
        digest = self._state().last
        if not digest:
            return None
        try:
            return AcceptedSource(digest, self._source_path(digest).read_bytes())
        except FileNotFoundError:
            return None

    def source(self, digest: str) -> bytes | None:
        """Return the registry file that was accepted under a digest; None if there is none."""
        if not _DIGEST.fullmatch(digest):
            return None
        try:
            return self._source_path(digest).read_bytes()
        except FileNotFoundError:
            return None

    def content(self, digest: str) -> dict[str, Any]:
        """Return what was accepted under a digest, parsed; nothing if it is not kept, or not what it was.

        Args:
            digest: of the registry, as traces pin it.
        """
        source = self.source(digest)
        if source is None:
            return {}
        try:
            content = read_yaml(source.decode("utf-8-sig"))
        except (NotYaml, UnicodeDecodeError):
            return {}
        return content if isinstance(content, dict) and content_digest(content) == digest else {}

    def accept(self, registry: Registry, source: bytes) -> dict[str, str]:
        """Record a registry that was checked, and return the preset digests that count now.

        If another process recorded a preset of the same `name@version` with other content in the meantime, nothing is
        recorded: the caller sees the other digest in what is returned, and checks again.

        Args:
            registry: as it was built from the source.
            source: the bytes of the file.

        Raises:
            AcceptedDamaged: the record is not readable as what was written.
            OSError: the record cannot be read or written.
        """
        targets = (target for model in registry.models.values() for target in (model, *model.siblings))
        self._prices.keep(target.price for target in targets)  # before any request is priced by them
        offered = accepted_digests(registry)
        state = self._state()
        if state.last == registry.digest and offered.items() <= state.presets.items():
            return dict(state.presets)  # the usual case when a worker starts, or comes second
        with self._turn():
            state = self._state()
            if any(state.presets.get(preset_id, digest) != digest for preset_id, digest in offered.items()):
                return dict(state.presets)
            if not self._source_path(registry.digest).exists():
                self._write(self._source_path(registry.digest), source)
            state = _State(last=registry.digest, presets={**state.presets, **offered})
            self._write(self._folder / _STATE, msgspec.json.format(msgspec.json.encode(state), indent=1))
            return dict(state.presets)

    def _state(self) -> "_State":
        try:
            return msgspec.json.decode((self._folder / _STATE).read_bytes(), type=_State)
        except FileNotFoundError:
            return _State()
        except msgspec.MsgspecError:
            raise AcceptedDamaged(
                f"{self._folder / _STATE} is damaged. Restore it from a backup; without it, nobody can tell whether "
                "approved presets were changed in place. Delete the folder to begin anew with what the file says now."
            ) from None

    def _source_path(self, digest: str) -> Path:
        return self._folder / f"{digest}.yaml"

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)  # and with it the lock, as when the process dies

    def _write(self, path: Path, content: bytes) -> None:
        """Replace a file whole: a reader, and a crash at any moment, finds the old one or the new one."""
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()


def accepted_digests(registry: Registry) -> dict[str, str]:
    """Return what accepting a registry pins: the digest by `name@version` of every preset that is not a draft."""
    return {
        preset.id: preset.digest
        for versions in registry.presets.values()
        for preset in versions
        if preset.status != "draft"
    }


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    last: str = ""
    presets: Mapping[str, str] = msgspec.field(default_factory=dict)
