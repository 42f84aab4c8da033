"""The sockets of several workers on one port."""

import socket
import sys
from contextlib import ExitStack, closing
from functools import partial

import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.server.listener import bind_socket, listen
from gatewayz_metrics.server.listeners import Listeners


def settings(port: int = 0, host: str = "127.0.0.1") -> Settings:
    return Settings(host=host, port=port, workers=2)


def port_of(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port


def test_a_port_of_one_process_is_found_to_be_taken() -> None:
    with bind_socket(settings()) as other:
        listen(other)
        with pytest.raises(ConfigurationError, match=r"cannot be used \(Address already in use\)"):
            Listeners(settings(port_of(other)))


def test_a_port_of_several_processes_is_found_to_be_taken() -> None:
    """Although sockets of one service have the same port."""
    with closing(Listeners(settings())) as listeners:
        port = port_of(listeners.get(0))
        with pytest.raises(ConfigurationError, match="cannot be used"):
            Listeners(settings(port))
        with pytest.raises(ConfigurationError, match="cannot be used"):
            bind_socket(settings(port))


def test_a_port_is_kept_while_nobody_listens() -> None:
    with closing(Listeners(settings())) as listeners:
        port = port_of(listeners.get(0))
        for number in range(2):
            listeners.withdraw(number)

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert port_of(listeners.get(1)) == port
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all workers share one socket")
def test_the_kernel_spreads_connections_even_in_a_burst() -> None:
    """On one socket for all, the first that wakes would take them."""
    with closing(Listeners(settings())) as listeners, ExitStack() as stack:
        sockets = [listeners.get(number) for number in range(2)]
        for _ in range(64):
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(sockets[0]))))
        for bound in sockets:
            bound.setblocking(False)
        taken = [sum(iter(partial(accepts, bound), False)) for bound in sockets]

    assert sum(taken) == 64
    # By chance alone fewer than 12 come once in a million times.
    assert min(taken) >= 12


def test_every_address_is_one_of_ipv4_as_well() -> None:
    with closing(Listeners(settings(host="::"))) as listeners:
        sockets = [listeners.get(number) for number in range(2)]
        assert listeners.url == f"http://127.0.0.1:{port_of(sockets[0])}"
        for bound in sockets:
            bound.setblocking(False)
        came = 0
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port_of(sockets[0]))):
                came += sum(accepts(bound) for bound in sockets)

    assert came == 20


def accepts(bound: socket.socket) -> bool:
    try:
        bound.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_workers_that_share_one_socket_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not spread connections."""
    monkeypatch.setattr("gatewayz_metrics.server.listeners._KERNEL_SPREADS", False)
    with closing(Listeners(settings())) as listeners:
        assert listeners.get(0) is listeners.get(1)
        listeners.withdraw(0)
        socket.create_connection(("127.0.0.1", port_of(listeners.get(1)))).close()
