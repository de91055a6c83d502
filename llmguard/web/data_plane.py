"""The `/v1` routes: OpenAI's paths as plain ASGI endpoints, parsed and answered as bytes.

A handler parses, calls one function, and presents. Nothing here decides.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from starlette.types import ASGIApp, Receive, Scope, Send

from llmguard.domain.catalog import Caller
from llmguard.domain.chat import ChatRequest, JsonObject
from llmguard.domain.eager import Begun
from llmguard.domain.errors import Fault, GuardError, Refusal
from llmguard.gateway.pipeline import Incoming, authenticate, govern
from llmguard.gateway.recorder import Record
from llmguard.gateway.services import Services
from llmguard.idempotency.claims import LARGEST_ANSWER_BYTES, Claim
from llmguard.idempotency.store import KeptAnswer
from llmguard.identity.keyring import Credential
from llmguard.identity.scopes import check_preset
from llmguard.registry.resolve import resolve_preset
from llmguard.web.connection import READ_AT_ONCE, Delivery, HangUp, HungUpError, announced_bytes, read_body
from llmguard.web.exchange import Arrival, Exchange, OpenExchange
from llmguard.web.headers import Headers, answer_headers, cors_headers, note_own_ids, retry_headers, why_address
from llmguard.web.response_ids import ResponseIds
from llmguard.web.slots import Slots
from llmguard.web.wire import encode_json, error_body

_log = logging.getLogger(__name__)
_PATHS = ("/chat/completions", "/responses", "/completions", "/embeddings", "/models", "/me")
_KEY_IS_FRESH_MS = 250  # within which every worker learns of a revoked key anyway
_SAID_AT_ONCE = 64 * 1024  # bytes from which on a stream is sent before more is taken, however fast it comes
_JSON = [(b"content-type", b"application/json")]
_CLOSE = [(b"connection", b"close")]  # of callers who would only ask again; new ones are let in a few at a time
_KEPT_HEADERS = frozenset({b"x-llmguard-preset", b"x-llmguard-adjusted", b"x-llmguard-redactions"})
_EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx in front would hold the stream back
]
Present = Callable[[Services, Record, Caller], Awaitable[JsonObject]]


class Governed:
    """A `POST` of the data plane: one request through the nine steps, in the words of one endpoint."""

    def __init__(
        self, services: Services, endpoint: str, exchange: OpenExchange, response_ids: ResponseIds, slots: Slots
    ) -> None:
        """Answer with these services; `exchange` translates; `slots` are shared by all endpoints of the worker."""
        self._services = services
        self._slots = slots
        self._response_ids = response_ids
        self._endpoint = endpoint
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if there is room for it."""
        door = _Door(self._services, scope, send, self._endpoint)
        try:
            # Strangers send no bodies, and take nobody's place: the key is looked at first.
            credential = self._services.keyring.authenticate(door.authorization)
            await self._slots.take(credential.app)
        except GuardError as refusal:
            await door.refuse(refusal, _CLOSE if self._slots.is_crowded and door.has_all() else None)
            return
        try:
            await self._serve(door, credential, receive)
        except HungUpError:
            pass  # nobody is there, or whoever is reads nothing any more
        finally:
            self._slots.give(credential.app)

    async def _serve(self, door: "_Door", credential: Credential, receive: Receive) -> None:
        services = self._services
        try:
            body = await read_body(door.headers, receive)
            key = door.header(b"idempotency-key")
            claim = None if key is None else await self._claim(credential.app, key, body, receive)
        except GuardError as refusal:
            await door.refuse(refusal)
            return
        arrival = Arrival(body, door.record.trace.trace_id, credential.app, services.tokens, self._response_ids)
        exchange = self._exchange(arrival)
        hang_up = HangUp(receive)

        def parse() -> ChatRequest:
            request = exchange.parse()
            # A stream is cut off at the provider too, unless the caller can come back for it. A whole answer is waited
            # for: it is billed anyway, and its usage is known only at its end.
            if request.stream and door.claim is None:
                hang_up.watch()
            return request

        is_fresh = door.record.elapsed_ms() < _KEY_IS_FRESH_MS  # else it may have been revoked while the body came
        known = credential if is_fresh else None
        incoming = Incoming(door.authorization, door.header(b"origin"), parse, known)
        if isinstance(claim, KeptAnswer):
            await door.repeat(incoming, claim)
            return
        events = govern(services, door.record, incoming)
        door.claim = claim
        try:
            async with aclosing(events), hang_up:
                await door.answer(events, exchange)
        finally:
            if claim is not None:
                claim.give_up()

    async def _claim(self, app: str, key: str, body: bytes, receive: Receive) -> Claim | KeptAnswer:
        """Return the right to answer a request that can be repeated, or the answer that it got before."""
        claimed: Claim | KeptAnswer | None = None
        async with HangUp(receive) as hang_up:
            hang_up.watch()
            claimed = await self._services.claims.claim(app, key, self._endpoint, body)
        if claimed is None:
            raise HungUpError
        return claimed


class Application:
    """All of llmguard as one ASGI application; what apps send is served before FastAPI's middlewares and routes."""

    def __init__(self, app: ASGIApp, governed: Mapping[str, Governed]) -> None:
        """Serve `POST` to these paths straight away, everything else by `app`."""
        self._app = app
        self._governed = governed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the application."""
        endpoint: ASGIApp = self._app
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._governed.get(scope["path"], self._app)
        await endpoint(scope, receive, send)


class Listing:
    """A `GET` of the data plane: authenticated and traced like every request, answered at once."""

    def __init__(self, services: Services, endpoint: str, present: Present, *, status: int = 200) -> None:
        """Answer with what `present` returns; `endpoint` is what the trace says, never what was typed."""
        self._services = services
        self._endpoint = endpoint
        self._present = present
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive  # nothing is read of the body
        door = _Door(self._services, scope, send, self._endpoint)
        incoming = Incoming(door.authorization, door.header(b"origin"), parse=_never)
        try:
            async with door.record as record:
                caller = authenticate(self._services, record, self._services.registry, incoming)
                body = await self._present(self._services, record, caller)
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, the caller gets an answer of ours
            await door.fail(error)
        else:
            await door.send_json(self._status, body, [])


class NotFound:
    """Any other path, or any other method of a path under `/v1`."""

    def __init__(self, services: Services, error: Callable[[str], GuardError], *, allowed: str | None = None) -> None:
        """Refuse with this error of a path; `allowed` are the methods that it takes, if it is one of ours."""
        self._services = services
        self._error = error
        self._headers: Headers = [(b"allow", allowed.encode())] if allowed else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request. It is not traced: nobody is known to have sent it, and its path could be anything."""
        del receive
        await _Door(self._services, scope, send, "other").fail(self._error(scope["path"]), self._headers)


def no_such_path(path: str) -> GuardError:
    """Return the refusal of a path that is not served; it knows the usual mistakes in a base URL."""
    rest = path.rstrip("/")
    doubled = rest.startswith("/v1/v1/")
    while rest.startswith("/v1/"):
        rest = rest.removeprefix("/v1")
    if rest in _PATHS and doubled:
        hint = (
            f"/v1 is there twice: the path is /v1{rest}. Some tools add /v1 themselves: give them the base URL without."
        )
    elif (end := next((known for known in _PATHS if rest.endswith(known)), None)) is not None:
        hint = (
            f"The path is /v1{end}: give the tool the base URL of llmguard with /v1 at its end, and nothing after it."
        )
    else:
        hint = (
            "Use POST /v1/chat/completions, /v1/responses, /v1/completions or /v1/embeddings, GET /v1/models or GET "
            "/v1/me. The base URL ends in /v1."
        )
    return Refusal("not_found", "llmguard does not serve this path.", hint=hint)


def no_such_method(path: str) -> GuardError:
    """Return the refusal of a method that a path does not take."""
    del path
    return Refusal(
        "method_not_allowed",
        "This path does not take this method.",
        hint="GET /v1/models and /v1/me, POST to the others.",
    )


class _Door:
    """One request and the way back to its caller."""

    def __init__(self, services: Services, scope: Scope, send: Send, endpoint: str) -> None:
        self._services = services
        self._scope = scope
        self._send = send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.authorization = self._authorization()
        self._started = False
        self.claim: Claim | None = None  # then what is sent is kept for whoever repeats the request
        self._kept = bytearray()
        self._said = bytearray()  # of a stream, and not sent yet
        self._delivery = Delivery()
        self._broken: Callable[[JsonObject], bytes]  # how a stream that has begun says that it failed
        self.record = services.recorder.open(endpoint)
        note_own_ids(self.record.trace, self.header(b"x-request-id"), self.header(b"traceparent"))

    def header(self, name: bytes) -> str | None:
        """Return a request header, or None."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value is not None else None

    def has_all(self) -> bool:
        """Return whether the body is so short that it came with its headers.

        Trap: a connection that is closed while more comes is reset, and the answer may get lost.
        """
        length = announced_bytes(self.headers)
        return length is not None and length <= READ_AT_ONCE

    def _authorization(self) -> str | None:
        """Return the `Authorization` header, or what stands for it: some tools have a box for a key header only."""
        bearer = self.header(b"authorization")
        if bearer is not None:
            return bearer
        key = self.header(b"api-key") or self.header(b"x-api-key")  # as for Azure, as for Anthropic
        return f"Bearer {key}" if key else None

    async def answer(self, answers: AsyncGenerator[list[JsonObject], None], exchange: Exchange) -> None:
        """Send a governed answer: whole or as a stream, or the error that ended it."""
        self._broken = exchange.broken
        try:
            while (came := await self._next(answers)) is not None:
                if self.record.trace.stream:
                    self._note(exchange.events(came))
                else:
                    content = encode_json(exchange.whole(came[0]))
                    await self._keep(_JSON, content)
                    await self._send_whole(200, _JSON, content)
            if self.record.trace.stream:
                last = exchange.end()
                await self._keep(_EVENT_STREAM, bytes(self._kept + last))
                await self._end_stream(last)
        except HungUpError:
            raise
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, the caller gets an answer of ours
            await self.fail(error)
        finally:
            self._delivery.stop()

    def _note(self, said: bytes) -> None:
        """Take note of what is said of a stream: to be sent, and to be kept unless it is more than is kept of one."""
        self._said += said
        if self.claim is not None and len(self._kept) <= LARGEST_ANSWER_BYTES:
            self._kept += said

    async def _next(self, answers: AsyncGenerator[list[JsonObject], None]) -> list[JsonObject] | None:
        """Return what comes next, None at the end; if it is not there yet, send first what was said.

        Trap: nothing else may be awaited while a next part is begun. A cancellation would end that wait and not the
        generator's, which could never be closed again: its hold would stay, and no trace be written.
        """
        coming = Begun(anext(answers, None))
        if self._said and (not coming.done or len(self._said) >= _SAID_AT_ONCE):
            self._delivery.begin(self._say())
        came = coming.result if coming.done else await coming
        await self._delivery.taken()
        return came

    async def _say(self) -> None:
        """Send what is said of a stream."""
        if not self._started:
            await self._start(200, _EVENT_STREAM)
        said, self._said = bytes(self._said), bytearray()
        await self._send({"type": "http.response.body", "body": said, "more_body": True})

    async def fail(self, error: Exception, headers: Headers | None = None) -> None:
        """Answer with an error; a bug is said to be one, without its details."""
        if not isinstance(error, GuardError):
            _log.error("request %s failed: %s", self.record.trace.trace_id, type(error).__name__)
            error = Fault("internal_error", "llmguard itself failed on this request.", hint=self._report_hint())
        body = error_body(error, self.record.trace.trace_id, self._why())
        if self._started or self._said:
            await self._end_stream(self._broken(body))
        else:
            await self.send_json(error.status, body, retry_headers(error) + (headers or []))

    async def refuse(self, error: GuardError, headers: Headers | None = None) -> None:
        """Trace and answer a refusal that was found before the pipeline began."""
        try:
            async with self.record:
                raise error
        except GuardError:
            await self.fail(error, headers)

    async def send_json(self, status: int, body: JsonObject, headers: Headers) -> None:
        """Send a whole answer."""
        await self._send_whole(status, _JSON + headers, encode_json(body))

    async def repeat(self, incoming: Incoming, kept: KeptAnswer) -> None:
        """Send the answer that the first request got, if its app may still be used; nothing is charged for it."""
        try:
            async with self.record as record:
                caller = authenticate(self._services, record, self._services.registry, incoming)
                self._check_scope(caller, kept)
                record.repeated(kept.trace_id)
        except Exception as error:  # noqa: BLE001 - the border: whatever it is, the caller gets an answer of ours
            await self.fail(error)
        else:
            await self._send_whole(200, [*kept.headers, (b"idempotent-replayed", b"true")], kept.body)

    def _check_scope(self, caller: Caller, kept: KeptAnswer) -> None:
        """Refuse a key that could not have asked for the answer that another key of its app got."""
        if caller.scope is not None and (preset_id := dict(kept.headers).get(b"x-llmguard-preset")) is not None:
            services = self._services
            today = services.clock.now().date()
            check_preset(caller, resolve_preset(services.registry, caller.app, preset_id.decode(), today=today))

    async def _keep(self, headers: Headers, content: bytes) -> None:
        """Keep an answer before the last of it is sent, so that whoever has it all can have it again."""
        if self.claim is None:
            return
        own = answer_headers(self.record, None)
        kept = [*headers, *(header for header in own if header[0] in _KEPT_HEADERS)]
        try:
            await self.claim.keep(KeptAnswer(self.record.trace.trace_id, kept, content))
        except Fault as fault:  # the app gets its answer all the same: it is paid for
            _log.error("the answer of trace %s cannot be repeated: %s", self.record.trace.trace_id, fault.message)

    async def _send_whole(self, status: int, headers: Headers, content: bytes) -> None:
        self._delivery.begin(self._answer_whole(status, headers, content))
        await self._delivery.taken()

    async def _answer_whole(self, status: int, headers: Headers, content: bytes) -> None:
        await self._start(status, [*headers, (b"content-length", b"%d" % len(content))])
        await self._send({"type": "http.response.body", "body": content})

    async def _start(self, status: int, headers: Headers) -> None:
        self._started = True
        own = answer_headers(self.record, self.headers.get(b"x-request-id"))
        cors = cors_headers(self.record.app, self.headers.get(b"origin"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers + own + cors})

    async def _end_stream(self, last: bytes) -> None:
        async def send() -> None:
            if not self._started:
                await self._start(200, _EVENT_STREAM)
            said, self._said = bytes(self._said + last), bytearray()
            await self._send({"type": "http.response.body", "body": said})

        await self._delivery.taken()
        self._delivery.begin(send())
        await self._delivery.taken()

    def _why(self) -> str:
        return why_address(self._scope["scheme"], self.headers.get(b"host"), self.record.trace.trace_id)

    def _report_hint(self) -> str:
        return f"Try again; if it stays, report the trace id {self.record.trace.trace_id} to whoever runs llmguard."


def _never() -> ChatRequest:
    raise AssertionError("a listing has no body")
