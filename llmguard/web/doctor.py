"""The page `/doctor`: paste a key, an error, a trace id or an address, and read what is wrong and who can mend it.

It needs no login, keeps nothing and sets no cookie: a key comes in the body of a POST from this page itself, is looked
up and forgotten, and is never written into an answer or a log. Whoever guesses keys here learns no more than at the
API, and more slowly: each client has a few turns a minute.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from llmguard.catalog.diagnosis.answer import OPERATOR, YOU, Answer
from llmguard.catalog.diagnosis.doctor import Question, Sources, diagnose
from llmguard.catalog.why import outline
from llmguard.domain.chat import JsonObject
from llmguard.domain.errors import Fault, GuardError
from llmguard.gateway.services import Services
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.web.forms import Turns, client_of, from_this_page, read_form
from llmguard.web.pages import PAGE_HEADERS, load_page

_PATIENCE_SECONDS: Final = 10
_AT_ONCE: Final = 4


class DoctorPage:
    """`GET` and `POST /doctor`."""

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

    async def show(self, request: Request) -> Response:
        """`GET /doctor`: the form. Nothing is read of the address: a key does not belong there."""
        return self._render(request, None)

    async def answer(self, request: Request) -> Response:
        """`POST /doctor`: the form with what is wrong above it."""
        if not from_this_page(request):
            words = "This came from another web page, and the doctor answers its own form only."
            return self._render(
                request, Answer("cross_site", words, "Open /doctor itself and paste it there.", YOU), 403
            )
        if not self._turns.take(client_of(request)):
            words = "The doctor was asked very often in the last minute."
            page = self._render(request, Answer("rate_limit_exceeded", words, "Wait a minute and ask again.", YOU), 429)
            page.headers["retry-after"] = "60"
            return page
        fields = await read_form(request)
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
