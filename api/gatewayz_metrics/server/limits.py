"""The limits of the server, and the checks that need the head of a request alone."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Self

from starlette.types import Scope

from gatewayz_metrics.server.refusals import AddressBusy, DeclaredBodyTooLarge, NoSingleHost, UrlTooLong
from gatewayz_metrics.settings import Settings

# Bytes of path and query string. The parser itself ends at 65,534 and answers 414 without a sentence.
LONGEST_URL = 60_000


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    body_bytes: int
    body_timeout: float
    write_timeout: float
    requests_per_address: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The limits that the settings ask for."""
        return cls(
            # What no route reads to its end. The routes' own limits are lower, and name their setting.
            body_bytes=max(settings.max_body_bytes, 4 * settings.max_query_length),
            body_timeout=settings.body_timeout,
            write_timeout=settings.write_timeout,
            requests_per_address=settings.max_requests_per_address,
        )


def check_head(scope: Scope, limits: Limits) -> bool:
    """Whether a body follows. Raises a ServerRefusal for a head that the parser lets through."""
    hosts, named, has_body = 0, False, False
    for name, value in scope["headers"]:
        if name == b"host":
            hosts += 1
            # Where there is no Host header, granian puts an empty one.
            named = bool(value)
        elif name == b"content-length":
            has_body = value != b"0"
            if int(value) > limits.body_bytes:
                raise DeclaredBodyTooLarge(limits.body_bytes)
        elif name == b"transfer-encoding":
            has_body = True
    # HTTP/1.0, which is "1" in granian's scope, has no Host header.
    if hosts > 1 or (not named and scope["http_version"] not in ("1", "1.0")):
        raise NoSingleHost
    if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_URL:
        raise UrlTooLong(LONGEST_URL)
    return has_body


class AddressLimiter:
    """Counts the requests under way for each client address; the 64 bits of an IPv6 network are one address."""

    def __init__(self, most: int) -> None:
        """With `most` 0 nothing is refused."""
        self._most = most
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def take_place(self, client: str) -> Iterator[None]:
        """A place until the block ends. Raises AddressBusy when the address has all it may have."""
        address = _sender(client)
        if 0 < self._most <= self._under_way[address]:
            raise AddressBusy(self._most)
        self._under_way[address] += 1
        try:
            yield
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]


@lru_cache(1024)
def _sender(client: str) -> str:
    """The address as it is counted: a network of 64 bits is what one IPv6 subscriber has."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address.packed[:8] + bytes(8), 64)))
