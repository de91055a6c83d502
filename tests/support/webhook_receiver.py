"""A real receiver of webhooks on loopback: it keeps what it gets, and misbehaves as told. Stdlib only."""

import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"  # the one of the specification's examples


@dataclass
class Posted:
    """One request as it came in."""

    headers: dict[str, str]
    body: bytes
    path: str


@dataclass
class Receiver:
    """Answers with what is queued, then with `status`.

    Statuses: a number; "hang" answers never; "drip" sends a body without end; "close" drops the connection; a number
    with a location redirects there.
    """

    status: int | str = 204
    queue: deque = field(default_factory=deque)
    received: list[Posted] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def __enter__(self):
        receiver = self
        self._stop = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Posted(headers, body, self.path))
                receiver.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook?token=in-the-url"

    def answer(self, handler):
        status = self.queue.popleft() if self.queue else self.status
        if status == "hang":
            self._stop.wait(60)
            return
        if status == "close":
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        handler.send_response(200 if status == "drip" else status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        if status != "drip":
            handler.send_header("content-length", "0")
            handler.end_headers()
            return
        handler.end_headers()
        try:
            while not self._stop.is_set():
                handler.wfile.write(b"x" * 65536)
        except OSError:
            pass
        handler.close_connection = True

    def wait_for(self, count, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} events came"
            time.sleep(0.01)
        return self.received

    def ids(self):
        return [posted.headers["webhook-id"] for posted in self.received]
