"""Apps that read their stream slowly, or not at all, over real sockets."""

import json
import socket
import time

import pytest

from llmguard.domain.clock import SystemClock
from llmguard.quota.store import LedgerStore
from llmguard.web import connection as connections
from tests.support.provider_server import ProviderServer
from tests.support.served import Served, a_registry_at

PIECE = 20_000  # characters of an event: some of them fill every buffer between the gateway and the app
EVENTS = 60
PAUSE = 0.05  # seconds between two events


@pytest.fixture
def provider():
    with ProviderServer() as server:
        server.script(f"text={'a b ' * (PIECE * EVENTS // 4)}+chars={PIECE}+pause={PAUSE}")
        yield server


@pytest.fixture
def served(tmp_path, provider):
    with Served(tmp_path, registry=a_registry_at(provider.base_url)) as served:
        served._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        yield served


def ask_and_do_not_read(served):
    """Return a connection on which a stream was asked for, of which nothing is read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(served._socket.getsockname())
    body = json.dumps({"model": "summarise", "stream": True, "messages": [{"role": "user", "content": "hello"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


def waits_for_the_app(served, provider):
    """Return whether the gateway comes to hold an event that it cannot send."""
    open_ones = served._server.server_state.connections
    is_full = provider.wait_for(lambda: any(one.flow.write_paused for one in open_ones))
    time.sleep(4 * PAUSE)  # and there is another one to send
    return is_full


def holds(served):
    store = LedgerStore(served.data / "state.db", SystemClock(), busy_timeout_seconds=1)
    try:
        return store.holds()
    finally:
        store.close()


def read_all(connection):
    connection.settimeout(20)
    received = b""
    while not received.endswith(b"0\r\n\r\n") and (part := connection.recv(1 << 16)):
        received += part
    return received


def test_who_hangs_up_while_much_is_unread_is_settled_and_traced(served, provider):
    with ask_and_do_not_read(served):
        assert waits_for_the_app(served, provider)
    assert provider.wait_for(lambda: served.reader.list(limit=10))
    (trace,) = served.reader.list(limit=10)

    assert (trace["status"], trace["code"]) == (499, "client_disconnected")
    assert provider.wait_for(lambda: provider.received[0].outcome == "hung_up")
    assert provider.wait_for(lambda: not holds(served))


def test_who_reads_nothing_for_too_long_is_hung_up_on(served, provider, monkeypatch):
    monkeypatch.setattr(connections, "_LONGEST_UNREAD_SECONDS", 0.3)
    with ask_and_do_not_read(served):
        assert provider.wait_for(lambda: served.reader.list(limit=10))
        (trace,) = served.reader.list(limit=10)

    assert (trace["status"], trace["code"]) == (499, "client_disconnected")
    assert provider.wait_for(lambda: provider.received[0].outcome == "hung_up")
    assert provider.wait_for(lambda: not holds(served))


def test_who_reads_late_gets_it_all_in_order(served, provider):
    with ask_and_do_not_read(served) as connection:
        assert waits_for_the_app(served, provider)
        received = read_all(connection)

    assert received.count(b"a b ") == PIECE * EVENTS // 4
    assert received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
