"""Tables as files: CSV for people's spreadsheets, Parquet for programs, both to the last digit."""

import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from llmguard.finance.errors import FinanceError


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its type in DuckDB, which is also its type in Parquet."""

    name: str
    type: str


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """Return rows as CSV with a header; NULL is an empty field, and figures have no exponent."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    writer.writerows([plain(row.get(column.name)) for column in columns] for row in rows)
    return file.getvalue()


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Write rows as Parquet; decimals stay decimals.

    Raises:
        FinanceError: the file cannot be written.
    """
    names = ", ".join(f"'{column.name}': 'VARCHAR'" for column in columns)
    casts = ", ".join(f'"{column.name}"::{column.type} AS "{column.name}"' for column in columns)
    target = str(path).replace("'", "''")
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
        file.write(as_csv(rows, columns))
        file.flush()
        connection = duckdb.connect()
        try:
            connection.execute("SET TimeZone = 'UTC'")
            source = f"read_csv('{file.name}', header = true, delim = ',', quote = '\"', columns = {{{names}}})"
            connection.execute(f"COPY (SELECT {casts} FROM {source}) TO '{target}' (FORMAT parquet)")  # noqa: S608
        except duckdb.Error as error:
            raise FinanceError(f"{path} cannot be written: {error}") from None
        finally:
            connection.close()


def plain(value: Any) -> Any:  # Any: a field of a row
    """Return a field as CSV and JSON have it: instants in UTC, decimals in full."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value
