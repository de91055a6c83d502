"""Server-sent events out of bytes that may be cut anywhere; knows nothing of what the events say."""

from typing import Final, NamedTuple

_BOM: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its name (empty if the stream gave none) and its data lines joined by line feeds."""

    name: str
    data: bytes


class EventTooLarge(Exception):
    """An event has more bytes than the reader is willing to keep."""


class EventReader:
    """Turns bytes into events as they complete.

    Source: WHATWG HTML, section 9.2.6, "Interpreting an event stream": lines end in CRLF, LF or CR; a leading BOM and
    comments are dropped; an event that no blank line ends is not dispatched.
    """

    def __init__(self, *, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._tail = bytearray()  # a line that has not ended yet
        self._skip_line_feed = False  # the last byte seen was a CR: an LF right after it is the same line end
        self._at_start = True
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0

    @property
    def is_between_events(self) -> bool:
        """Whether nothing of an event was fed yet, so that what comes next begins with one."""
        return not (self._tail or self._data or self._name or self._skip_line_feed or self._at_start)

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that this piece completes, oldest first.

        Raises:
            EventTooLarge: an event has more than `max_event_bytes`.
        """
        if self._skip_line_feed and piece:
            self._skip_line_feed = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._skip_line_feed = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if (plain := self._plain(piece)) is not None:
            return plain
        events: list[Event] = []
        if b"\n" in piece:
            lines = piece.split(b"\n")
            lines[0] = bytes(self._tail) + lines[0]
            self._tail = bytearray(lines.pop())
            for line in lines:
                self._read_line(line, events)
        else:
            self._tail += piece
        if self._data_bytes + len(self._tail) > self._max_event_bytes:
            raise EventTooLarge
        return events

    def _plain(self, piece: bytes) -> list[Event] | None:
        """Return the events of a piece of whole ones with one line of data each, as nearly all are; None for others."""
        if self._tail or self._data or self._name or piece[-2:] != b"\n\n" or len(piece) > self._max_event_bytes:
            return None
        events = []
        for line in piece[:-2].split(b"\n\n"):
            if line[:6] != b"data: " or b"\n" in line:
                return None
            events.append(Event("", line[6:]))
        self._at_start = False
        return events

    def _read_line(self, line: bytes, events: list[Event]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value)
            if self._data_bytes > self._max_event_bytes:
                raise EventTooLarge
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        # id, retry, comments (an empty name) and unknown fields mean nothing here.

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append(Event(self._name, b"\n".join(self._data)))
        self._name, self._data, self._data_bytes = "", [], 0
