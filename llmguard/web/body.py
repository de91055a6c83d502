"""Read a request body, bounded."""

from starlette.types import Receive, Scope

from llmguard.domain.errors import Refusal

MOST_BODY_BYTES = 10 * 1024 * 1024


class HungUpError(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body.

    Raises:
        Refusal: request_too_large, by what is announced or by what arrives.
        HungUpError: the client went away.
    """
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > MOST_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUpError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MOST_BODY_BYTES:
            raise _too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large() -> Refusal:
    return Refusal(
        "request_too_large",
        f"The request is larger than {MOST_BODY_BYTES // 1024 // 1024} MiB.",
        hint="Send less text at once; no model reads that much.",
    )
