"""`/console/sign-in` and sign-out."""

import asyncio
import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from llmguard.domain.operators import OperatorRefused
from llmguard.web.forms import Turns, client_of, from_this_page, read_form
from llmguard.web.operators import CONSOLE, SIGN_IN, Guard, Visit, cookie_of, drop_cookie, set_cookie
from llmguard.web.pages import PAGE_HEADERS, load_page

_NEXT: Final = re.compile(r"/console/[A-Za-z0-9._~/-]{0,200}")  # nothing that a browser takes for another site
_OTHER_PAGE: Final = "This came from another web page. Open the sign-in page itself, and try again."
_OFTEN: Final = "Somebody tried very often in the last minute. Wait a minute, and try again."
_NO_FORM: Final = "What was sent is not what the form sends."


class SignIn:
    """The way in for people: a token is pasted, a session begins. Open to everybody."""

    def __init__(self, guard: Guard) -> None:
        """Let operators of this guard in."""
        self._guard = guard
        self._turns = Turns(guard.services.clock)
        self._page = load_page("sign_in.html")

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route(SIGN_IN, self.show, methods=["GET"])
        router.add_api_route(SIGN_IN, self.enter, methods=["POST"])
        return router

    async def show(self, request: Request) -> Response:
        """Show the form."""
        return self._render(request, None, 200)

    async def enter(self, request: Request) -> Response:
        """Begin a session for whoever sends a token that is in force."""
        if not from_this_page(request):
            return self._render(request, _OTHER_PAGE, 403)
        if not self._turns.take(client_of(request)):
            return self._render(request, _OFTEN, 429)
        fields = await read_form(request)
        if fields is None:
            return self._render(request, _NO_FORM, 400)
        store = self._guard.store
        try:
            token = await asyncio.to_thread(store.token_of, fields.get("token", "").strip())
        except OperatorRefused as refused:
            return self._render(request, f"{refused.message} {refused.hint}", refused.status)
        cookie = await asyncio.to_thread(store.open_session, token.operator(), token=token)
        return entered(request, cookie, fields.get("next", ""))

    def _render(self, request: Request, problem: str | None, status: int) -> HTMLResponse:
        base_url = f"{request.url.scheme}://{request.url.netloc}/v1"
        page = self._page.render(
            problem=problem,
            next=page_after(request.query_params.get("next", "")),
            base_url=base_url,
            openid=self._guard.services.registry.operators is not None,
        )
        return HTMLResponse(page, status, headers=PAGE_HEADERS)


def entered(request: Request, cookie: str, wanted: str) -> Response:
    """Answer a sign-in that went well: the session, and the way to the page that was asked for."""
    response = RedirectResponse(page_after(wanted), 303, headers=PAGE_HEADERS)
    set_cookie(request, response, cookie)
    return response


def page_after(wanted: str) -> str:
    """Return the page to show after the sign-in: one of ours, whatever was asked for."""
    return wanted if _NEXT.fullmatch(wanted) and ".." not in wanted and "//" not in wanted else CONSOLE


def sign_out_router(guard: Guard) -> APIRouter:
    """Return the way out."""
    router = APIRouter()

    @router.post("/console/sign-out")
    async def sign_out(request: Request, visit: Annotated[Visit, Depends(guard.require("console.open"))]) -> Response:
        del visit
        response = RedirectResponse(SIGN_IN, 303, headers=PAGE_HEADERS)
        if (cookie := cookie_of(request)) is not None:
            await asyncio.to_thread(guard.store.close_session, cookie)
            drop_cookie(request, response)
        return response

    return router
