"""The socket that the service listens on."""

import socket

from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.settings import Settings

_BACKLOG = 1024
# Bytes of an answer that the kernel takes before the reader does. Its own choice is up to 4 MB for each connection.
_UNSENT = 128 * 1024


def bind_socket(settings: Settings, *, shares_port: bool = False) -> socket.socket:
    """The bound socket, taken before anything slow begins, so that a taken port is said at once.

    Connections that it accepts inherit its options. With `shares_port` others that were bound so may have the same
    port (SO_REUSEPORT). Raises ConfigurationError.
    """
    bound, host = _create(settings.host)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shares_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # With Nagle's delay answers take 40 ms more.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # For the end of an answer, which no code of ours waits for; later than our own deadline, which is counted.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(settings.write_timeout * 2000))
    try:
        bound.bind((host, settings.port))
    except OSError as exc:
        bound.close()
        raise _unusable(host, settings.port, exc) from exc
    return bound


def _create(host: str) -> tuple[socket.socket, str]:
    """A socket for an address, and the address: `::` is every one of the machine, of IPv4 as well."""
    if ":" in host:
        try:
            bound = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError:
            # A kernel without IPv6, where `::` is still what containers are told.
            host = "0.0.0.0" if host == "::" else host  # noqa: S104  # what was asked for
        else:
            # Elsewhere than on Linux it is for IPv6 alone, unless it is told.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            return bound, host
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP), host


def listen(bound: socket.socket) -> None:
    """Let clients connect. Raises ConfigurationError when another process was first."""
    try:
        bound.listen(_BACKLOG)
    except OSError as exc:
        host, port = bound.getsockname()[:2]
        raise _unusable(host, port, exc) from exc


def base_url(bound: socket.socket) -> str:
    """The URL by which this machine reaches a bound socket."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _unusable(host: str, port: int, exc: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"Port {port} on {host} cannot be used ({exc.strerror}); "
        "end what listens there or choose another port: --port 8001, or PORT=8001."
    )
