"""Forms of pages: that they come from a page of ours, what is in them, and how often one client may send them."""

import asyncio
import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.requests import ClientDisconnect, Request

from llmguard.domain.clock import Clock

_MOST_BODY_BYTES: Final = 128 * 1024
_BODY_SECONDS: Final = 10
_MOST_FIELDS: Final = 50
_PERIOD_NS: Final = 60 * 1_000_000_000
_TURNS_A_CLIENT: Final = 20
_TURNS_OF_ALL: Final = 300
_MOST_CLIENTS: Final = 10_000
_IPV6_SITE_BITS: Final = 64  # one household or machine has that many addresses
_LEAST_FLAGGED: Final = "same-origin"
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Turns:
    """How often each client asked in the last minute; bounded, and forgotten with the process."""

    clock: Clock
    each: int = _TURNS_A_CLIENT
    together: int = _TURNS_OF_ALL
    _asked: OrderedDict[str, deque[int]] = field(default_factory=OrderedDict)
    _all: deque[int] = field(default_factory=deque)

    def take(self, client: str) -> bool:
        """Whether the client may ask now; if so, that counts."""
        now = self.clock.ticks()
        own = self._asked.setdefault(client, deque())
        self._asked.move_to_end(client)
        if len(self._asked) > _MOST_CLIENTS:
            self._asked.popitem(last=False)
        for times in (own, self._all):
            while times and now - times[0] >= _PERIOD_NS:
                times.popleft()
        if len(own) >= self.each or len(self._all) >= self.together:
            return False
        own.append(now)
        self._all.append(now)
        return True


def from_this_page(request: Request) -> bool:
    """Whether the form was sent by this page, by what browsers say of it; programs say nothing, and may ask."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in (_LEAST_FLAGGED, "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def client_of(request: Request) -> str:
    """Return who asks, by address; all of an IPv6 network of one household count as one."""
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return host
    return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))


async def read_form(request: Request) -> dict[str, str] | None:
    """Return the fields of the form; None if it is too long, too slow or no form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return None
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > _MOST_BODY_BYTES:
                    return None
        parsed = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except (ClientDisconnect, TimeoutError, ValueError):
        return None
    return {name: values[0] for name, values in parsed.items()}
