"""Where the service listens."""

import socket

import pytest
from gatewayz_metrics import Settings
from gatewayz_metrics.server.listener import base_url, bind_socket, listen


def connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=10):
            return True
    except OSError:
        return False


def test_every_address_is_one_of_ipv4_as_well() -> None:
    with bind_socket(Settings(host="::", port=0)) as bound:
        listen(bound)
        port = bound.getsockname()[1]

        assert connects("127.0.0.1", port)
        assert bound.family == socket.AF_INET or connects("::1", port)
        assert base_url(bound) == f"http://127.0.0.1:{port}"


def test_a_kernel_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """What containers are told is the same everywhere."""
    real = socket.socket

    def refuse(family: int, *options: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *options)

    monkeypatch.setattr(socket, "socket", refuse)
    bound = bind_socket(Settings(host="::", port=0))
    monkeypatch.undo()
    with bound:
        listen(bound)

        assert connects("127.0.0.1", bound.getsockname()[1])
