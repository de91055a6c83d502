"""What is answered to requests that may not even wait: made of little, since most of what comes then is refused."""

from collections.abc import Iterable

from llmguard.gateway.recorder import Recorder
from llmguard.web.connection import READ_AT_ONCE, announced_bytes
from llmguard.web.headers import Headers, id_headers, retry_headers, why_address
from llmguard.web.slots import Slots
from llmguard.web.wire import encode_json, error_body

_STATUS_LINE = b"HTTP/1.1 503 Service Unavailable\r\n"
_ID, _WHY = "{id}", "{why}"  # places in the body


class Crowd:
    """Turns requests away while nobody else may wait: those that are no part of the sample which is traced."""

    def __init__(self, slots: Slots, recorder: Recorder, paths: Iterable[str]) -> None:
        """Turn away from these slots what is asked at these paths."""
        self.slots = slots
        self._recorder = recorder
        self._urls = frozenset(path.encode() for path in paths)
        self._dated: Headers = []
        self._prepare(self._dated)

    def refusal(self, url: bytes, scheme: str, sent: Headers, dated: Headers) -> bytes | None:
        """Return the answer to a POST, or None if it has to go the way that all others go.

        So does a body that is long, or of unknown length. `dated` are the server's own headers, another list whenever
        they change, once a second: what the answers of that time share is made then.
        """
        headers = dict(sent)
        length = announced_bytes(headers)
        if url not in self._urls or length is None or length > READ_AT_ONCE or b"expect" in headers:
            return None
        if dated is not self._dated:
            self._dated = dated
            self._prepare(dated)
        return self._said(scheme, headers) if self._recorder.turns_away(self._error) else None

    def _prepare(self, dated: Headers) -> None:
        self._error = error = self.slots.overloaded()
        shared = [
            *dated,
            (b"content-type", b"application/json"),
            *retry_headers(error),
            (b"connection", b"close"),
            (b"openai-processing-ms", b"0"),
        ]
        self._head = _STATUS_LINE + _lines(shared)
        body = encode_json(error_body(error, _ID, _WHY))
        self._before_id, _, rest = body.partition(_ID.encode())
        self._before_why, _, self._after_why = rest.partition(_WHY.encode())

    def _said(self, scheme: str, headers: dict[bytes, bytes]) -> bytes:
        trace_id = self._recorder.trace_ids.new(self._recorder.clock.now())
        why = why_address(scheme, headers.get(b"host"), trace_id).encode()
        body = b"".join((self._before_id, trace_id.encode(), self._before_why, why, self._after_why))
        own = [(b"content-length", b"%d" % len(body)), *id_headers(trace_id, headers.get(b"x-request-id"))]
        return b"".join((self._head, _lines(own), b"\r\n", body))


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])
