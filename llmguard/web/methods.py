"""Send a request on by its HTTP method, with an answer of ours where the router would give its own."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send


class ByMethod:
    """An ASGI endpoint for several methods of one path."""

    def __init__(self, endpoints: Mapping[str, ASGIApp], *, otherwise: ASGIApp) -> None:
        """Serve the named methods, and every other one with `otherwise`."""
        self._endpoints = endpoints
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._endpoints.get(scope["method"], self._otherwise)(scope, receive, send)
