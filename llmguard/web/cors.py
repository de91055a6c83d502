"""CORS preflights: a web page may call when the catalog lists its origin for an app."""

import re

from starlette.types import Receive, Scope, Send

from llmguard.gateway.services import Services
from llmguard.web.headers import Headers

_PREFLIGHT_SECONDS = 600
_HEADER = re.compile(
    rb"authorization|(?:x-)?api-key|content-type|accept|user-agent|x-request-id|idempotency-key|traceparent"
    rb"|(?:openai|x-stainless)-[a-z-]{1,40}"
)


class Preflight:
    """`OPTIONS` on a data-plane path. The key comes only with the request itself, so any listed origin may ask."""

    def __init__(self, services: Services) -> None:
        """Answer by the registry of these services."""
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one preflight request."""
        del receive
        origin = dict(scope["headers"]).get(b"origin", b"")
        text = origin.decode("latin-1")
        listed = any(text in app.origins for app in self._services.registry.apps.values())
        headers: Headers = [(b"vary", b"Origin")]
        if listed:
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-methods", b"GET, POST"),
                (b"access-control-allow-headers", _wanted_headers(scope)),
                (b"access-control-max-age", str(_PREFLIGHT_SECONDS).encode()),
            ]
        await send({"type": "http.response.start", "status": 204 if listed else 403, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _wanted_headers(scope: Scope) -> bytes:
    """Return those of the headers asked for that the clients of OpenAI send."""
    asked = dict(scope["headers"]).get(b"access-control-request-headers", b"").lower().split(b",")
    return b", ".join(name.strip() for name in asked if _HEADER.fullmatch(name.strip()))
