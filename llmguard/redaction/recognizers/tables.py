"""Columns of CSV, TSV and Markdown tables: the header says what every cell below it is."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import ClassVar

from llmguard.redaction.recognizers.base import GatedRecognizer, Hit
from llmguard.redaction.recognizers.label_table import ENTITIES, Label
from llmguard.redaction.recognizers.labelled import label_of
from llmguard.redaction.recognizers.names import is_name
from llmguard.redaction.recognizers.shapes import SHAPES

_LINE = re.compile(r"[^\n]{3,4000}")
_DELIMITERS = (",", ";", "\t", "|")
_HEADER_CELL = re.compile(r"\s*[\"'*]{0,2}[^\W\d][\w .#/()'’-]{0,40}[\"'*]{0,2}\s*")
_RULER = re.compile(r"[\s|:+-]{3,}")
_CELL = {
    delimiter: re.compile(rf"[ \t]*(?:\"(?:[^\"]|\"\")*\"|[^{re.escape(delimiter)}]*)") for delimiter in _DELIMITERS
}
_EMPTY = frozenset({"", "-", "--", "n/a", "na", "none", "null", "tbd", "unknown", "nan", "—", "x", "no", "yes"})
_SCORE = 0.95
_MIN_COLUMNS = 2
_MAX_BAD_ROWS = 3
Span = tuple[int, int]


class TableColumnRecognizer(GatedRecognizer):
    """Every entity of `label_table`, found in the column under its label."""

    ENTITIES: ClassVar = ENTITIES
    GATES: ClassVar = (r"[,;\t|][^\n]{0,1000}\n",)

    def find(self, text: str) -> Iterable[Hit]:
        """Return the cells of labelled columns."""
        lines = [match.span() for match in _LINE.finditer(text)]
        done = 0
        for number, (line, below) in enumerate(pairwise(lines)):
            if number < done:
                continue
            header = _header(text, line)
            if header is None or header.delimiter not in text[below[0] : below[1]]:
                continue
            hits, done = _rows(text, lines, number + 1, header)
            yield from hits


class _Header:
    def __init__(self, delimiter: str, columns: dict[int, Label], width: int) -> None:
        self.delimiter = delimiter
        self.columns = columns
        self.width = width


def _header(text: str, line: Span) -> _Header | None:
    """Read a line as a header when every cell reads as a label and one of them is known."""
    raw = text[line[0] : line[1]]
    delimiter = max(_DELIMITERS, key=raw.count)
    if raw.count(delimiter) < _MIN_COLUMNS - 1:
        return None
    cells = [text[start:end] for start, end in _cells(text, line, delimiter)]
    named = [cell for cell in cells if cell.strip()]
    if len(named) < _MIN_COLUMNS or not all(_HEADER_CELL.fullmatch(cell) for cell in named):
        return None
    columns = {number: label for number, cell in enumerate(cells) if (label := label_of(cell))}
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
        for column, label in header.columns.items():
            hit = _cell_hit(text, cells[column], label)
            if hit:
                hits.append(hit)
    return hits, number + 1


def _cell_hit(text: str, cell: Span, label: Label) -> Hit | None:
    start, end = _trim(text, cell)
    value = text[start:end]
    if value.lower() in _EMPTY:
        return None
    if label.shape in {"name", "two_names"}:
        accepted = is_name(value, words=2 if label.shape == "two_names" else 1)
        return Hit(start, end, label.entity, _SCORE, "column of names") if accepted else None
    span = SHAPES[label.shape].match(text[start:end], 0, is_keyed=True)
    if span is None:
        return None
    return Hit(start + span[0], start + span[1], label.entity, _SCORE, "column under its label")


def _cells(text: str, line: Span, delimiter: str) -> Iterator[Span]:
    position, end = line
    if end > position and text[end - 1] == "\r":
        end -= 1
    while position <= end:
        match = _CELL[delimiter].match(text, position, end)
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
