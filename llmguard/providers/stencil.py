"""What is the same in the events of a stream, so that only the text of each has to be read.

Most chunks of most streams are the same bytes around another text. Once one of them has been read and checked, others
are known by these bytes; what is not exactly like them is read as any other.
"""

import re
from typing import Final

import msgspec

from llmguard.domain.chat import JsonObject
from llmguard.domain.pieces import with_content

_CONTENT: Final = re.compile(rb'"content"\s*:\s*"((?:[^"\\]|\\.)*+)"')
_NO_PLAIN_TEXT: Final = re.compile(rb'["\\\x00-\x09\x0b-\x1f]')  # all but the line feeds between texts
_DECODER: Final = msgspec.json.Decoder()  # keeps nothing between calls
_TEXT_DECODER: Final = msgspec.json.Decoder(str)
_TOO_FEW: Final = 2
_PLAIN_DELTA: Final = frozenset({"content"})


class Stencil:
    """One chunk, and the bytes of its event around its text.

    Attributes:
        chunk: as it was read.
    """

    __slots__ = ("_begin", "_between", "_end", "_head", "_tail", "chunk")

    def __init__(self, chunk: JsonObject, head: bytes, tail: bytes) -> None:
        """Take the bytes before the first quote of the text, and after its last one."""
        self.chunk = chunk
        self._head = head + b'"'
        self._tail = b'"' + tail
        self._begin, self._end = b"data: " + self._head, self._tail + b"\n\n"
        self._between = self._end + self._begin

    def text(self, data: bytes) -> str | None:
        """Return the text of an event's data; None if there is anything else about it."""
        return _text_within(data, self._head, self._tail)

    def only(self, body: bytes) -> str | None:
        """Return the text of one event, whose bytes these are; None if they are anything else."""
        return _text_within(body, self._begin, self._end)

    def run(self, body: bytes) -> tuple[bytes, list[str], bytes] | None:
        """Return the texts of many events in a row, and what is to be read before and after them.

        Args:
            body: bytes of a stream, beginning anywhere in it.

        Returns:
            None if there are no such events, or something about them has to be looked at one by one. What is before
            ends with an event.
        """
        parts = body.split(self._between)
        if len(parts) <= _TOO_FEW:
            return None
        first, *raw, last = parts
        lines = b"\n".join(raw)
        if _NO_PLAIN_TEXT.search(lines) is None and lines.count(b"\n") == len(raw) - 1:
            try:
                texts = lines.decode().split("\n")
            except UnicodeDecodeError:
                return None
        else:
            texts = [text for one in raw if (text := _decoded(one)) is not None]
            if len(texts) < len(raw):
                return None
        return first + self._end, texts, self._begin + last


def stencil_of(data: bytes, chunk: JsonObject) -> Stencil | None:
    """Return the stencil of an event that was read as this chunk, whose choices are sound; None if it is no plain one.

    A plain one has one choice, with a piece of text in its delta and nothing else, and ends nothing.
    """
    choices = chunk["choices"]
    if len(choices) != 1 or chunk.get("usage") is not None:
        return None
    choice = choices[0]
    text = choice["delta"].get("content")
    if choice["delta"].keys() != _PLAIN_DELTA or not isinstance(text, str):
        return None
    if choice.get("finish_reason") is not None or choice.get("logprobs") is not None:
        return None
    found = _CONTENT.search(data)
    if found is None:
        return None
    head, tail = data[: found.start(1) - 1], data[found.end(1) + 1 :]
    other = "b" if text == "a" else "a"  # with another text there, the event must say that and nothing else
    try:
        changed = _DECODER.decode(b'%b"%b"%b' % (head, other.encode(), tail))
    except msgspec.DecodeError:
        return None
    return Stencil(chunk, head, tail) if changed == with_content(chunk, other) else None


def _text_within(content: bytes, head: bytes, tail: bytes) -> str | None:
    if not (content.startswith(head) and content.endswith(tail) and len(content) >= len(head) + len(tail)):
        return None
    return _decoded(content[len(head) : -len(tail)])


def _decoded(raw: bytes) -> str | None:
    """Return what stands between the quotes of a JSON string; None if that is none."""
    try:
        return _TEXT_DECODER.decode(b'"%b"' % raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
