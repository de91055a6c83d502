"""What is answered to requests that may not even wait: made of little, since most of what comes then is refused."""

from collections.abc import Iterable

from llmguard.domain.errors import GuardError
from llmguard.gateway.recorder import Recorder
from llmguard.web.connection import READ_AT_ONCE, Slots
from llmguard.web.headers import Headers, id_headers, retry_headers, why_address
from llmguard.web.wire import encode_json, error_body

_HEAD = b"HTTP/1.1 %d Service Unavailable\r\n%s\r\n\r\n"


class Crowd:
    """Turns requests away while nobody else may wait: those that are no part of the sample which is traced."""

    def __init__(self, slots: Slots, recorder: Recorder, paths: Iterable[str]) -> None:
        """Turn away from these slots what is asked at these paths."""
        self.slots = slots
        self._recorder = recorder
        self._urls = frozenset(path.encode() for path in paths)

    def refusal(self, url: bytes, scheme: str, sent: Headers, more: Headers) -> bytes | None:
        """Return the answer to a POST, with `more` headers, or None if it has to go the way that all others go.

        So does a body that is long, or of unknown length.
        """
        headers = dict(sent)
        length = headers.get(b"content-length", b"")
        if url not in self._urls or not length.isdigit() or int(length) > READ_AT_ONCE or b"expect" in headers:
            return None
        error = self.slots.overloaded()
        return self._said(error, scheme, headers, more) if self._recorder.turns_away(error) else None

    def _said(self, error: GuardError, scheme: str, headers: dict[bytes, bytes], more: Headers) -> bytes:
        trace_id = self._recorder.trace_ids.new(self._recorder.clock.now())
        body = encode_json(error_body(error, trace_id, why_address(scheme, headers.get(b"host"), trace_id)))
        said = [
            *more,
            (b"content-type", b"application/json"),
            *retry_headers(error),
            (b"connection", b"close"),
            (b"content-length", b"%d" % len(body)),
            *id_headers(trace_id, headers.get(b"x-request-id")),
            (b"openai-processing-ms", b"0"),
        ]
        return _HEAD % (error.status, b"\r\n".join([b"%s: %s" % header for header in said])) + body
