"""What the upstream client asks of an HTTP library: one request out, status, headers and body in.

A transport keeps connections of one age. It follows no redirect, knows no proxy of the environment, keeps no cookie,
unpacks no body and sends nothing twice; what it raises are the errors of the service.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gatewayz_metrics.settings import Settings

# Bytes that the head of an answer takes at most, whatever reads it.
LARGEST_HEAD = 100 * 1024
# Seconds; shorter than the idle timeouts that servers have, so that few requests meet a connection that just closed.
KEEPALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request beside the headers that all have: by POST when it has a body, or else by GET."""

    url: str
    headers: Mapping[str, str]
    body: bytes | None = None

    @property
    def method(self) -> str:
        """GET or POST."""
        return "GET" if self.body is None else "POST"


@dataclass(frozen=True, slots=True)
class ArrivingReply:
    """A reply whose head is there; the names of its headers are in lower case, its body is as it was sent."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole reply, its body unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


# Makes a whole reply of one that arrives.
Receive = Callable[[ArrivingReply], Awaitable[HttpReply]]


class Transport(Protocol):
    """Connections to the upstream, as one library keeps them."""

    async def exchange(self, request: HttpRequest, receive: Receive, seconds: float) -> HttpReply:
        """Send a request and receive its reply; a reply that is not read to its end takes its connection with it.

        Raises what `receive` raises, TimeoutError when it takes longer than some seconds, Unreachable when connecting
        takes too long, QueryRefused for what no URL can hold, and an UpstreamError for whatever else goes wrong on the
        way.
        """

    async def aclose(self) -> None:
        """Close every connection."""


def count_connections(settings: Settings) -> int:
    """How many there may be: one more for the question that decides about an outage, which must not wait behind all."""
    return settings.prometheus_connections + 1


def shared_headers(settings: Settings) -> dict[str, str]:
    """What every request to the upstream carries."""
    return {
        "Accept": "application/json",
        "Accept-Encoding": "gzip" if settings.prometheus_gzip else "identity",
        **{name: value.get_secret_value() for name, value in settings.prometheus_headers.items()},
    }


def join_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by their names in lower case; what came several times is one list (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found
