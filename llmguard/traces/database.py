"""How DuckDB is opened: the store is attached under the name `store`, so that a key can be given, and doors are closed.

Encrypted files (AES-256-GCM, DuckDB's own) are written through OpenSSL, which comes with the extension httpfs; its
package holds it as a file, so that nothing is ever fetched. DuckDB's built-in cipher only reads.
"""

import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from llmguard.traces.errors import DamagedStoreError, TraceStoreError
from llmguard.traces.places import Places
from llmguard.traces.schema import UPGRADES, Upgrade, require_present_schema, upgrade

Options = dict[str, str | bool | int | float | list[str]]

_STORAGE = "v1.5.0"  # 1.5 and 2.0 both read it
# Chosen for bounded memory and a quiet disk: a commit is a few MB of log, and a checkpoint, which
# compresses, comes every 256 MB. Nothing is ever fetched: json, icu and parquet are linked into the package.
_OPTIONS: Options = {
    "memory_limit": "512MB",
    "threads": 1,  # two cost 40 % more CPU a row, measured
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_WRITER_OPTIONS: Options = {"checkpoint_threshold": "256MB", "max_temp_directory_size": "4GB"}
_WITH_LOG = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
_CRYPTO_PACKAGE = "duckdb_extension_httpfs"
_DAMAGE = ("checksum", "AES tag", "not a valid DuckDB", "Serialization Error")
_NOT_THIS_KEY = ("without a key", "Wrong encryption key", "is not encrypted")


def open_for_writing(
    places: Places, upgrades: Sequence[Upgrade] = UPGRADES
) -> tuple[duckdb.DuckDBPyConnection, bytes | None]:
    """Open the store of a data folder, create or upgrade its tables, and close all doors to other files.

    The caller holds `ingester.lock`.

    Returns:
        The connection, and the key under which the file is kept; None: it is plain.

    Raises:
        TraceStoreError: another program has the file open, a newer llmguard made it, or no key opens it.
        duckdb.Error: it cannot be opened: no space, a damaged file.
    """
    options = _OPTIONS | _WRITER_OPTIONS | {"temp_directory": str(places.temporary)}
    connection = duckdb.connect(":memory:", config=options)
    try:
        with damage_named(places):
            key = _attach_store(connection, places, read_only=False)
        for path in (places.store, Path(f"{places.store}.wal")):
            with suppress(FileNotFoundError):
                path.chmod(0o600)
        upgrade(connection, upgrades)
        own = [f"{path}{ending}" for path in (places.store, places.fresh_store) for ending in _WITH_LOG]
        _lock_down(connection, [str(places.batch), *own])
    except BaseException:
        connection.close()
        raise
    return connection, key


def open_in_memory() -> duckdb.DuckDBPyConnection:
    """Open an empty store that leaves no file behind."""
    connection = duckdb.connect(":memory:", config=_OPTIONS)
    connection.execute("ATTACH ':memory:' AS store")
    _use_store(connection)
    upgrade(connection, UPGRADES)
    _lock_down(connection, [])
    return connection


def open_for_reading(places: Places) -> duckdb.DuckDBPyConnection:
    """Open the store without the right to change it, for a folder that this user may only read.

    Raises:
        TraceStoreError: another program has it open for writing, it has another schema than this llmguard, or no key
            opens it.
        duckdb.Error: it cannot be opened.
    """
    connection = duckdb.connect(":memory:", config=_OPTIONS)
    try:
        with damage_named(places):
            _attach_store(connection, places, read_only=True)
        require_present_schema(connection)
        _lock_down(connection, [])
    except BaseException:
        connection.close()
        raise
    return connection


def cursor_of(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Return a cursor that sees the store's tables by their names; each has to be told."""
    cursor = connection.cursor()
    cursor.execute("USE store")
    return cursor


def attach_fresh(connection: duckdb.DuckDBPyConnection, places: Places) -> None:
    """Attach an empty store under the name `fresh`, kept as the data folder wants it, with this version's tables.

    Raises:
        duckdb.Error: it cannot be made.
    """
    _attach(connection, places.fresh_store, "fresh", places.at_rest.candidates[0], read_only=False)
    cursor = connection.cursor()
    try:
        cursor.execute("USE fresh")
        upgrade(cursor, UPGRADES)
    finally:
        cursor.close()


@contextmanager
def damage_named(places: Places) -> Iterator[None]:
    """Turn what DuckDB says about a damaged file into an error of its own.

    Raises:
        DamagedStoreError: instead of a duckdb.Error.
    """
    try:
        yield
    except duckdb.Error as error:
        if not any(words in str(error) for words in _DAMAGE):
            raise
        raise DamagedStoreError(
            f"{places.store} is damaged: no row of it can be read ({type(error).__name__})"
        ) from None


def _attach_store(connection: duckdb.DuckDBPyConnection, places: Places, *, read_only: bool) -> bytes | None:
    loaded = False
    for key in places.at_rest.candidates:
        if key is not None and not loaded:
            _load_crypto(connection)
            loaded = True
        try:
            _attach(connection, places.store, "store", key, read_only=read_only)
        except (duckdb.CatalogException, duckdb.InvalidInputException) as error:
            if not any(words in str(error) for words in _NOT_THIS_KEY):
                raise
        else:
            _use_store(connection)
            return key
    raise TraceStoreError(
        "the trace store is encrypted, and no secret in force opens it. Set LLMGUARD_SECRET to what it was, or "
        "LLMGUARD_SECRET_PREVIOUS if it was changed since"
    )


def _attach(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, key: bytes | None, *, read_only: bool
) -> None:
    options = ["READ_ONLY"] if read_only else [f"STORAGE_VERSION '{_STORAGE}'"]
    if key is not None:
        options.append(f"ENCRYPTION_KEY '{key.hex()}'")
    try:
        connection.execute(f"ATTACH {_quoted(str(path))} AS {name} ({', '.join(options)})")
    except duckdb.IOException as error:
        if "Could not set lock" not in str(error):
            raise
        holder = re.search(r"PID \d+", str(error))
        who = f" ({holder[0]})" if holder else ""
        raise TraceStoreError(
            f"another program{who} has {path} open; DuckDB lets one in at a time. Close it and ask again."
        ) from None


def _load_crypto(connection: duckdb.DuckDBPyConnection) -> None:
    found = importlib.util.find_spec(_CRYPTO_PACKAGE)
    places = found.submodule_search_locations or () if found is not None else ()
    path = next((path for place in places for path in Path(place).rglob("*.duckdb_extension")), None)
    try:
        if path is None:
            raise duckdb.IOException("missing")
        connection.execute(f"LOAD {_quoted(str(path))}")
        connection.execute("SET temp_file_encryption = true")
    except duckdb.Error:
        raise TraceStoreError(
            "an encrypted trace store needs the package duckdb-extension-httpfs of the same version as duckdb; "
            "scripts/start installs both"
        ) from None


def _use_store(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("USE store")


def _lock_down(connection: duckdb.DuckDBPyConnection, files: list[str]) -> None:
    """Let no statement touch any file but these, or change a setting; holds for all cursors."""
    connection.execute(f"SET allowed_paths = [{', '.join(map(_quoted, files))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
