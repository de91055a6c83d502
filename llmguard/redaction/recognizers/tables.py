"""Columns of CSV, TSV and Markdown tables: the header says what every cell below it is."""
# ruff: noqa: RUF001  # people type curly apostrophes and dashes

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import ClassVar

from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.gazetteers import is_given_name
from llmguard.redaction.recognizers.label_table import STANDARD, Label, Labels
from llmguard.redaction.recognizers.labelled import labels_of
from llmguard.redaction.recognizers.names import is_name
from llmguard.redaction.recognizers.shapes import SHAPES

_LINE = re.compile(r"[^\n]{3,4000}")
_DELIMITERS = (",", ";", "\t", "|")
_HEADER_CELL = re.compile(r"\s*[\"'*]{0,2}[^\W\d][\w .#/()'’-]{0,40}[\"'*]{0,2}\s*")
_INSERT = re.compile(r"(?i)\binsert into [\w.`\"\[\]]{1,80} ?\((?P<columns>[^()]{2,1000})\)\s{0,20}values\s{0,20}")
_ROW = re.compile(r"[\s,]{0,20}\((?P<row>[^()\n]{2,2000})\)")
_RULER = re.compile(r"[\s|:+-]{3,}")
_CELL = {
    (delimiter, quote): re.compile(
        rf"[ \t]*(?:{quote}(?:[^{quote}]|{quote}{quote})*{quote}|[^{re.escape(delimiter)}]*)"
    )
    for delimiter in _DELIMITERS
    for quote in ('"', "'")
}
_EMPTY = frozenset({"", "-", "--", "n/a", "na", "none", "null", "tbd", "unknown", "nan", "—", "x", "no", "yes"})
_SCORE = 0.95
_MIN_COLUMNS = 2
_MAX_BAD_ROWS = 3
Span = tuple[int, int]


class TableColumnRecognizer(GatedRecognizer):
    """Every entity of `label_table`, found in the column under its label."""

    ENTITIES: ClassVar = STANDARD.entities
    GATES: ClassVar = (r"[,;\t|][^\n]{0,1000}\n", r"insert into")

    labels = STANDARD

    def learn(self, labels: Labels) -> None:
        """Know these labels from now on."""
        self.labels = labels
        self.supported_entities = list(labels.entities)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the cells of labelled columns."""
        if "insert into" in text.lower():
            yield from _inserted(text, self.labels)
        lines = [match.span() for match in _LINE.finditer(text)]
        done = 0
        for number, (line, below) in enumerate(pairwise(lines)):
            if number < done:
                continue
            header = _header(text, line, self.labels)
            if header is None or header.delimiter not in text[below[0] : below[1]]:
                continue
            hits, done = _rows(text, lines, number + 1, header)
            yield from hits


def _inserted(text: str, known: Labels) -> Iterator[Hit]:
    """Yield the values of `INSERT INTO t (columns) VALUES (…), (…)`."""
    for statement in _INSERT.finditer(text):
        labels = [labels_of(column, known) for column in statement["columns"].split(",")]
        position = statement.end()
        while row := _ROW.match(text, position):
            cells = list(_cells(text, row.span("row"), ",", quote="'"))
            for cell, promised in zip(cells, labels, strict=False):
                proposed = (_cell_hit(text, cell, label) for label in promised)
                yield from [hit for hit in [next((hit for hit in proposed if hit), None)] if hit]
            position = row.end()


class _Header:
    def __init__(self, delimiter: str, columns: dict[int, tuple[Label, ...]], width: int) -> None:
        self.delimiter = delimiter
        self.columns = columns
        self.width = width


def _header(text: str, line: Span, known: Labels) -> _Header | None:
    """Read a line as a header when every cell reads as a label and one of them is known."""
    raw = text[line[0] : line[1]]
    delimiter = max(_DELIMITERS, key=raw.count)
    if raw.count(delimiter) < _MIN_COLUMNS - 1:
        return None
    cells = [text[start:end] for start, end in _cells(text, line, delimiter)]
    named = [cell for cell in cells if cell.strip()]
    if len(named) < _MIN_COLUMNS or not all(_HEADER_CELL.fullmatch(cell) for cell in named):
        return None
    columns = {number: labels for number, cell in enumerate(cells) if (labels := labels_of(cell, known))}
    return _Header(delimiter, columns, len(cells)) if columns else None


def _rows(text: str, lines: list[Span], first: int, header: _Header) -> tuple[list[Hit], int]:
    """Return the hits in the rows under a header, and the first line that is no row."""
    hits: list[Hit] = []
    bad = 0
    number = first
    for number in range(first, len(lines)):
        if _RULER.fullmatch(text, *lines[number]):
            continue
        cells = list(_cells(text, lines[number], header.delimiter))
        if len(cells) != header.width:
            bad += 1
            if bad >= _MAX_BAD_ROWS or len(cells) == 1:
                return hits, number
            continue
        for column, labels in header.columns.items():
            proposed = (_cell_hit(text, cells[column], label) for label in labels)
            hits.extend(hit for hit in [next((hit for hit in proposed if hit), None)] if hit)
    return hits, number + 1


def _cell_hit(text: str, cell: Span, label: Label) -> Hit | None:
    start, end = _trim(text, cell)
    value = text[start:end]
    if value.lower() in _EMPTY:
        return None
    if label.shape in {"name", "two_names"}:
        accepted = is_name(value, words=1 if label.shape == "name" or is_given_name(value) else 2)
        return Hit(start, end, label.entity, _SCORE, "column of names") if accepted else None
    span = SHAPES[label.shape].match(text[start:end], 0, is_keyed=True)
    if span is None:
        return None
    return Hit(start + span[0], start + span[1], label.entity, _SCORE, "column under its label")


def _cells(text: str, line: Span, delimiter: str, *, quote: str = '"') -> Iterator[Span]:
    position, end = line
    cell = _CELL[delimiter, quote]
    if end > position and text[end - 1] == "\r":
        end -= 1
    while position <= end:
        match = cell.match(text, position, end)
        stop = match.end() if match else position
        if stop < end and text[stop] != delimiter:  # text after a closing quote
            following = text.find(delimiter, stop, end)
            stop = following if following != -1 else end
        yield position, stop
        position = stop + 1


def _trim(text: str, cell: Span) -> Span:
    start, end = cell
    while start < end and text[start] in " \t\"'*`":
        start += 1
    while end > start and text[end - 1] in " \t\"'*`":
        end -= 1
    return start, end
