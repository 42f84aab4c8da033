"""Crowds of connections that ask for nothing, and heads without end."""

import asyncio
import socket
import sys
import threading
from contextlib import ExitStack

import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.server.connections import OpenConnections
from gatewayz_metrics.server.listener import bind_socket, listen

from tests.server.service import ServiceProcess, read_to_end, served
from tests.support.fake_upstream import Exchange, FakeUpstream
from tests.support.waiting import PATIENCE, wait_until

MEGABYTE = 10**6
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_silent_connections_switch_nothing_off() -> None:
    """attack.md H2: 500 silent sockets switch the service off, probes included."""
    with served() as service, ExitStack() as crowd:
        for _ in range(600):
            crowd.enter_context(service.connect())
        assert [service.get("/livez").status_code for _ in range(20)] == [200] * 20


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Half: "], ids=["silent", "half a head"])
def test_a_connection_without_a_whole_head_is_closed(sent: bytes) -> None:
    """attack.md H2: half-sent headers are never timed out."""
    with served(idle_timeout=0.5) as service, ExitStack() as crowd:
        connections = [crowd.enter_context(service.connect()) for _ in range(20)]
        for connection in connections:
            connection.sendall(sent)

        assert [read_to_end(connection) for connection in connections] == [b""] * 20


def test_a_connection_is_kept_for_the_next_request() -> None:
    with served() as service, service.connect() as connection:
        for _ in range(2):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@linux_only
@pytest.mark.parametrize(
    "begin",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\n",
        b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
    ids=["headers", "trailers"],
)
def test_endless_headers_cost_no_memory(begin: bytes) -> None:
    """attack.md H1: 300 MB of headers or 200 MB of trailers are taken into memory."""
    with served() as service:
        service.get("/livez")
        before = service.reset_peak_memory()
        sent = flood(service, begin)

        assert sent < 100 * MEGABYTE
        assert service.peak_memory() - before < 5 * MEGABYTE
        assert service.get("/livez").status_code == 200


def flood(service: ServiceProcess, begin: bytes) -> int:
    """How many bytes of up to 100 MB of headers the service takes before it ends the connection."""
    block = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 90) for number in range(1000))
    sent = 0
    with service.connect() as connection:
        try:
            connection.sendall(begin)
            while sent < 100 * MEGABYTE:
                connection.sendall(block)
                sent += len(block)
        except (BrokenPipeError, ConnectionResetError):
            pass
    return sent


def test_an_address_has_so_many_requests_under_way_and_no_more() -> None:
    """attack.md H2, H3: one client takes every place, and probes get 503."""
    held = threading.Event()

    def hold(exchange: Exchange) -> None:
        held.wait()
        exchange.reply(b'{"status":"success","data":["a"]}')

    ask = b"GET /api/v1/labels?match[]=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    settings = {"max_requests_per_address": 3, "prometheus_timeout": 60}
    with FakeUpstream(hold) as upstream, served(upstream.url, **settings) as service, ExitStack() as crowd:
        crowd.callback(held.set)
        first = [crowd.enter_context(service.connect()) for _ in range(3)]
        for number, connection in enumerate(first):
            connection.sendall(ask % number)
        wait_until(lambda: len(upstream.requests) == 3)

        refused = service.ask(ask % 4)
        other = crowd.enter_context(service.connect(sender="127.0.0.2"))
        other.sendall(ask % 5)
        wait_until(lambda: len(upstream.requests) == 4)
        assert service.get("/livez").status_code == 200
        assert service.refusals("address") == 1
        held.set()

        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused
        assert b'"status":"error"' in refused
        assert b"MAX_REQUESTS_PER_ADDRESS" in refused
        assert all(read_to_end(connection).startswith(b"HTTP/1.1 200 ") for connection in [*first, other])
        assert service.get("/api/v1/labels").status_code == 200


def test_what_waits_is_left_to_others_who_share_the_socket() -> None:
    """A process that accepts no more keeps its socket, as granian does, and takes nothing from it."""
    ours, theirs = socket.socketpair()
    with bind_socket(Settings(port=0)) as bound, ours, theirs:
        listen(bound)
        bound.setblocking(False)
        port = bound.getsockname()[1]
        # On its way to another process a descriptor is none of this one.
        socket.send_fds(ours, [b"-"], [bound.fileno()])
        connections = OpenConnections()
        asyncio.run(connections.drain(port, 0))

        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            with pytest.raises(BlockingIOError):
                bound.accept()
            _, [descriptor], _, _ = socket.recv_fds(theirs, 1, 1)
            with socket.socket(fileno=descriptor) as other:
                found, peer = other.accept()
                found.close()
                assert peer == client.getsockname()
        assert connections.closing
