"""The only reader of `LLMGUARD_*` variables: where things are, never how they are governed."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from llmguard.domain.at_rest import AtRest
from llmguard.domain.secrets import derive_key

DataFolder = Literal["made", "needed", "optional"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
DEFAULT_REQUESTS_AT_ONCE = 512
_SECRET_BYTES = 32
_LEAST_SECRET_CHARACTERS = 16
_SPOOL_LIMIT_MB = 1024
_PREVIOUS_FILE = "secret.previous"


class SettingsInvalidError(Exception):
    """A setting cannot be used; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where one gateway finds its files and listens.

    Attributes:
        registry: the CoE's registry file.
        redaction: the CoE's folder of redaction rules.
        data: the folder that holds everything llmguard writes; created with mode 0700.
        host: address to listen on.
        port: TCP port; 0 lets the system choose.
        workers: server processes.
        requests_at_once: how many requests each of them answers at once, before others wait.
        secret: keys the placeholders and the key digests; never logged.
        previous_secrets: what it was before, newest first; app keys and placeholders made under them are still known.
        encrypts_traces: whether traces are encrypted on disk.
        spool_limit_bytes: how many traces may wait for the store before new requests are refused.
    """

    registry: Path
    redaction: Path
    data: Path
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    workers: int = 1
    requests_at_once: int = DEFAULT_REQUESTS_AT_ONCE
    secret: bytes = field(default=b"", repr=False)
    previous_secrets: tuple[bytes, ...] = field(default=(), repr=False)
    encrypts_traces: bool = False
    spool_limit_bytes: int = _SPOOL_LIMIT_MB << 20

    @property
    def at_rest(self) -> AtRest:
        """How traces are kept: encrypted or not, and the keys that open those which are."""
        secrets = (self.secret, *self.previous_secrets) if self.secret else ()
        return AtRest(self.encrypts_traces, tuple(derive_key(secret, "traces/at-rest") for secret in secrets))

    @property
    def policies(self) -> Path:
        """The CoE's folder of rules in Rego: always beside the registry, since both are governance."""
        return self.registry.parent / "policies"

    @property
    def redaction_cache(self) -> Path:
        """Where compiled redaction rules are kept, for every process that reads them."""
        return self.data / "redaction-cache"


def load_settings(environ: Mapping[str, str], *, folder: DataFolder = "made", **given: str | int | None) -> Settings:
    """Return the settings: what was given on the command line first, then the environment, then defaults.

    Args:
        environ: usually `os.environ`.
        folder: what becomes of a data folder that is missing. `made`: it is created, with a secret in it unless
            `LLMGUARD_SECRET` is set. `needed`: an error, since reading would find nothing. `optional`: nothing, and
            without a folder there is no secret either.
        given: registry, redaction, data, host, port, workers; None counts as not given.

    Raises:
        SettingsInvalidError: a value cannot be used.
    """
    if environ.get("LLMGUARD_STATE_URL"):
        raise SettingsInvalidError(
            "LLMGUARD_STATE_URL is set, but this version keeps its state in SQLite in the data folder only. "
            "Unset it and run one machine, or wait for the Redis and PostgreSQL ledgers."
        )

    def chosen(name: str, default: str) -> str:
        value = given.get(name)
        return str(value) if value is not None else environ.get(f"LLMGUARD_{name.upper()}") or default

    data = Path(chosen("data", "data")).absolute()
    if folder == "made":
        _make_private_folder(data)
    elif folder == "needed" and not data.is_dir():
        raise SettingsInvalidError(f"There is no data folder {data}. Name it with --data or LLMGUARD_DATA.")
    return Settings(
        registry=Path(chosen("registry", "registry.yaml")).absolute(),
        redaction=Path(chosen("redaction", "redaction")).absolute(),
        data=data,
        host=chosen("host", DEFAULT_HOST),
        port=_whole_number("LLMGUARD_PORT", chosen("port", str(DEFAULT_PORT)), least=0, most=65_535),
        workers=_whole_number("LLMGUARD_WORKERS", chosen("workers", "1"), least=1, most=256),
        requests_at_once=_whole_number(
            "LLMGUARD_REQUESTS_AT_ONCE",
            chosen("requests_at_once", str(DEFAULT_REQUESTS_AT_ONCE)),
            least=1,
            most=100_000,
        ),
        secret=_secret(environ, data) if data.is_dir() else b"",
        previous_secrets=_previous_secrets(environ, data),
        encrypts_traces=_encrypts_traces(environ),
        spool_limit_bytes=_spool_limit_mb(environ) << 20,
    )


def _spool_limit_mb(environ: Mapping[str, str]) -> int:
    text = environ.get("LLMGUARD_SPOOL_LIMIT_MB") or str(_SPOOL_LIMIT_MB)
    return _whole_number("LLMGUARD_SPOOL_LIMIT_MB", text, least=64, most=1 << 20)


def _encrypts_traces(environ: Mapping[str, str]) -> bool:
    """Return whether traces are encrypted; a key that lies beside what it locks would protect nothing."""
    text = environ.get("LLMGUARD_TRACES_ENCRYPTION", "").strip().lower()
    if text not in {"", "true", "false"}:
        raise SettingsInvalidError(f"LLMGUARD_TRACES_ENCRYPTION is {text[:20]!r}; it must be true or false.")
    if text == "true" and not environ.get("LLMGUARD_SECRET"):
        raise SettingsInvalidError(
            "LLMGUARD_TRACES_ENCRYPTION is true, and LLMGUARD_SECRET is not set: the secret in the data folder lies "
            "beside the traces and would protect nothing. Set LLMGUARD_SECRET, from where your secrets are kept."
        )
    return text == "true"


def _whole_number(name: str, text: str, *, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise SettingsInvalidError(f"{name} is {text!r}; it must be a whole number from {least} to {most}.")
    return int(text)


def _make_private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsInvalidError(
            f"The data folder {folder} cannot be made ({error.strerror}). Name another with --data or LLMGUARD_DATA."
        ) from None


def _secret(environ: Mapping[str, str], data: Path) -> bytes:
    text = environ.get("LLMGUARD_SECRET")
    if text is None:
        return _secret_file(data / "secret")
    if len(text) < _LEAST_SECRET_CHARACTERS:
        raise SettingsInvalidError(
            f"LLMGUARD_SECRET is too short; give at least {_LEAST_SECRET_CHARACTERS} characters, for example from "
            "`openssl rand -hex 32`, or unset it and llmguard makes one in the data folder."
        )
    return text.encode()


def _previous_secrets(environ: Mapping[str, str], data: Path) -> tuple[bytes, ...]:
    """Return the secrets that still count for reading: of the variable, or else of the file, one a line."""
    text = environ.get("LLMGUARD_SECRET_PREVIOUS")
    if text is not None:
        where, parts = "LLMGUARD_SECRET_PREVIOUS", [part.strip().encode() for part in text.split(",")]
    else:
        path = data / _PREVIOUS_FILE
        try:
            where, parts = str(path), path.read_bytes().splitlines()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SettingsInvalidError(
                f"The file {path} cannot be read ({error.strerror}). Check its owner and rights, or delete it if no "
                "key from before the last change of the secret is in use any more."
            ) from None
    found = tuple(part.strip() for part in parts if part.strip())
    if any(len(secret) < _LEAST_SECRET_CHARACTERS for secret in found):
        raise SettingsInvalidError(
            f"{where} holds a secret that is too short to have been one: each has at least {_LEAST_SECRET_CHARACTERS} "
            "characters. Separate several by commas in the variable, by line ends in the file."
        )
    return found


def _secret_file(path: Path) -> bytes:
    """Return the secret kept in the data folder; the first process makes it, and a race has one winner."""
    candidate = path.with_name(f"secret.{os.getpid()}.new")
    try:
        if not path.exists():
            descriptor = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_hex(_SECRET_BYTES).encode())
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(candidate, path)  # fails when another process was faster: then its secret counts
            except FileExistsError:
                pass
            finally:
                candidate.unlink()
        content = path.read_bytes().strip()
    except OSError as error:
        raise SettingsInvalidError(
            f"The secret file {path} cannot be read or made ({error.strerror}). Check the folder's owner and rights."
        ) from None
    if len(content) < _LEAST_SECRET_CHARACTERS:
        raise SettingsInvalidError(
            f"The secret file {path} is damaged (too short). Restore it from a backup: without it, all keys must be "
            "issued again and older placeholders cannot be recomputed."
        )
    return content
