"""The ingester's door for readers: HTTP on loopback, a key that only the owner of the data folder can read, JSON.

Besides reading, an erasure can be ordered (`erase`) and asked after (`erasure`). One route, `POST /read`,
`Authorization: Bearer <key>`, body `{"operation", "arguments"}`, answer `{"result", "fresh"}` or `{"error"}`. HTTP and
not a socket of our own, since notebooks and curl speak it and both sides have time-outs.
"""

import hmac
import json
import logging
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from llmguard.traces.erasing import Order
from llmguard.traces.errors import TraceQueryError, TraceStoreError
from llmguard.traces.orders import Orders
from llmguard.traces.queries import TraceQueries, answer

_IDLE_SECONDS = 10.0
_MAX_REQUEST_BYTES = 4 << 20
_AT_ONCE = 4
_LOG = logging.getLogger(__name__)


class Address(msgspec.Struct, frozen=True):
    """Where the door is: the content of `ingester.json`."""

    port: int
    key: str
    pid: int


class Question(msgspec.Struct, frozen=True):
    """A request's body."""

    operation: str
    arguments: dict[str, Any]  # Any: JSON, checked by each operation


@dataclass(frozen=True, slots=True)
class _Desk:
    """What each request needs."""

    queries: TraceQueries
    refresh: Callable[[], bool]
    key: str
    seats: threading.BoundedSemaphore
    orders: Orders


class Door:
    """Serves reads in threads of its own until it is closed."""

    def __init__(
        self, queries: TraceQueries, refresh: Callable[[], bool], address_file: Path, orders: Orders | None = None
    ) -> None:
        """Listen on a free port and write the address file, readable by the owner only.

        Args:
            queries: what is asked; closed by the caller, after the door.
            refresh: brings what is in the spool now into the store; False when it could not; TraceStoreError when
                the store is being closed.
            address_file: where readers find us; removed at the end.
            orders: where erasures are put; without, none is taken.
        """
        seats = threading.BoundedSemaphore(_AT_ONCE)
        desk = _Desk(queries, refresh, secrets.token_urlsafe(32), seats, orders or Orders())
        self._queries = queries
        self._address_file = address_file
        self._server = _Server(("127.0.0.1", 0), desk)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="trace-door", daemon=True)
        self._thread.start()
        _write_private(address_file, msgspec.json.encode(Address(self._server.server_port, desk.key, os.getpid())))

    def close(self) -> None:
        """Answer nobody any more; questions under way are stopped."""
        self._address_file.unlink(missing_ok=True)
        self._server.shutdown()
        self._queries.interrupt()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them: nobody reads from a closed store
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], desk: _Desk) -> None:
        super().__init__(address, _Handler)
        self.desk = desk

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the base class; Any too
        """Say that a reader went away or broke the protocol, without its content."""
        _LOG.info("a reader of traces went away")


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_SECONDS
    server: _Server
    server_version = "llmguard-traces"
    sys_version = ""

    def do_POST(self) -> None:
        """Answer one question."""
        desk = self.server.desk
        given = self.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {desk.key}".encode()):
            self._send(401, {"error": "the key of ingester.json is needed"})
            return
        length = int(self.headers.get("content-length") or 0)
        if self.path != "/read" or not 0 < length <= _MAX_REQUEST_BYTES:
            self._send(404, {"error": f"POST /read with JSON of at most {_MAX_REQUEST_BYTES} bytes"})
            return
        body = self.rfile.read(length)
        with desk.seats:
            self._send(*_reply(desk, body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it; Any too
        """Write nothing: reads are no events."""

    def _send(self, status: int, body: dict[str, Any]) -> None:  # Any: JSON
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)


def _reply(desk: _Desk, body: bytes) -> tuple[int, dict[str, Any]]:  # Any: JSON
    try:
        question = msgspec.json.decode(body, type=Question)
    except msgspec.DecodeError:
        return 400, {"error": "the body is no question"}
    if question.operation in ("erase", "erasure"):
        return _order(desk.orders, question)
    try:
        fresh = desk.refresh()
        result = answer(desk.queries, question.operation, question.arguments)
    except TraceQueryError as error:
        return 400, {"error": str(error)}
    except TraceStoreError as error:
        return 503, {"error": str(error)}
    except duckdb.Error as error:
        _LOG.error("the trace store cannot be read: %s", type(error).__name__)
        return 503, {"error": "the trace store cannot be read now"}
    return 200, {"result": result, "fresh": fresh}


def _order(orders: Orders, question: Question) -> tuple[int, dict[str, Any]]:  # Any: JSON
    """Take an order, or tell what became of one."""
    try:
        if question.operation == "erase":
            orders.place(msgspec.convert(question.arguments, Order))
            return 200, {"result": None, "fresh": True}
        progress = orders.progress(str(question.arguments["id"]))
    except (TraceQueryError, msgspec.ValidationError, KeyError) as error:
        return 400, {"error": str(error)}
    return 200, {"result": None if progress is None else msgspec.to_builtins(progress), "fresh": True}


def _write_private(path: Path, content: bytes) -> None:
    """Replace a file at once, readable by the owner only."""
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    part.replace(path)
