"""Write traces to a file: JSON lines as they come, or Parquet by DuckDB."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import duckdb

from llmguard.cli.main import fail
from llmguard.domain.chat import JsonObject

JSON_COLUMNS = ("decision", "request", "response", "chunks", "steps")
_TYPES = {
    "seq": "BIGINT",
    "trace_id": "UUID",
    "started_at": "TIMESTAMPTZ",
    "preset_version": "INTEGER",
    "status": "SMALLINT",
    "entities": "MAP(VARCHAR, INTEGER)",
    "cost_usd": "DECIMAL(18, 9)",
    "stream": "BOOLEAN",
}
_COPY = (
    "COPY (SELECT * FROM read_json(?, format = 'newline_delimited', maximum_object_size = 134217728, "
    "columns = {columns})) TO {output} (FORMAT parquet, COMPRESSION zstd)"
)


def write_jsonl(rows: Iterable[JsonObject], output: Path | None) -> int:
    """Write one JSON object a line, with decoded JSON columns, and return how many."""
    if output is None:
        return _write_lines(map(_decoded, rows), sys.stdout)
    with _replaced(output) as draft, draft.open("w", encoding="utf-8") as file:
        return _write_lines(map(_decoded, rows), file)


def write_parquet(rows: Iterable[JsonObject], columns: Iterable[str], output: Path) -> int:
    """Write a Parquet file, JSON columns as their exact texts, and return how many rows it has."""
    with _replaced(output) as draft, tempfile.NamedTemporaryFile("w", dir=output.parent, suffix=".jsonl") as lines:
        count = _write_lines(rows, lines)
        lines.flush()
        types = {name: _TYPES.get(name) or _type_of(name) for name in columns}
        shape = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in types.items()) + "}"
        target = "'" + str(draft).replace("'", "''") + "'"
        with duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(_COPY.format(columns=shape, output=target), [lines.name])
    return count


def _type_of(name: str) -> str:
    if name.endswith("_tokens"):
        return "BIGINT"
    return "DOUBLE" if name.endswith("_ms") else "VARCHAR"


def _decoded(row: JsonObject) -> JsonObject:
    return row | {name: json.loads(row[name]) for name in JSON_COLUMNS if row[name] is not None}


def _write_lines(rows: Iterable[JsonObject], file: IO[str]) -> int:
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - it is returned
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return count


@contextmanager
def _replaced(output: Path) -> Iterator[Path]:
    """Yield a draft for the owner only that becomes the file if nothing fails."""
    draft = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        yield draft
        draft.replace(output)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}.")
    finally:
        draft.unlink(missing_ok=True)
