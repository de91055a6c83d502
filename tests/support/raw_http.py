"""Requests as bytes, for what no library would send. Stdlib only."""

import json
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class RawAnswer:
    """One answer as it came over the socket."""

    head: str
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        pairs = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return {name.lower(): value.strip() for name, _, value in pairs}

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def error(self) -> dict:
        return self.json["error"]


def chunked(*pieces: bytes) -> bytes:
    """Return a body in chunks, as clients send it who do not know its length yet."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


class Wire:
    """A connection to a base URL on which a test writes what it likes."""

    def __init__(self, base_url: str) -> None:
        """Connect to the host of this URL."""
        parts = urlsplit(base_url)
        self.host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, first: str, headers: dict[str, str], body: bytes = b"") -> None:
        """Write a request line with headers, and a body."""
        lines = [first, f"Host: {self.host}", *(f"{name}: {value}" for name, value in headers.items())]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def write(self, content: bytes) -> None:
        """Write more."""
        self._socket.sendall(content)

    def receive(self) -> RawAnswer:
        """Return the next answer: whole by its length, in chunks, or until the connection ends."""
        lines = []
        while line := self._file.readline().decode("latin-1").rstrip("\r\n"):
            lines.append(line)
        answer = RawAnswer("\r\n".join(lines), b"")
        if answer.status in (100, 204):
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            return RawAnswer(answer.head, b"".join(self._chunks()))
        length = answer.headers.get("content-length")
        return RawAnswer(answer.head, self._file.read(-1 if length is None else int(length)))

    def rest(self) -> bytes:
        """Return all that comes until the connection ends."""
        return self._file.read()

    def _chunks(self):
        while size := int(self._file.readline(), 16):
            yield self._file.read(size)
            self._file.readline()
        self._file.readline()
