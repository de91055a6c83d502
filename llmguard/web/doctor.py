"""The page `/doctor`: paste a key, an error, a trace id or an address, and read what is wrong and who can mend it.

It needs no login, keeps nothing and sets no cookie: a key comes in the body of a POST from this page itself, is looked
up and forgotten, and is never written into an answer or a log. Whoever guesses keys here learns no more than at the
API, and more slowly: each client has a few turns a minute.
"""

import asyncio
import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from llmguard.catalog.diagnosis.answer import OPERATOR, YOU, Answer
from llmguard.catalog.diagnosis.doctor import Question, Sources, diagnose
from llmguard.catalog.why import outline
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock
from llmguard.domain.errors import Fault, GuardError
from llmguard.gateway.services import Services
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.pages import PAGE_HEADERS, load_page

_MOST_BODY_BYTES: Final = 128 * 1024
_BODY_SECONDS: Final = 10
_PATIENCE_SECONDS: Final = 10
_AT_ONCE: Final = 4
_MOST_FIELDS: Final = 10
_PERIOD_NS: Final = 60 * 1_000_000_000
_TURNS_A_CLIENT: Final = 20
_TURNS_OF_ALL: Final = 300
_MOST_CLIENTS: Final = 10_000
_IPV6_SITE_BITS: Final = 64  # one household or machine has that many addresses
_LEAST_FLAGGED: Final = "same-origin"
_FORM: Final = "application/x-www-form-urlencoded"
_STATIC: Final = {"doctor.css": "text/css; charset=utf-8", "doctor.js": "text/javascript; charset=utf-8"}


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


class DoctorPage:
    """`GET` and `POST /doctor`, and the two files that the page loads."""

    def __init__(
        self,
        services: Services,
        show_trace: Callable[[str], dict[str, Any] | None],
        is_set: Callable[[str], bool],
    ) -> None:
        """Look at these services; `show_trace` may block, `is_set` says whether a provider's variable is set."""
        self._services = services
        self._show_trace = show_trace
        self._is_set = is_set
        self._turns = Turns(services.clock)
        self._few = asyncio.Semaphore(_AT_ONCE)
        self._page = load_page("doctor.html")
        self._files = {name: (files("llmguard.web") / "static" / name).read_bytes() for name in _STATIC}

    async def show(self, request: Request) -> Response:
        """`GET /doctor`: the form. Nothing is read of the address: a key does not belong there."""
        return self._render(request, None)

    async def file(self, request: Request) -> Response:
        """`GET /doctor/{name}`: style and script."""
        name = request.path_params["name"]
        if name not in self._files:
            return Response("There is no such file.\n", status_code=404, media_type="text/plain")
        headers = {"cache-control": "max-age=3600", "x-content-type-options": "nosniff"}
        return Response(self._files[name], headers=headers, media_type=_STATIC[name])

    async def answer(self, request: Request) -> Response:
        """`POST /doctor`: the form with what is wrong above it."""
        if not _from_this_page(request):
            words = "This came from another web page, and the doctor answers its own form only."
            return self._render(
                request, Answer("cross_site", words, "Open /doctor itself and paste it there.", YOU), 403
            )
        if not self._turns.take(_client(request)):
            words = "The doctor was asked very often in the last minute."
            page = self._render(request, Answer("rate_limit_exceeded", words, "Wait a minute and ask again.", YOU), 429)
            page.headers["retry-after"] = "60"
            return page
        fields = await _fields(request)
        if fields is None:
            words = "What was sent is too long, or not what the form sends."
            return self._render(
                request, Answer("invalid_request", words, "Paste the part with the error only.", YOU), 400
            )
        try:
            async with self._few:
                found = await diagnose(_question(fields), self._sources())
        except GuardError as error:
            found = Answer(error.code, error.message, error.hint or "Try again in a moment.", OPERATOR)
        return self._render(request, found)

    def _sources(self) -> Sources:
        services = self._services
        return Sources(
            registry=services.registry,
            look_up=services.keyring.look_up,
            standings=services.ledger.standings,
            explain=self._explain,
            is_set=self._is_set,
            now=services.clock.now(),
        )

    async def _explain(self, trace_id: str) -> JsonObject | None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                trace = await asyncio.to_thread(self._show_trace, trace_id)
        except (TraceStoreError, TraceQueryError, TimeoutError):
            raise Fault("overloaded", "The trace store does not answer now.", hint="Try again in a moment.") from None
        return None if trace is None else outline(trace)

    def _render(self, request: Request, answer: Answer | None, status: int = 200) -> HTMLResponse:
        base_url = f"{request.url.scheme}://{request.url.netloc}/v1"
        return HTMLResponse(
            self._page.render(answer=answer, base_url=base_url), status_code=status, headers=PAGE_HEADERS
        )


def _from_this_page(request: Request) -> bool:
    """Whether the form was sent by this page, by what browsers say of it; programs say nothing, and may ask."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in (_LEAST_FLAGGED, "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _client(request: Request) -> str:
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return host
    return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))


async def _fields(request: Request) -> dict[str, str] | None:
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


def _question(fields: Mapping[str, str]) -> Question:
    return Question(
        text=fields.get("text", ""),
        key=fields.get("key", "")[:2000],
        base_url=fields.get("base_url", "")[:2000],
        preset=fields.get("preset", "")[:256],
        origin=fields.get("origin", "")[:2000],
        caller_time=_instant(fields.get("client_time", "")),
    )


def _instant(text: str) -> datetime | None:
    """Return what the browser's clock said, if it is an instant in UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
