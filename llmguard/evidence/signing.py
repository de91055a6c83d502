"""The key that signs evidence: Ed25519, made once for a data folder, readable by its owner only."""

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from llmguard.evidence.pack_check import fingerprint

FILE = "evidence.key"


class EvidenceError(Exception):
    """Evidence cannot be made or checked; the message says why and what to do."""


class SigningKey:
    """Signs for one data folder."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def of(cls, data: Path) -> "SigningKey":
        """Return the key of a data folder; the first one to ask makes it.

        Raises:
            EvidenceError: the file is damaged.
            OSError: it cannot be read or made.
        """
        path = data / FILE
        if not path.exists():
            _make(path)
        try:
            private = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise EvidenceError(
                f"{path} is damaged. Restore it from a backup; with a new one, say so to your auditors."
            )
        return cls(private)

    @property
    def public_pem(self) -> bytes:
        """The public key, as OpenSSL reads it."""
        return self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """How people compare it."""
        return fingerprint(self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature; the same for the same message."""
        return self._private.sign(message)


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # fails when another process was faster: then its key counts
    except FileExistsError:
        pass
    finally:
        draft.unlink()
