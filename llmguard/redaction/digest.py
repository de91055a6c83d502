"""One digest over everything that decides findings, so that a trace says which rules it was redacted by."""

import hashlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

_LIBRARIES = ("presidio-analyzer", "spacy", "phonenumbers", "tldextract", "regex")


def rules_digest(files: Mapping[str, str], model: str) -> str:
    """Return the SHA-256, in hex, of the CoE's files, the libraries' versions, the model and our own rules' source.

    Args:
        files: by name.
        model: name and version of the language model; empty where no profile uses one.
    """
    parts = [f"{name}\0{text}" for name, text in sorted(files.items())]
    parts += [f"{name}=={importlib.metadata.version(name)}" for name in _LIBRARIES]
    parts.append(model)
    own = (path for path in Path(__file__).parent.rglob("*") if path.suffix in {".py", ".txt"})  # .txt: lists of names
    parts += [path.read_text(encoding="utf-8") for path in sorted(own)]
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
