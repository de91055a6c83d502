"""The redaction rules that older traces were redacted by: each state of the CoE's folder once, under its digest.

Encrypted with a key derived from the installation's secret: deny lists and examples are values that are hidden in
texts, and no such value may stand in any byte of the data folder.
"""

import base64
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from llmguard.domain.secrets import derive_key

_PURPOSE = "redaction/kept-rules"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class KeptRules:
    """The rules of one data folder by digest; only ever added to."""

    def __init__(self, folder: Path, installation_secrets: Sequence[bytes]) -> None:
        """Keep them in this folder, which is made with the first; the first secret encrypts, all of them decrypt."""
        self._folder = folder
        self._cipher = MultiFernet([Fernet(_key(secret)) for secret in installation_secrets])

    def keep(self, digest: str, files: Mapping[str, str]) -> None:
        """Write the files of a folder of rules, unless they are there.

        Raises:
            OSError: they cannot be written.
        """
        path = self._path(digest)
        if path is None or path.exists():
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        content = self._cipher.encrypt(msgspec.json.encode(dict(files)))
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def find(self, digest: str) -> dict[str, str] | None:
        """Return the files by name; None if they were never kept, or no secret that is given opens them."""
        path = self._path(digest)
        if path is None:
            return None
        try:
            return msgspec.json.decode(self._cipher.decrypt(path.read_bytes()), type=dict[str, str])
        except (OSError, InvalidToken, msgspec.MsgspecError):
            return None

    def _path(self, digest: str) -> Path | None:
        return self._folder / digest if _DIGEST.fullmatch(digest) else None


def _key(secret: bytes) -> bytes:
    return base64.urlsafe_b64encode(derive_key(secret, _PURPOSE))
