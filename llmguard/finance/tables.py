"""Tables as files: CSV for people's spreadsheets, Parquet for programs, both to the last digit."""

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from llmguard.finance.errors import FinanceError


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its type in DuckDB, which is also its type in Parquet."""

    name: str
    type: str


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> Iterator[str]:
    """Yield rows as lines of CSV, the header first; NULL is an empty field, and figures have no exponent."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for fields in chain([[column.name for column in columns]], (_fields(row, columns) for row in rows)):
        writer.writerow(fields)
        yield file.getvalue()
        file.seek(0)
        file.truncate()


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> str:
    """Return rows as CSV, as `csv_lines` yields it."""
    return "".join(csv_lines(rows, columns))


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Write rows as Parquet, in bounded memory; decimals stay decimals.

    Raises:
        FinanceError: the file cannot be written.
    """
    import duckdb  # noqa: PLC0415 - 40 MB, and most workers write none

    names = ", ".join(f"'{column.name}': 'VARCHAR'" for column in columns)
    casts = ", ".join(f'"{column.name}"::{column.type} AS "{column.name}"' for column in columns)
    target = str(path).replace("'", "''")
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8") as file:
        file.writelines(csv_lines(rows, columns))
        file.flush()
        connection = duckdb.connect()
        try:
            connection.execute("SET threads = 1; SET memory_limit = '256MB'")
            connection.execute("SET TimeZone = 'UTC'")
            source = f"read_csv('{file.name}', header = true, delim = ',', quote = '\"', columns = {{{names}}})"
            connection.execute(f"COPY (SELECT {casts} FROM {source}) TO '{target}' (FORMAT parquet)")  # noqa: S608
        except duckdb.Error as error:
            raise FinanceError(f"{path} cannot be written: {error}") from None
        finally:
            connection.close()


def _fields(row: Mapping[str, Any], columns: Sequence[Column]) -> list[Any]:  # Any: what the writer takes
    return [plain(row.get(column.name)) for column in columns]


def plain(value: Any) -> Any:  # Any: a field of a row
    """Return a field as CSV and JSON have it: instants in UTC, decimals in full."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value
